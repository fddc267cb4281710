"""Where a payout goes, as operators may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from payctl.pan import mask_phone

if TYPE_CHECKING:
    from payctl.gateways.base import Destination


def masked(destination: Destination) -> str:
    """The destination without what would let a reader use it: ``msisdn +225 07 ** ** 11``."""
    value = destination.value
    if destination.kind == "msisdn":
        return f"msisdn {mask_phone(value)}"
    name, at, domain = value.partition("@")
    shown = f"{name[:1]}***{at}{domain}" if at else f"{value[:4]}***"
    return f"{destination.kind} {shown}"
