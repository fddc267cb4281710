"""What the profile says about the receiver, checked once when it starts."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from payctl.config import Config, GatewaySection
from payctl.errors import NotConfigured
from payctl.receiver.addresses import Address, Networks, networks, within

#: A token shorter than this could be guessed.
MIN_TOKEN = 16


@dataclass(frozen=True)
class Door:
    """Where the webhooks of one account come in.

    Attributes:
        account, family: our name of the account, and of its kind of gateway.
        tokens: secrets one of which the path must end in; empty when it needs none.
        addresses: networks it takes webhooks from; empty when from anywhere.
    """

    account: str
    family: str
    tokens: tuple[bytes, ...] = field(default=(), repr=False)
    addresses: Networks = ()

    def allows(self, address: Address | None) -> bool:
        return not self.addresses or within(address, self.addresses)

    def opens(self, token: str | None) -> bool:
        """Whether *token* is what the path must end in. Every one is compared, so the time taken
        does not tell which one is nearly right.
        """
        if not self.tokens:
            return token is None
        given = (token or "").encode("utf-8", "surrogateescape")
        return any([hmac.compare_digest(each, given) for each in self.tokens])


class Doors:
    """The doors of a profile, found by path."""

    def __init__(self, doors: Sequence[Door]) -> None:
        self.all = tuple(doors)
        self._by_account = {door.account: door for door in doors}
        self._families: dict[str, list[Door]] = {}
        for door in doors:
            self._families.setdefault(door.family, []).append(door)

    def find(self, parts: Sequence[str]) -> tuple[Door, str | None] | None:
        """The door that a path below ``/webhooks`` leads to, and the token it ends in.

        ``ACCOUNT``, ``FAMILY/ACCOUNT``, or ``FAMILY`` alone where it has one account; each may be
        followed by a token.
        """
        if not 1 <= len(parts) <= 3 or not all(parts):
            return None
        first, rest = parts[0], list(parts[1:])
        family = self._families.get(first, [])
        door = next((each for each in family if rest and each.account == rest[0]), None)
        if door is not None:
            rest.pop(0)
        elif first in self._by_account:
            door = self._by_account[first]
        elif len(family) == 1:
            door = family[0]
        if door is None or len(rest) > 1:
            return None
        return door, rest[0] if rest else None


@dataclass(frozen=True)
class Options:
    """The receiver's settings.

    Attributes:
        token: what opens the pages that are not for everybody, besides the loopback address.
        proxies: networks whose ``X-Forwarded-For`` is believed.
    """

    doors: Doors
    proxies: Networks = ()
    token: str | None = field(default=None, repr=False)
    cors_origin: str | None = None
    rate_limit: int = 100
    rate_window_s: float = 900.0


def from_config(config: Config, accounts: Mapping[str, object]) -> Options:
    """The options of a profile.

    Args:
        accounts: the accounts that have a gateway.

    Raises:
        NotConfigured: ``gateway.bad_setting``, or a token that cannot be read.
    """
    doors = [_door(section) for account, section in config.gateways.items() if account in accounts]
    known = {door.account for door in doors}
    doors += [Door(account, account) for account in accounts if account not in known]
    has_token = "receiver.token" in config.values
    return Options(
        Doors(doors),
        networks(config.get("receiver.trusted_proxies") or ()),
        str(config.get("receiver.token")) if has_token else None,
        config.get("receiver.cors_origin"),
        int(config.get("receiver.rate_limit_max_requests")),
        int(config.get("receiver.rate_limit_window_ms")) / 1000,
    )


def _door(section: GatewaySection) -> Door:
    tokens = section.secrets("webhook_tokens")
    if any(len(each) < MIN_TOKEN or "/" in each or not each.isascii() for each in tokens):
        raise NotConfigured(
            "gateway.bad_setting", field="webhook_tokens", account=section.account,
            wanted=f"[REFERENCE, ...] to texts of {MIN_TOKEN} letters and more, without /",
        )  # fmt: skip
    return Door(
        section.account, section.type, tuple(each.encode() for each in tokens), allowed(section)
    )


def allowed(section: GatewaySection) -> Networks:
    """The networks a gateway's webhooks may come from; empty for any.

    Raises:
        NotConfigured: ``gateway.bad_setting``.
    """
    given = section.settings.get("webhook_addresses", ())
    words = [word for word in given.split(",") if word] if isinstance(given, str) else given
    try:
        return networks(words)
    except (ValueError, TypeError, AttributeError):
        raise NotConfigured(
            "gateway.bad_setting", field="webhook_addresses", account=section.account,
            wanted='["192.0.2.0/24", ...]',
        ) from None  # fmt: skip
