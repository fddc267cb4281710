"""Redis publish: each notification on a channel of its type, for whoever wants to know at once.

A fan-out beside the delivery to the core service, with a progress of its own: neither waits for the
other. At least once, in order per object; whoever is not subscribed at that moment misses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from payctl.db.types import canonical
from payctl.errors import NotConfigured
from payctl.ids import encode
from payctl.notifications.schedule import Parcel, Result

if TYPE_CHECKING:
    import redis

NAME = "redis"
TIMEOUT_S = 5.0


class RedisSender:
    """Publishes to one server.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        prefix: of every channel.

    Raises:
        NotConfigured: ``notification.redis_missing``, ``notification.bad_redis_url``.
    """

    def __init__(self, url: str, prefix: str) -> None:
        try:
            import redis
        except ImportError:
            raise NotConfigured("notification.redis_missing") from None
        try:
            self._client: redis.Redis = redis.Redis.from_url(
                url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
            )
        except ValueError:
            raise NotConfigured(
                "notification.bad_redis_url", field="notifications.redis_url"
            ) from None
        self._prefix = prefix
        self._error: type[Exception] = redis.RedisError

    def send(self, parcels: Sequence[Parcel], until: float) -> list[Result]:
        """As :class:`payctl.notifications.senders.Sender` says: one round trip for all."""
        pipeline = self._client.pipeline(transaction=False)
        for each in parcels:
            pipeline.publish(self._prefix + each.notification.type, message_of(each))
        try:
            pipeline.execute()
        except (self._error, OSError) as error:
            # Some may have been published; they are again.
            reason = f"{type(error).__name__}: {error}"[:200]
            first, *rest = parcels
            return [Result(first, "down", reason), *(Result(each, "unsent") for each in rest)]
        return [Result(each, "delivered") for each in parcels]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def message_of(parcel: Parcel) -> str:
    """The payload of the delivery over HTTP, with its ``webhook-id`` as ``id`` beside it."""
    notification = parcel.notification
    message: dict[str, Any] = notification.payload()
    message["id"] = encode("notification", notification.id)
    return canonical(message)
