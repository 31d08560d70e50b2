"""The servers that the setting MEDIA_HOSTS allows."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

IPNetwork = IPv4Network | IPv6Network
Origin = tuple[str, str, int]
"""Scheme, host name in lower case, and port."""
DEFAULT_PORTS = {"http": 80, "https": 443}
ANY, PUBLIC, NONE = "*", "public", "none"


def origin(url: str) -> Origin:
    """Return scheme, host name and port of an absolute http(s) address."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(scheme, 0)


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """The servers that may be contacted. Made by `parse_hosts`.

    Attributes:
        everything: Every server is allowed.
        public: Every server at a public address is allowed.
        names: With the port, or None for all ports; a name that starts with a dot stands for all names below it.
        networks: Addresses, with the port or None.
        label_studio: The origin of Label Studio, which is always allowed.
    """

    everything: bool = False
    public: bool = False
    names: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[IPNetwork, int | None], ...] = ()
    label_studio: Origin | None = None

    def vouch_for(self, origin: Origin) -> bool:
        """Tell whether a server is allowed at any address, since the operator has named it."""
        _, host, port = origin
        return (
            self.everything
            or origin == self.label_studio
            or any(
                allowed in (None, port) and (host.endswith(name) if name.startswith(".") else host == name)
                for name, allowed in self.names
            )
        )


def parse_hosts(text: str, label_studio: Origin | None = None) -> Hosts:
    """Read the setting ``MEDIA_HOSTS``: a list separated by commas.

    Args:
        text: Of ``public``, ``*``, ``none``, names (``*.example.com`` for all below), addresses and networks; names and
            single addresses may have a port.
        label_studio: The origin of Label Studio in the settings.

    Raises:
        ValueError: an entry is none of these.
    """
    names: set[tuple[str, int | None]] = set()
    networks: list[tuple[IPNetwork, int | None]] = []
    entries = [entry for part in text.split(",") if (entry := part.strip().lower())]
    for entry in entries:
        if entry in (ANY, PUBLIC, NONE):
            continue
        host, port = _host_and_port(entry)
        try:
            networks.append((ip_network(host), port))
        except ValueError:
            names.add((_name(host, entry), port))
    return Hosts(
        everything=ANY in entries,
        public=PUBLIC in entries,
        names=frozenset(names),
        networks=tuple(networks),
        label_studio=label_studio,
    )


def _host_and_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        host, bracket, rest = entry[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        if not bracket or (rest and colon != ":"):
            raise ValueError(_expected(entry))
    elif entry.count(":") == 1:
        host, colon, port = entry.partition(":")
    else:
        return entry, None
    if not colon:
        return host, None
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(_expected(entry))
    return host, int(port)


def _name(host: str, entry: str) -> str:
    below, name = (".", host[2:]) if host.startswith("*.") else ("", host)
    try:
        name = name.rstrip(".").encode("idna").decode()
    except UnicodeError:
        name = ""
    if not name or not all(part.replace("-", "").replace("_", "").isalnum() for part in name.split(".")):
        raise ValueError(_expected(entry))
    return below + name


def _expected(entry: str) -> str:
    return (
        f"{entry!r} is none of: public, *, none, a name such as images.example.com or *.example.com, an address or a "
        "network such as 10.0.0.0/8; names and addresses may have a port (minio:9000)"
    )
