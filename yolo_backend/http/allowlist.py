"""Which servers may be contacted: by their name in the URL, and by the address that a connection really goes to."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from yolo_backend.errors import MediaError
from yolo_backend.settings.hosts import Hosts, Origin

Address = IPv4Address | IPv6Address
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Networks of IPv6 addresses that stand for IPv4 addresses: translated, and an old notation.
_TRANSLATED = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
# Not of the public Internet, though not every version of Python knows that. The first is a cloud's own, for its machines.
_SPECIAL = tuple(
    map(ip_network, ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20"))
)


def check(hosts: Hosts, origin: Origin, address: str, *, is_label_studio: bool = False) -> None:
    """Check the address of a server before it is contacted.

    Args:
        hosts: The servers that may be contacted.
        origin: Of the server.
        address: IPv4 or IPv6, in any notation of a resolver.
        is_label_studio: whether it is contacted as Label Studio's address.

    Raises:
        MediaError: it may not be contacted; what the operator can do about it.
    """
    if hosts.vouch_for(origin):
        return
    effective = _plain(ip_address(address))
    if hosts.public and is_public(effective):
        return
    if any(port in (None, origin[2]) and effective in network for network, port in hosts.networks):
        return
    raise MediaError(_refusal(origin, effective, is_label_studio=is_label_studio))


def _refusal(origin: Origin, address: Address, *, is_label_studio: bool) -> str:
    scheme, host, port = origin
    at = host if host == str(address) else f"{host} is {address}, which"
    shown = f"[{host}]" if ":" in host else host
    remedy = f"add {shown}:{port} to MEDIA_HOSTS if it may be contacted"
    if is_label_studio:
        remedy = f"if this is your Label Studio, set LABEL_STUDIO_URL to {scheme}://{shown}:{port}; else {remedy}"
    return f"{at} is {describe_address(address)}, and MEDIA_HOSTS doesn't allow it: {remedy}"


def addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host name, in the resolver's order and each once.

    Raises:
        OSError: the name is unknown.
    """
    resolved = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in resolved))


def is_public(address: Address) -> bool:
    """Tell whether an address belongs to a single server on the public Internet."""
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def describe_address(address: Address) -> str:
    """Return what kind of address this is, with its article."""
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
