"""What a gateway is: six verbs, declared capabilities, and answers that say what they prove.

An adapter translates. It holds no state that money depends on, never retries, never decides about
fail-over, and never raises for a decline: every exchange ends in an :class:`Answer` whose
:class:`Outcome` says what that exchange *proves* (payments design, 2.5). Keys and references are
made and stored by the caller before the first byte goes out, in the format the adapter declares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from payctl.gateways.outcome import DECLINE_CODES as DECLINE_CODES
from payctl.gateways.outcome import FAIL_OVER_CODES as FAIL_OVER_CODES
from payctl.gateways.outcome import Outcome as Outcome
from payctl.gateways.outcome import RejectKind as RejectKind

if TYPE_CHECKING:
    from payctl.gateways.disputes import Dispute, DisputeResponse

#: Told ``send.before`` and ``receive.after`` around each exchange; tests kill the process there.
Probe = Callable[[str], None]


def no_probe(point: str) -> None:
    """The probe of ordinary runs: watches nothing."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the provider can do and promises; this drives retry, quarantine and fail-over.

    Attributes:
        resend_window_s: for how long the provider answers a repeated key with the first effect;
            ``None`` when a key must never be sent twice.
        query_by: references a status can be asked by: ``provider_reference``, ``our_reference``.
        late_horizon_s: how long after our last byte an effect may still appear; only when that and
            the sender's lease are over is "not found" believed (quarantine).
        create_moves_money: whether ``create_payment`` alone can take money (a USSD push).
        revocable: whether an open payment can be cancelled for certain.
        reference_format: format of our reference and key: ``typeid``, ``uuid4``, ``plain30``.
        status_reports_amount: whether a query tells the amount received.
        reports_payer: whether a status names the account that paid, so that money can go back
            there by a payout where the provider has no refund.
        networks: mobile networks (``mtn``, ``orange``, as :mod:`payctl.gateways.numbering` has
            them) whose customers it serves itself; empty for one that serves any through others.
            Routing prefers the gateway of the customer's own network, and excludes none for it.
    """

    methods: frozenset[str]
    currencies: frozenset[str] | None  # None: any currency of the book
    countries: frozenset[str] | None = None
    resend_window_s: int | None = None
    query_by: frozenset[str] = frozenset({"our_reference"})
    late_horizon_s: int = 1800
    create_moves_money: bool = True
    revocable: bool = False
    manual_capture: bool = False
    refunds: str = "none"  # none | full | partial
    query_refunds: bool = False
    #: kinds of :class:`Destination` it can pay out to; empty when it pays nobody
    payouts: frozenset[str] = frozenset()
    payee_check: bool = False
    balance: bool = False
    lists_payments: bool = False
    disputes: bool = False
    reference_format: str = "typeid"
    status_reports_amount: bool = True
    reports_payer: bool = False
    networks: frozenset[str] = frozenset()
    #: currency code -> smallest and largest amount in minor units
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    #: currency code -> amounts must be a multiple of this many minor units
    steps: Mapping[str, int] = field(default_factory=dict)
    #: the same two of payouts
    payout_limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    payout_steps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """Everything a provider may need to take one payment. ``amount_minor`` in ISO minor units.

    ``our_reference`` identifies the attempt at the provider (metadata, external id);
    ``idempotency_key`` accompanies every POST and is stored before it is sent.
    """

    our_reference: str
    idempotency_key: str
    amount_minor: int
    currency: str
    method: str
    description: str = ""
    email: str | None = None
    phone: str | None = None
    country: str | None = None
    return_url: str | None = None
    cancel_url: str | None = None
    manual_capture: bool = False
    #: provider token of the customer's means of payment (``pm_…``), never a card number
    payment_token: str | None = None
    customer_reference: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    deadline_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Reference:
    """Whatever we know of an object at the provider; at least one of the two."""

    our_reference: str | None = None
    provider_reference: str | None = None
    #: amount and currency of the original, which some providers want back
    amount_minor: int | None = None
    currency: str | None = None
    created_at: datetime | None = None
    #: what the provider gave with the first answer and wants back with a question
    provider_data: Mapping[str, str] = field(default_factory=dict)
    deadline_s: float = 10.0


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """Take (part of) an authorised amount. ``final`` releases the rest."""

    payment: Reference
    our_reference: str
    idempotency_key: str
    amount_minor: int
    currency: str
    final: bool = True
    deadline_s: float = 10.0


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Give (part of) a captured amount back."""

    payment: Reference
    our_reference: str
    idempotency_key: str
    amount_minor: int
    currency: str
    reason: str = ""
    deadline_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a payout goes.

    ``kind`` is ``msisdn`` (``value`` in E.164, ``+2250708091011``), ``email``, ``paypal_id`` or
    ``stripe_account``.
    """

    kind: str
    value: str
    name: str = ""
    country: str | None = None


@dataclass(frozen=True, slots=True)
class PayoutRequest:
    """Pay ``amount_minor`` to ``destination``: a withdrawal, or money going back by another way."""

    our_reference: str
    idempotency_key: str
    amount_minor: int
    currency: str
    destination: Destination
    description: str = ""
    deadline_s: float = 20.0


@dataclass(frozen=True, slots=True)
class NextAction:
    """What the customer must do. ``client_secret`` goes to the caller once, to no log or table."""

    type: str  # redirect | payer_action | stripe_client_secret | ussd_prompt
    url: str | None = None
    client_secret: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fee:
    """A provider's fee for one object; ``reference`` is the provider's id of the fee posting."""

    amount_minor: int
    currency: str
    reference: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one exchange proved.

    ``amount_minor``/``currency`` are what the provider says it took (``None`` where it does not
    say). ``captured_minor`` is the sum captured so far of an authorisation. ``payer`` is whom the
    provider names as the one who paid. ``provider_data`` is what a later question needs besides the
    references (``pay_token``); it is stored with the attempt and shown to nobody. ``exchange`` is
    the scrubbed request and response for the record; no secret, card number or full phone in it.
    """

    outcome: Outcome
    provider_reference: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    captured_minor: int | None = None
    code: str | None = None  # normalised decline code, or the reject code
    reject: RejectKind | None = None
    provider_code: str | None = None
    message: str | None = None
    next_action: NextAction | None = None
    fee: Fee | None = None
    #: our reference as the provider returned it (for events found by provider id)
    our_reference: str | None = None
    payer: Destination | None = None
    dispute: Dispute | None = None
    provider_data: Mapping[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    http_status: int | None = None
    latency_ms: int = 0
    exchange: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """A provider's webhook, understood only as far as needed to ask about the object it names.

    ``proof`` says what speaks for it: ``signature`` (checked here), ``token`` (``token`` must equal
    the one the provider gave when the object was made; whoever stores that compares) or ``none``.
    In every case the object is asked for before anything changes. ``payer`` is whom a signed event
    names as the one who paid, where a status names nobody.
    """

    event_id: str
    type: str
    object_kind: str  # payment | refund | payout | dispute | other
    reference: Reference
    occurred_at: datetime | None = None
    proof: str = "signature"
    token: str | None = field(default=None, repr=False)
    payer: Destination | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class BalanceLine:
    """What the provider says it holds for us.

    ``part`` is ``collect`` (what came in from sales) or ``float`` (what was put there in advance
    for payouts), where the provider keeps the two apart.
    """

    currency: str
    available_minor: int
    pending_minor: int = 0
    part: str = "collect"


@dataclass(frozen=True, slots=True)
class Health:
    """Result of a cheap authenticated call."""

    ok: bool
    latency_ms: int
    detail: str = ""


class Gateway(Protocol):
    """The protocol. Every method makes at most one logical exchange, within ``deadline_s``, and
    returns an :class:`Answer`; none raises for what the provider or the network does, save where
    its docstring says so because its result has no room for a failure.

    A method a provider cannot do is still there and answers ``REJECTED``/``validation`` with code
    ``not_supported`` before any HTTP.
    """

    @property
    def name(self) -> str:
        """Family, ``stripe``."""

    @property
    def account(self) -> str:
        """Our name of the merchant account; unique in a book."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def live(self) -> bool:
        """Whether its credentials move real money."""

    def create_payment(self, request: PaymentRequest) -> Answer: ...

    def query_payment(self, reference: Reference) -> Answer: ...

    def complete_payment(self, reference: Reference, idempotency_key: str) -> Answer:
        """Take (or reserve) the money of a payment that a query showed as ``APPROVED``."""

    def capture_payment(self, request: CaptureRequest) -> Answer: ...

    def cancel_payment(self, reference: Reference, idempotency_key: str) -> Answer: ...

    def refund_payment(self, request: RefundRequest) -> Answer: ...

    def query_refund(self, reference: Reference) -> Answer: ...

    def create_payout(self, request: PayoutRequest) -> Answer:
        """Pay out. ``SUCCEEDED`` when the money has left us, ``PENDING`` while it is on its way."""

    def query_payout(self, reference: Reference) -> Answer: ...

    def check_payee(self, destination: Destination, deadline_s: float) -> Answer:
        """Whether *destination* can receive money: ``SUCCEEDED``, or ``DECLINED`` with a code."""

    def query_dispute(self, reference: str, deadline_s: float) -> Answer:
        """The dispute with that id: ``SUCCEEDED`` with ``dispute`` set when it was read."""

    def list_disputes(self, since: datetime) -> Iterator[Answer]:
        """Disputes opened since, as :meth:`query_dispute` answers; a list that breaks off ends with
        an answer without ``dispute``."""

    def respond_to_dispute(self, response: DisputeResponse) -> Answer:
        """Accept or contest. May be repeated with the same content and key."""

    def list_payments(self, since: datetime, until: datetime) -> Iterator[Answer]:
        """Payments created in ``[since, until)``, oldest first.

        A list that breaks off ends with an answer that names no payment (``NOT_SENT``, ``UNKNOWN``
        or ``REJECTED``), so that a cut list is never taken for a whole one.
        """

    def balance(self) -> list[BalanceLine]:
        """What the provider holds for us, a line per currency and part.

        Raises:
            NotSent: ``gateway.unreachable``; nothing can be said about the balance.
            NotConfigured: ``gateway.refused_credentials`` or ``gateway.not_supported``.
        """

    def ping(self) -> Health: ...

    def parse_event(
        self, body: bytes, headers: Mapping[str, str], received_at: datetime | None = None
    ) -> Event:
        """Verify and read a webhook's raw body.

        *received_at* is when it came in: where the provider signs a time, it must lie within the
        provider's tolerance of it, before or after. Without it only the signature is checked, so an
        inbox may read a stored event long after it was received.

        Raises:
            Forbidden: ``event.bad_signature`` or ``event.stale``.
            InvalidInput: ``event.unreadable``, with parameter ``proof`` = ``signature`` when the
                body is signed well all the same.
        """
