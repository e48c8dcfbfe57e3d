"""Which addresses on the net a request may go to: those that anybody may reach, and no others.

IPv6 is refused but for its global part; forms that carry an IPv4 address are judged by that one.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IP = IPv4Address | IPv6Address

METADATA: frozenset[IP] = frozenset(
    (
        IPv4Address("169.254.169.254"),
        IPv4Address("169.254.170.2"),
        IPv4Address("100.100.100.200"),
        IPv4Address("168.63.129.16"),
        IPv4Address("192.0.0.192"),
        IPv6Address("fd00:ec2::254"),
        IPv6Address("fd20:ce::254"),
    )
)
"""Where clouds hand credentials to whoever asks."""

_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(net), why)
    for net, why in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a provider (CGNAT)"),
        ("127.0.0.0/8", "this machine"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_GLOBAL = IPv6Network("2000::/3")
_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(net), why)
    for net, why in (
        ("::1/128", "this machine"),
        ("::/128", "this machine"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("2001::/32", "a Teredo tunnel"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "a 6to4 tunnel"),
        ("3fff::/20", "for documentation"),
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def refusal(ip: IP) -> str:
    """Why no request may go there; empty where it may."""
    if ip in METADATA:
        return "a cloud's metadata service"
    if isinstance(ip, IPv4Address):
        return next((why for net, why in _V4 if ip in net), "")
    if inner := embedded(ip):
        return refusal(inner)
    if why := next((why for net, why in _V6 if ip in net), ""):
        return why
    return "" if ip in _GLOBAL else "reserved"


def embedded(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a packet sent to this one may end up at."""
    number = int(ip)
    if number <= 1:
        return None
    if any(ip in net for net in (_MAPPED, _COMPATIBLE, _TRANSLATED, _NAT64)):
        return IPv4Address(number & 0xFFFF_FFFF)
    if number >> 32 & 0xFFFF_FFFF in _ISATAP:
        inner = IPv4Address(number & 0xFFFF_FFFF)
        return inner if refusal(inner) else None
    return None


def is_metadata(ip: IP) -> bool:
    inner = embedded(ip) if isinstance(ip, IPv6Address) else None
    return ip in METADATA or inner in METADATA


def plain(text: str) -> IP:
    """An address as a resolver or a socket gives it: zones are dropped. Raises ValueError."""
    text = text.partition("%")[0]
    return IPv6Address(text) if ":" in text else IPv4Address(text)
