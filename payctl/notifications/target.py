"""Where notifications go: the address as configured, and the guard against sending them inside.

A URL is a means to reach what only this machine can reach. So it is HTTPS (but for localhost), and
every address its name stands for must be a public one, unless the configuration says otherwise; the
connection is made to the address that was checked, not to the name, which may mean another one a
moment later.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from payctl.errors import NotConfigured

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

#: ``socket.getaddrinfo`` or what a test puts in its place.
Resolver = Callable[..., Sequence[tuple[Any, ...]]]


class ForbiddenAddress(OSError):
    """The name stands for an address that nothing may be sent to."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart; ``path`` has the query too."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """The target of ``notifications.url``.

    Raises:
        NotConfigured: ``notification.bad_url``.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    tls = parts.scheme == "https"
    good = tls or (parts.scheme == "http" and host in _LOCAL)
    plain = url.isascii() and url.isprintable() and " " not in url
    if not (good and plain and host) or parts.username or parts.password or parts.fragment:
        raise NotConfigured("notification.bad_url", field="notifications.url")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(tls, host, port or (443 if tls else 80), path)


def addresses(
    target: Target, *, allow_private: bool, resolve: Resolver = socket.getaddrinfo
) -> list[str]:
    """The addresses behind the target's name, each of them allowed.

    Raises:
        ForbiddenAddress: one of them is not.
        OSError: the name is not known.
    """
    found = resolve(target.host, target.port, type=socket.SOCK_STREAM)
    texts = list(dict.fromkeys(str(item[4][0]).partition("%")[0] for item in found))
    for text in texts:
        # One that is not allowed spoils the rest: nobody publishes both by chance.
        if not allowed(ipaddress.ip_address(text), allow_private=allow_private):
            raise ForbiddenAddress(f"{target.host} is {text}, which is no public address")
    if not texts:
        raise OSError(f"{target.host} has no address")
    return texts


def allowed(address: _Address, *, allow_private: bool) -> bool:
    """Whether something may be sent to *address*."""
    address = _inner(address)
    if address.is_multicast or address.is_unspecified:
        return False
    if allow_private:
        return address.is_loopback or not address.is_reserved
    return address.is_global and not address.is_reserved


def _inner(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 address only wraps: it is where the connection would go."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address
