"""The names under which a service may be asked that has no password.

A page in a browser can let its own name point to this service (DNS rebinding), and then ask it as if it were the page's own
server. The name of that page stays in the ``Host`` header, so a service without a password answers to names alone that
nobody outside can own.
"""

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache

PRIVATE_SUFFIXES = (
    ".localhost",
    ".local",
    ".internal",  # host.docker.internal, and what clouds use
    ".lan",
    ".home.arpa",
    ".svc",  # in Kubernetes: service.namespace.svc
    ".cluster.local",
    ".test",
)
"""Ends of names that the public DNS has no owners for (RFC 2606, RFC 6762, RFC 8375, and ICANN's `.internal`)."""


def is_allowed(host: str, allowed: Iterable[str] = ()) -> bool:
    """Tell whether a service without a password may be asked under the name in a ``Host`` header.

    It may be under addresses, names without a dot (of Docker services and of machines in a network), names that end as
    those of private networks do, this machine's own name, and those in ``allowed``.

    Args:
        host: The header: a name or an address, with a port or without.
        allowed: Further names; ``*.example.com`` stands for all below it, ``*`` for every name.
    """
    name = _without_port(host.strip().lower()).rstrip(".")
    if not name:
        return False
    if "." not in name or name.endswith(PRIVATE_SUFFIXES) or name == _own_name():
        return True
    try:
        ipaddress.ip_address(name)
        return True
    except ValueError:
        return any(_matches(name, entry.strip().lower()) for entry in allowed)


def _matches(name: str, entry: str) -> bool:
    return entry == "*" or name == entry or (entry.startswith("*.") and name.endswith(entry[1:]))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return name if colon and ":" not in name and port.isdecimal() else host


@lru_cache(maxsize=1)
def _own_name() -> str:
    return socket.getfqdn().lower()
