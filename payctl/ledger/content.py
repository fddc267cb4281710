"""What a journal says, as bytes: its fingerprint before posting, its content hash after.

Format ``payctl.journal/1``. Every field is written as a length (4 bytes, big-endian) and its
bytes; an absent field is the length ``ff ff ff ff`` alone. Text is UTF-8, numbers are decimal
ASCII, moments are whole microseconds since 1970 UTC, ids their 16 bytes, meta its canonical JSON
(sorted keys, no spaces). The content hash is SHA-256 over, in this order:

    "payctl.journal/1", id, kind, posting key, posted at, effective at, period, payment id,
    reverses id, actor, reason, meta, number of legs,
    then for each leg by its number: leg, full account code, stripe, amount, balance after, version
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from payctl.db.types import canonical, to_micros
from payctl.ledger.accounts import full_code
from payctl.ledger.model import Draft, Journal

_ABSENT = b"\xff\xff\xff\xff"


class _Lengths(dict[int, bytes]):
    """The four bytes of a length; those of most fields are made once."""

    def __missing__(self, size: int) -> bytes:
        return size.to_bytes(4, "big")


_LENGTHS = _Lengths({size: size.to_bytes(4, "big") for size in range(1024)})


def framed(fields: list[bytes | None]) -> bytes:
    """*fields* one after the other, each with its length in front: no two lists give the same."""
    return b"".join(
        [_ABSENT if field is None else _LENGTHS[len(field)] + field for field in fields]
    )


def fingerprint(draft: Draft, *, with_time: bool = True) -> bytes:
    """SHA-256 of what a posting key stands for: kind, legs, objects, reason, date.

    Who posts and the meta data are left out: a webhook and a later sync may report the same fact in
    other words. A provider's fact is compared without its date for the same reason.
    """
    fields: list[bytes | None] = [
        b"payctl.draft/1",
        draft.kind.encode(),
        _id(draft.payment_id),
        _id(draft.reverses_id),
        _text(draft.reason),
        _number(to_micros(draft.effective_at)) if with_time and draft.effective_at else None,
    ]
    for code, amount_minor, currency in draft.legs:
        if amount_minor:
            fields += [full_code(code, currency).encode(), _number(amount_minor)]
    return digest(framed(fields))


def content_hash(journal: Journal) -> bytes:
    """SHA-256 of a stored journal and its entries, in the format above."""
    return digest(content(journal))


def content(journal: Journal) -> bytes:
    """A stored journal and its entries as the bytes that are hashed."""
    parts = [
        head(
            journal.id, journal, journal.posted_at, journal.effective_at, journal.period,
            canonical(journal.meta), legs=len(journal.entries),
        )
    ]  # fmt: skip
    for entry in journal.entries:
        code = full_code(entry.account, entry.currency)
        parts.append(leg_head(entry.leg, code, entry.stripe, entry.amount_minor))
        parts.append(leg_tail(entry.balance_after_minor, entry.version))
    return b"".join(parts)


def head(
    id_: UUID,
    what: Draft | Journal,
    posted_at: datetime,
    effective_at: datetime,
    period: int,
    meta: str,
    *,
    legs: int,
) -> bytes:
    """The part of the content before the legs; *meta* is canonical JSON."""
    return framed(
        [
            b"payctl.journal/1",
            id_.bytes,
            what.kind.encode(),
            what.posting_key.encode(),
            _number(to_micros(posted_at)),
            _number(to_micros(effective_at)),
            _number(period),
            _id(what.payment_id),
            _id(what.reverses_id),
            what.actor.encode(),
            _text(what.reason),
            meta.encode(),
            _number(legs),
        ]
    )


def leg_head(number: int, full_account: str, stripe: int, amount_minor: int) -> bytes:
    """The part of a leg that is known before its balance is locked."""
    return framed([_number(number), full_account.encode(), _number(stripe), _number(amount_minor)])


def leg_tail(balance_after_minor: int, version: int) -> bytes:
    """The part of a leg that its balance's lock decides."""
    return framed([_number(balance_after_minor), _number(version)])


def digest(whole: bytes) -> bytes:
    """The hash of a whole content."""
    return hashlib.sha256(whole).digest()


def plain(value: Any) -> Any:
    """*value* as JSON that survives any database unchanged: no floats, no NUL, text keys.

    Whatever is not text, an integer, a truth value, a list or a mapping becomes its text. Meta data
    come from providers, and a fact is never refused for them.
    """
    if isinstance(value, str):
        return _clean(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, Mapping):
        return {_clean(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return _clean(str(value))


def _clean(text: str) -> str:
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _id(value: UUID | None) -> bytes | None:
    return None if value is None else value.bytes


def _text(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def _number(value: int) -> bytes:
    return b"%d" % value
