"""Which servers may be asked: by the name that was written, and by the address that a connection really goes to."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from yolo_backend.errors import MediaError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Origin = tuple[str, str, int]
"""Scheme, host name in lower case, and port."""

DEFAULT_PORTS = {"http": 80, "https": 443}
ANY, PUBLIC, NONE = "*", "public", "none"

_GLOBAL_UNICAST = IPv6Network("2000::/3")
# In these an IPv6 address stands for an IPv4 address: translated, tunnelled, or written in an old way.
_TRANSLATED = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
# Not of the public Internet, though not every Python version knows it; the first is one cloud's own, for its machines.
_SPECIAL = tuple(
    map(ip_network, ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20"))
)


def origin(url: str) -> Origin:
    """Return scheme, host name and port of an absolute http(s) address."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(scheme, 0)


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """The servers that may be asked. Made by `parse_hosts`.

    Attributes:
        everything: every server.
        public: every server at a public address.
        names: with the port, or None for all ports; a name that starts with a dot stands for all names below it.
        networks: addresses, with the port or None.
        label_studio: the origin of the one server that is always allowed.
    """

    everything: bool = False
    public: bool = False
    names: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()
    label_studio: Origin | None = None

    def vouch_for(self, origin: Origin) -> bool:
        """Tell whether a server may be asked whatever its address is, since the operator has named it."""
        _, host, port = origin
        return (
            self.everything
            or origin == self.label_studio
            or any(
                allowed in (None, port) and (host.endswith(name) if name.startswith(".") else host == name)
                for name, allowed in self.names
            )
        )

    def check(self, origin: Origin, address: str) -> None:
        """Let an address pass at which a server is about to be asked.

        Args:
            origin: of the server.
            address: IPv4 or IPv6, in any spelling that a resolver gives.

        Raises:
            MediaError: it may not be asked; what the operator can do about it.
        """
        if self.vouch_for(origin):
            return
        found = _plain(ip_address(address))
        if self.public and is_public(found):
            return
        if any(allowed in (None, origin[2]) and found in network for network, allowed in self.networks):
            return
        raise MediaError(self._refusal(origin, found))

    def _refusal(self, origin: Origin, address: Address) -> str:
        scheme, host, port = origin
        at = host if host == str(address) else f"{host} is {address}, which"
        shown = f"[{host}]" if ":" in host else host
        remedy = f"add {shown}:{port} to MEDIA_HOSTS if it may be asked"
        if self.label_studio is None or self.label_studio[1] == host:
            remedy = f"if this is your Label Studio, set LABEL_STUDIO_URL to {scheme}://{shown}:{port}; else {remedy}"
        return f"{at} is {kind_of_address(address)}, and MEDIA_HOSTS doesn't allow it: {remedy}"


def parse_hosts(text: str, label_studio: Origin | None = None) -> Hosts:
    """Read the setting ``MEDIA_HOSTS``: a list separated by commas.

    Args:
        text: of ``public``, ``*``, ``none``, names (``*.example.com`` for all below), addresses and networks; names and
            single addresses may have a port.
        label_studio: where Label Studio is, by the settings.

    Raises:
        ValueError: an entry is none of these.
    """
    names: set[tuple[str, int | None]] = set()
    networks: list[tuple[Network, int | None]] = []
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


def addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host name, without repeats, as the system's resolver gives them.

    Raises:
        OSError: it is unknown.
    """
    found = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the public Internet's, for one server."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def kind_of_address(address: Address) -> str:
    """Say in words what an address is."""
    kinds = {
        "a loopback address": address.is_loopback,
        "a link-local address": address.is_link_local,
        "a multicast address": address.is_multicast,
        "a private address": address.is_private,
        "a public address": is_public(address),
    }
    return next((words for words, fits in kinds.items() if fits), "no public address")


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        address = IPv6Address(int(address))
    inside = address.ipv4_mapped or address.sixtofour
    if inside is None and (address in _TRANSLATED or (address in _COMPATIBLE and int(address) > 0xFFFF)):
        inside = IPv4Address(int(address) & 0xFFFFFFFF)
    return inside or address


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
