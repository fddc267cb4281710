"""The relays that a profile's ``[notifications]`` asks for, each built with what it needs."""

from __future__ import annotations

from payctl.config import Config
from payctl.db.engine import Database
from payctl.errors import NotConfigured
from payctl.notifications.http import Channel
from payctl.notifications.lag import CORE
from payctl.notifications.relay import Relay
from payctl.notifications.senders import CoreSender
from payctl.notifications.signing import key_of
from payctl.notifications.target import parse


def relays(config: Config, db: Database) -> list[Relay]:
    """One for the core service and one for Redis, as far as they are configured.

    Raises:
        NotConfigured: ``notification.bad_url``, ``notification.no_secret``,
            ``notification.bad_secret``, ``notification.redis_missing``,
            ``notification.bad_redis_url``, and those of :func:`payctl.secret.resolve`.
    """
    made = []
    if config.get("notifications.url"):
        made.append(Relay(db, CORE, _core(config, db)))
    if config.get("notifications.redis_url"):
        from payctl.notifications.redis_channel import NAME, RedisSender

        url, prefix = (
            config.get("notifications.redis_url"),
            config.get("notifications.redis_prefix"),
        )
        made.append(Relay(db, NAME, RedisSender(str(url), str(prefix)), from_now=True))
    return made


def is_configured(config: Config) -> bool:
    """Whether anything is delivered to the core service at all."""
    return config.get("notifications.url") is not None


def _core(config: Config, db: Database) -> CoreSender:
    target = parse(str(config.get("notifications.url")))
    # A reference may stand for several: a file or a variable with one on each line.
    found = [config.resolve(each) for each in config.get("notifications.secrets") or ()]
    keys = [key_of(each) for text in found for each in text.split()]
    if not keys:
        raise NotConfigured("notification.no_secret", field="notifications.secrets")
    private = bool(config.get("notifications.allow_private"))
    return CoreSender(
        keys,
        lambda: Channel(target, db.clock, allow_private=private),
        db.clock,
        width=int(config.get("notifications.in_flight")),
    )
