"""Whose address a request came from, and whether it is on a list.

Behind a proxy every connection comes from the proxy, which writes the client's address into
``X-Forwarded-For``. Anybody can write that header too, so it is read from the right and only as far
as the addresses in it are proxies that the profile trusts.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

#: So many proxies in a row are none that we know.
MAX_HOPS = 10


def networks(words: Sequence[str]) -> Networks:
    """Networks by their CIDR, single addresses too.

    Raises:
        ValueError: one of them is none.
    """
    return tuple(ip_network(word.strip()) for word in words)


def parsed(text: str) -> Address | None:
    """An address as text; IPv4 written as IPv6 is IPv4, a port or brackets are left out."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def within(address: Address | None, among: Networks) -> bool:
    """Whether *address* lies in one of the networks."""
    return address is not None and any(address in network for network in among)


def client_of(peer: str | None, forwarded: Sequence[str], trusted: Networks) -> Address | None:
    """The client's address: the first, from the right, that is no trusted proxy's.

    Args:
        peer: who is at the other end of the connection.
        forwarded: the values of ``X-Forwarded-For``, in the order of the headers.
    """
    client = parsed(peer) if peer is not None else None
    if not forwarded or not within(client, trusted):
        return client
    hops = ",".join(forwarded).split(",")
    for hop in hops[: -MAX_HOPS - 1 : -1]:
        before = parsed(hop)
        if before is None:
            # What a proxy did not write properly names nobody; the last one known stands for it.
            return client
        client = before
        if not within(client, trusted):
            return client
    return client


def throttle_key(address: Address | None) -> str:
    """What shares one budget: an IPv4 address, or the /64 that one IPv6 customer has."""
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
