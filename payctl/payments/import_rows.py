"""One row of an import file: which columns there are, and a payment read from one row's texts.

Pure: no file, no SQL, no clock. Both file formats arrive here as texts by column name, so that a
CSV cell and a JSON value are held to the same rules. An empty text is an absent value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from payctl import pan
from payctl.db.types import canonical
from payctl.errors import InvalidInput
from payctl.money import MAX_AMOUNT_MINOR, check_amount_minor, format_amount, parse_amount
from payctl.payments.model import PaymentStatus
from payctl.payments.requests import PaymentInput

#: Columns a file must have; of an amount, one of its two forms as well.
REQUIRED = ("key", "currency", "gateway", "captured_at", "organiser", "method", "settled")
AMOUNTS = ("amount", "amount_minor")
OPTIONAL = (
    "provider_reference", "order", "event", "user", "country", "email", "phone", "description",
    "metadata", "sale_type", "fee", "fee_minor",
)  # fmt: skip
#: What an export adds, so that only a sale that still stands whole can be recorded from it.
STANDING = ("status", "captured_minor", "refunded_minor")
#: What a file of rejected rows adds; read over, so that it can be corrected and imported itself.
REMARKS = ("line", "error", "message")
COLUMNS = (*REQUIRED, *AMOUNTS, *OPTIONAL, *STANDING)

_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_REFERENCE = re.compile(r"[\x21-\x7e]{1,200}")
_MINOR = re.compile(r"-?[0-9]{1,18}", re.ASCII)
#: No sale is older than the first commission rate.
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ImportRow:
    """A payment that was captured elsewhere. Amounts in minor units of its currency.

    ``settled`` says that the money has already left the provider and the owner has been paid by
    whoever sold before us. ``fee_minor`` is the provider's fee, ``None`` where it is not known.
    """

    wanted: PaymentInput
    gateway: str
    captured_at: datetime
    settled: bool
    provider_reference: str | None = None
    fee_minor: int | None = None

    def fingerprint(self) -> bytes:
        """SHA-256 of everything but the key: the same key with another body is refused by it."""
        body = {
            **{each.name: getattr(self.wanted, each.name) for each in fields(self.wanted)},
            "gateway": self.gateway,
            "captured_at": self.captured_at.isoformat(),
            "settled": self.settled,
            "provider_reference": self.provider_reference,
            "fee_minor": self.fee_minor,
        }
        body.pop("key")
        return hashlib.sha256(f"payctl.import/1 {canonical(body)}".encode()).digest()


def check_columns(names: Collection[str]) -> None:
    """Whether a file with these columns can be imported.

    Raises:
        InvalidInput: ``import.unknown_column``, ``import.repeated_column``,
            ``import.missing_column``; no row has been looked at.
    """
    known = (*COLUMNS, *REMARKS)
    for name in names:
        if name not in known:
            raise InvalidInput(
                "import.unknown_column", field="file", column=name[:40], known=", ".join(COLUMNS)
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise InvalidInput("import.repeated_column", field="file", column=twice)
    missing = [name for name in REQUIRED if name not in names]
    if not set(AMOUNTS) & set(names):
        missing.append("|".join(AMOUNTS))
    if missing:
        raise InvalidInput("import.missing_column", field="file", column=", ".join(missing))


def read_row(cells: Mapping[str, str], gateways: Collection[str], now: datetime) -> ImportRow:
    """The payment one row tells of.

    Args:
        cells: texts by column name; unknown names have been refused with the whole file.
        gateways: the accounts of this profile.
        now: nothing is recorded that has yet to happen.

    Raises:
        InvalidInput: naming the first column that is wrong.
    """
    for name in REQUIRED:
        if not cells.get(name):
            raise InvalidInput("import.missing_value", field=name)
    currency = cells["currency"]
    amount_minor = read_amount(cells)
    wanted = PaymentInput(
        key=cells["key"],
        amount_minor=amount_minor,
        currency=currency,
        method=cells["method"],
        organiser=cells["organiser"],
        order=cells.get("order") or None,
        event=cells.get("event") or None,
        user=cells.get("user") or None,
        email=cells.get("email") or None,
        phone=cells.get("phone") or None,
        country=cells.get("country") or None,
        description=cells.get("description", ""),
        metadata=_metadata(cells.get("metadata", "")),
        sale_type=cells.get("sale_type") or "ticket_sale",
    ).validated()
    if cells["gateway"] not in gateways:
        gateway = pan.scrub(cells["gateway"])[:40]
        raise InvalidInput("gateway.not_configured", field="gateway", gateway=gateway)
    _check_standing(cells, amount_minor)
    return ImportRow(
        wanted,
        cells["gateway"],
        _moment(cells["captured_at"], now),
        _yes_or_no(cells["settled"]),
        _reference(cells.get("provider_reference", "")),
        _fee(cells, currency),
    )


def read_amount(cells: Mapping[str, str]) -> int:
    """The row's amount in minor units, from whichever of its two columns is filled.

    Raises:
        InvalidInput: ``amount.both``, ``amount.missing``, ``import.bad_minor`` and those of
            ``money.parse_amount``.
    """
    currency, amount, minor = cells.get("currency", ""), cells.get("amount"), _filled_minor(cells)
    if amount and minor:
        raise InvalidInput("amount.both", field="amount")
    if amount:
        return parse_amount(amount, currency)
    if not minor:
        raise InvalidInput("amount.missing", field="amount", currency=currency)
    return check_amount_minor(_minor(minor, "amount_minor"), currency, field="amount_minor")


def _filled_minor(cells: Mapping[str, str]) -> str | None:
    return cells.get("amount_minor") or None


def _fee(cells: Mapping[str, str], currency: str) -> int | None:
    fee, minor = cells.get("fee"), cells.get("fee_minor")
    if fee and minor:
        raise InvalidInput("amount.both", field="fee")
    if fee:
        free = fee == format_amount(0, currency)
        return 0 if free else parse_amount(fee, currency, field="fee")
    if not minor:
        return None
    value = _minor(minor, "fee_minor")
    if not 0 <= value <= MAX_AMOUNT_MINOR:
        raise InvalidInput("import.bad_minor", field="fee_minor", text=minor[:40])
    return value


def _minor(text: str, field: str) -> int:
    if not _MINOR.fullmatch(text):
        raise InvalidInput("import.bad_minor", field=field, text=pan.scrub(text)[:40])
    return int(text)


def _moment(text: str, now: datetime) -> datetime:
    """RFC 3339 with its offset: a local time without one would be another moment elsewhere."""
    try:
        at = datetime.fromisoformat(text.upper()) if _MOMENT.fullmatch(text) else None
        at = at.astimezone(UTC) if at is not None else None
    except (ValueError, OverflowError):
        at = None
    if at is None or at < _EARLIEST:
        raise InvalidInput("import.bad_moment", field="captured_at", text=pan.scrub(text)[:40])
    if at > now:
        raise InvalidInput("import.in_the_future", field="captured_at", text=text[:40])
    return at


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise InvalidInput(
            "choice.unknown", field="settled", value=pan.scrub(text)[:40], allowed="yes, no"
        )
    return text == "yes"


def _reference(text: str) -> str | None:
    if not text:
        return None
    if not _REFERENCE.fullmatch(text):
        raise InvalidInput("reference.malformed", field="provider_reference")
    if pan.find(text):
        raise InvalidInput("pan.refused", field="provider_reference")
    return text


def _metadata(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise InvalidInput("import.bad_metadata", field="metadata")
    if not all(storable(text) for pair in found.items() for text in pair):
        raise InvalidInput("import.bad_text", field="metadata")
    return found


def storable(text: str) -> bool:
    """Whether both databases can hold *text*: no NUL, and nothing that was not UTF-8."""
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _check_standing(cells: Mapping[str, str], amount_minor: int) -> None:
    """A row of an export is a whole sale: captured in full, and nothing of it given back."""
    expected = {
        "status": str(PaymentStatus.SUCCEEDED),
        "captured_minor": str(amount_minor),
        "refunded_minor": "0",
    }
    for name, value in expected.items():
        if cells.get(name, "") not in ("", value):
            text = pan.scrub(cells[name])[:40]
            raise InvalidInput("import.not_whole", field=name, text=text, expected=value)
