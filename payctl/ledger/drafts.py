"""Decisions about drafts that need no database: are they sound, what do they move, what is left of
them when they are refused."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

from payctl.db.idempotency import check_length
from payctl.errors import InvalidInput
from payctl.ledger import accounts
from payctl.ledger.content import plain
from payctl.ledger.model import Draft, Leg, Refusal
from payctl.money import MAX_AMOUNT_MINOR, exponent, format_money

#: Legs of one journal.
MAX_LEGS = 500


def checked(draft: Draft) -> Draft:
    """*draft* without its empty legs, when it is a sound journal.

    Raises:
        InvalidInput: ``key.bad_length``, ``ledger.unknown_account``, ``currency.unknown``,
            ``ledger.amount_too_large``, ``ledger.too_few_legs``, ``ledger.too_many_legs``,
            ``ledger.unbalanced``.
    """
    check_length(draft.posting_key)
    legs = tuple([leg for leg in draft.legs if leg.amount_minor])
    sums: dict[str, int] = defaultdict(int)
    for leg in legs:
        accounts.line_of(leg.account)
        exponent(leg.currency)
        if abs(leg.amount_minor) > MAX_AMOUNT_MINOR:
            raise InvalidInput(
                "ledger.amount_too_large",
                field="amount",
                account=accounts.full_code(leg.account, leg.currency),
                limit=format_money(MAX_AMOUNT_MINOR, leg.currency),
            )
        sums[leg.currency] += leg.amount_minor
    if len(legs) < 2:
        raise InvalidInput("ledger.too_few_legs", field="legs", kind=draft.kind)
    if len(legs) > MAX_LEGS:
        raise InvalidInput("ledger.too_many_legs", field="legs", limit=MAX_LEGS)
    for currency, rest in sorted(sums.items()):
        if rest:
            raise InvalidInput(
                "ledger.unbalanced",
                field="legs",
                kind=draft.kind,
                difference=format_money(rest, currency),
            )
    if len(legs) == len(draft.legs) and draft.reason is None and draft.effective_at is None:
        return draft
    return replace(
        draft,
        legs=legs,
        reason=plain(draft.reason),
        effective_at=draft.effective_at and draft.effective_at.astimezone(UTC),
    )


def redated(draft: Draft, effective_at: datetime | None) -> Draft:
    """*draft* counting at another moment (``None``: when it is recorded), with the provider's date
    kept in the meta data.
    """
    meta = dict(draft.meta)
    if draft.effective_at is not None:
        meta["provider_effective_at"] = draft.effective_at.astimezone(UTC).isoformat()
    return replace(draft, effective_at=effective_at, meta=meta)


def suspended(draft: Draft, refusal: Refusal, provider_account: str, gateway: str) -> Draft:
    """What *draft* moves on the provider's account, against suspense, and why.

    Raises:
        InvalidInput: ``ledger.fact_without_money`` when it moves nothing there.
    """
    sums: dict[str, int] = defaultdict(int)
    for leg in draft.legs:
        if leg.account == provider_account:
            sums[leg.currency] += leg.amount_minor
    legs = []
    for currency, amount_minor in sorted(sums.items()):
        legs.append(Leg(provider_account, amount_minor, currency))
        legs.append(Leg(accounts.suspense(gateway), -amount_minor, currency))
    if not any(sums.values()):
        raise InvalidInput(
            "ledger.fact_without_money", field="legs", kind=draft.kind, cause=refusal.code
        )
    intended = [[leg.account, leg.currency, leg.amount_minor] for leg in draft.legs]
    meta = {
        **draft.meta,
        "suspense_reason": refusal.code,
        "suspense_params": dict(refusal.params),
        "intended_kind": draft.kind,
        "intended_legs": intended,
    }
    return replace(draft, kind="suspense", legs=tuple(legs), reverses_id=None, meta=meta)
