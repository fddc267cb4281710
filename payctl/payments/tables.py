"""Tables of payments, attempts, captures, refunds and the exchanges with providers.

Two constraints carry the promise "never charged twice, never stuck unseen" and hold even against a
mistake in the code above them: ``attempt_live`` (one live attempt per subject and operation) and
``attempt_due`` (every row that is not finished has a time at which somebody looks at it again).
"""

from __future__ import annotations

import sqlalchemy as sa

from payctl.db.metadata import append_only, one_of, partial_index, table
from payctl.db.types import Bytes, Flag, Id, Int, Json, Moment, Text
from payctl.gateways.disputes import DisputeStatus
from payctl.payments.model import (
    LIVE_ATTEMPT_STATES,
    Operation,
    PaymentStatus,
    RefundState,
    Way,
)

_STATUS, _STATE = sa.column("status", Text), sa.column("state", Text)
_OPERATION, _REFERENCE = sa.column("operation", Text), sa.column("provider_reference", Text)
_TO_CHECK = sa.column("next_check_at", Int).is_not(None)
_TERMINAL_PAYMENT = one_of(_STATUS, sorted(s for s in PaymentStatus if s.terminal))
_LIVE = one_of(_STATE, sorted(LIVE_ATTEMPT_STATES))
_RESTING_REFUND = one_of(_STATE, sorted(s for s in RefundState if s.resting))

payment = table(
    "payment",
    sa.Column("id", Id, primary_key=True),
    sa.Column("status", Text, nullable=False),
    sa.Column("version", Int, nullable=False, server_default="0"),
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("method", Text, nullable=False),
    sa.Column("country", Text),
    sa.Column("sale_type", Text, nullable=False),
    sa.Column("manual_capture", Flag, nullable=False),
    sa.Column("order_ref", Text),
    sa.Column("event_ref", Text),
    sa.Column("organiser", Text, nullable=False),
    sa.Column("user_ref", Text),
    sa.Column("email", Text),
    sa.Column("phone", Text),
    sa.Column("description", Text, nullable=False),
    sa.Column("metadata", Json, nullable=False),
    sa.Column("return_url", Text),
    sa.Column("cancel_url", Text),
    sa.Column("preferred", Json, nullable=False),
    sa.Column("payment_token", Text),
    sa.Column("expires_at", Moment),
    # what happened to it
    sa.Column("gateway_account", Text),
    sa.Column("attempt_id", Id),  # the attempt whose money this is
    sa.Column("failure_code", Text),
    sa.Column("needs_review", Flag, nullable=False),
    sa.Column("late", Flag, nullable=False),
    sa.Column("route", Json),
    # money, all in minor units of ``currency``
    sa.Column("authorized_minor", Int, nullable=False, server_default="0"),
    sa.Column("captured_minor", Int, nullable=False, server_default="0"),
    sa.Column("refund_reserved_minor", Int, nullable=False, server_default="0"),
    sa.Column("refunded_minor", Int, nullable=False, server_default="0"),
    # the sale: what the captures gave to whom, and what is left of the owner's pending part
    sa.Column("rate", Json),
    sa.Column("commission_minor", Int, nullable=False, server_default="0"),
    sa.Column("vat_minor", Int, nullable=False, server_default="0"),
    sa.Column("pending_minor", Int, nullable=False, server_default="0"),
    sa.Column("commission_returned_minor", Int, nullable=False, server_default="0"),
    sa.Column("vat_returned_minor", Int, nullable=False, server_default="0"),
    sa.Column("created_by", Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("next_check_at", Moment),
    sa.CheckConstraint(one_of(_STATUS, sorted(PaymentStatus)), name="status"),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.CheckConstraint(sa.or_(_TERMINAL_PAYMENT, _TO_CHECK), name="due"),
    sa.CheckConstraint(
        "captured_minor >= 0 AND captured_minor <= amount_minor AND authorized_minor >= 0"
        " AND authorized_minor <= amount_minor",
        name="captured",
    ),
    sa.CheckConstraint(
        "refund_reserved_minor >= 0 AND refunded_minor >= 0"
        " AND refund_reserved_minor + refunded_minor <= captured_minor",
        name="refunded",
    ),
    sa.CheckConstraint(
        "pending_minor >= 0 AND commission_returned_minor <= commission_minor"
        " AND vat_returned_minor <= vat_minor",
        name="sale",
    ),
    sa.Index("ix_payment_order", "order_ref"),
    sa.Index("ix_payment_organiser", "organiser", "id"),
    sa.Index("ix_payment_phone", "phone"),
    partial_index("payment_due", "next_check_at", where="next_check_at IS NOT NULL"),
)

payment_line = table(
    "payment_line",
    sa.Column("payment_id", Id, sa.ForeignKey("payment.id"), primary_key=True),
    sa.Column("no", Int, primary_key=True),
    sa.Column("description", Text, nullable=False),
    sa.Column("quantity", Int, nullable=False),
    sa.Column("unit_price_minor", Int, nullable=False),
    sa.Column("vat_ppm", Int, nullable=False),
    sa.CheckConstraint("quantity > 0", name="quantity"),
    sa.CheckConstraint("vat_ppm >= 0 AND vat_ppm <= 1000000", name="vat"),
)

capture = table(
    "capture",
    sa.Column("id", Id, primary_key=True),
    sa.Column("payment_id", Id, sa.ForeignKey("payment.id"), nullable=False),
    sa.Column("no", Int, nullable=False),
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("final", Flag, nullable=False),
    sa.Column("state", Text, nullable=False),  # open | succeeded | failed
    sa.Column("captured_before_minor", Int, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.CheckConstraint("state IN ('failed', 'open', 'succeeded')", name="state"),
    sa.UniqueConstraint("payment_id", "no"),
)

refund = table(
    "refund",
    sa.Column("id", Id, primary_key=True),
    sa.Column("payment_id", Id, sa.ForeignKey("payment.id"), nullable=False),
    #: the attempt whose receipt is given back; another one than the payment's for a second receipt
    sa.Column("receipt_attempt_id", Id, nullable=False),
    sa.Column("gateway_account", Text, nullable=False),
    sa.Column("source", Text, nullable=False),  # sale | unapplied
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("version", Int, nullable=False, server_default="0"),
    sa.Column("reason", Text, nullable=False),
    sa.Column("keep_commission", Flag, nullable=False),
    sa.Column("failure_code", Text),
    sa.Column("approval_id", Id),
    #: what the reservation took: the sale's pending part, commission and its VAT
    sa.Column("pending_minor", Int, nullable=False, server_default="0"),
    sa.Column("commission_minor", Int, nullable=False, server_default="0"),
    sa.Column("vat_minor", Int, nullable=False, server_default="0"),
    sa.Column("reserve_journal_id", Id),
    sa.Column("requested_by", Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("next_check_at", Moment),
    sa.Column("way", Text, nullable=False, server_default="refund"),
    #: where a payout goes: the account the provider named as the one that paid
    sa.Column("destination", Json),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.CheckConstraint(one_of(sa.column("way", Text), sorted(Way)), name="way"),
    sa.CheckConstraint("source IN ('sale', 'unapplied')", name="source"),
    sa.CheckConstraint(one_of(_STATE, sorted(RefundState)), name="state"),
    sa.CheckConstraint(sa.or_(_RESTING_REFUND, _TO_CHECK), name="due"),
    sa.Index("ix_refund_payment", "payment_id"),
    partial_index("refund_due", "next_check_at", where="next_check_at IS NOT NULL"),
)

attempt = table(
    "attempt",
    sa.Column("id", Id, primary_key=True),
    sa.Column("payment_id", Id, sa.ForeignKey("payment.id"), nullable=False),
    sa.Column("operation", Text, nullable=False),
    #: what may have one live attempt at a time: the payment, or the refund
    sa.Column("subject_id", Id, nullable=False),
    sa.Column("refund_id", Id, sa.ForeignKey("refund.id")),
    sa.Column("capture_id", Id, sa.ForeignKey("capture.id")),
    sa.Column("no", Int, nullable=False),
    sa.Column("gateway_account", Text, nullable=False),
    sa.Column("our_reference", Text, nullable=False),
    sa.Column("idempotency_key", Text, nullable=False),
    sa.Column("request_hash", Bytes, nullable=False),
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("version", Int, nullable=False, server_default="0"),
    sa.Column("provider_reference", Text),
    sa.Column("lease_owner", Text),
    sa.Column("lease_until", Moment),
    sa.Column("next_check_at", Moment),
    sa.Column("checks", Int, nullable=False, server_default="0"),
    sa.Column("not_found", Int, nullable=False, server_default="0"),
    sa.Column("quarantine_until", Moment, nullable=False),
    sa.Column("exposed_at", Moment),
    sa.Column("expires_at", Moment),
    sa.Column("code", Text),
    sa.Column("provider_code", Text),
    sa.Column("message", Text),
    sa.Column("next_action", Json),
    sa.Column("received_minor", Int),
    sa.Column("received_currency", Text),
    #: where a success was posted: order | unapplied
    sa.Column("receipt", Text),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    #: what the provider wants back with a question, and whom it names as the payer; shown to nobody
    sa.Column("provider_data", Json),
    sa.Column("payer", Json),
    #: the key that accompanies taking what the customer approved, and when it was first sent
    sa.Column("completion_key", Text),
    sa.Column("completion_at", Moment),
    sa.CheckConstraint(one_of(_OPERATION, sorted(Operation)), name="operation"),
    sa.CheckConstraint(sa.or_(sa.not_(_LIVE), _TO_CHECK), name="due"),
    sa.CheckConstraint("receipt IS NULL OR receipt IN ('order', 'unapplied')", name="receipt"),
    sa.UniqueConstraint("gateway_account", "our_reference"),
    sa.UniqueConstraint("gateway_account", "idempotency_key"),
    sa.UniqueConstraint("subject_id", "operation", "no"),
    partial_index("attempt_live", "subject_id", "operation", unique=True, where=_LIVE),
    partial_index(
        "attempt_provider_reference",
        "gateway_account",
        "operation",
        "provider_reference",
        unique=True,
        where=sa.and_(one_of(_OPERATION, ("collect", "payout", "refund")), _REFERENCE.is_not(None)),
    ),
    partial_index("attempt_due", "next_check_at", where=_LIVE),
    sa.Index("ix_attempt_payment", "payment_id"),
    partial_index(
        "ix_attempt_reference", "provider_reference", where="provider_reference IS NOT NULL"
    ),
)

#: The condition of ``attempt_due`` and ``attempt_live``, for queries that they shall answer.
LIVE = one_of(attempt.c.state, sorted(LIVE_ATTEMPT_STATES))

#: Secrets that a provider gave for an attempt, as SHA-256: a webhook that proves itself by such a
#: token names nothing else, and is found by it without a look at every attempt.
attempt_token = table(
    "attempt_token",
    sa.Column("gateway_account", Text, primary_key=True),
    sa.Column("token_hash", Bytes, primary_key=True),
    sa.Column("attempt_id", Id, sa.ForeignKey("attempt.id"), primary_key=True),
)

provider_call = table(
    "provider_call",
    sa.Column("id", Id, primary_key=True),
    sa.Column("attempt_id", Id, sa.ForeignKey("attempt.id"), nullable=False),
    #: create | complete | capture | cancel | refund | payout | query | query_refund | query_payout
    sa.Column("call", Text, nullable=False),
    sa.Column("source", Text, nullable=False),  # process | sync | webhook | operator
    sa.Column("outcome", Text, nullable=False),
    sa.Column("http_status", Int),
    sa.Column("latency_ms", Int, nullable=False),
    sa.Column("exchange", Json, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Index("ix_provider_call_attempt", "attempt_id"),
)
append_only("provider_call")

dispute = table(
    "dispute",
    sa.Column("id", Id, primary_key=True),
    sa.Column("payment_id", Id, sa.ForeignKey("payment.id"), nullable=False),
    #: the attempt whose receipt is contested
    sa.Column("attempt_id", Id, nullable=False),
    sa.Column("gateway_account", Text, nullable=False),
    sa.Column("provider_reference", Text, nullable=False),
    sa.Column("amount_minor", Int, nullable=False),
    sa.Column("currency", Text, nullable=False),
    sa.Column("status", Text, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("respond_by", Moment),
    sa.Column("version", Int, nullable=False, server_default="0"),
    #: what the provider has taken back, and what of the owner's money is frozen for it
    sa.Column("withdrawn_minor", Int, nullable=False, server_default="0"),
    sa.Column("frozen_minor", Int, nullable=False, server_default="0"),
    #: what a loss gives back of our commission and its VAT
    sa.Column("commission_minor", Int, nullable=False, server_default="0"),
    sa.Column("vat_minor", Int, nullable=False, server_default="0"),
    #: what the loss cost whoever bears it
    sa.Column("lost_minor", Int, nullable=False, server_default="0"),
    sa.Column("settled", Flag, nullable=False),
    #: what we said: accept | contest, stored with its key before it is sent
    sa.Column("response", Text),
    sa.Column("response_key", Text),
    sa.Column("responded_by", Text),
    sa.Column("responded_at", Moment),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("next_check_at", Moment),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.CheckConstraint(one_of(_STATUS, sorted(DisputeStatus)), name="status"),
    sa.CheckConstraint("response IS NULL OR response IN ('accept', 'contest')", name="response"),
    sa.CheckConstraint(
        "withdrawn_minor >= 0 AND frozen_minor >= 0 AND lost_minor >= 0", name="money"
    ),
    sa.CheckConstraint("settled OR next_check_at IS NOT NULL", name="due"),
    sa.UniqueConstraint("gateway_account", "provider_reference"),
    sa.Index("ix_dispute_payment", "payment_id"),
    partial_index("dispute_due", "next_check_at", where="next_check_at IS NOT NULL"),
)
