"""Standard Webhooks (specification 1.0): how a notification is signed, for the core service to know
that it is ours and fresh.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from datetime import datetime

from payctl.db.types import canonical
from payctl.errors import NotConfigured
from payctl.ids import encode
from payctl.notifications.outbox import Notification

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64


def key_of(secret: str) -> bytes:
    """The key behind a ``whsec_…`` secret.

    Raises:
        NotConfigured: ``notification.bad_secret``.
    """
    try:
        if not secret.startswith(PREFIX):
            raise ValueError
        key = base64.b64decode(secret[len(PREFIX) :], validate=True)
        if not MIN_BYTES <= len(key) <= MAX_BYTES:
            raise ValueError
    except (binascii.Error, ValueError):
        raise NotConfigured(
            "notification.bad_secret",
            field="notifications.secrets",
            prefix=PREFIX,
            least=MIN_BYTES,
            most=MAX_BYTES,
        ) from None
    return key


def body_of(notification: Notification) -> bytes:
    """What is sent and signed: the same bytes on every try."""
    return canonical(notification.payload()).encode()


def headers(
    notification: Notification, body: bytes, keys: Sequence[bytes], now: datetime
) -> dict[str, str]:
    """The three headers of one try. Each key signs, so a receiver may know the new one or the old.

    Args:
        now: the time of the try; the receiver refuses what is too far from its own.
    """
    id_, at = encode("notification", notification.id), str(int(now.timestamp()))
    signed = b".".join((id_.encode(), at.encode(), body))
    signatures = (
        "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys
    )
    return {
        "webhook-id": id_,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(signatures),
    }
