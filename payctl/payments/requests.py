"""What a caller asks for: the input of a payment and its validation, and the request fingerprint.

Everything wrong is refused here, before anything is written or sent; the error names the field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from urllib.parse import urlsplit

from payctl import log, pan
from payctl.countries import COUNTRIES
from payctl.db.types import canonical
from payctl.errors import InvalidInput
from payctl.money import PPM, check_amount_minor

METHODS = frozenset({"card", "mobile_money", "paypal", "bank_transfer", "wallet"})
SALE_TYPES = frozenset({"ticket_sale", "template_sale"})
#: Of the idempotency keys of payments.
SCOPE = "payment"

MAX_TEXT = 500
MAX_REFERENCE = 120
MAX_METADATA_KEYS = 40
MAX_LINES = 200
MAX_QUANTITY = 1_000_000
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@/+-]{0,119}")
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
#: Letters no database keeps as text: NUL, and half a surrogate pair, which is no letter at all.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of what is bought; ``unit_price_minor`` includes VAT of ``vat_ppm``."""

    description: str
    quantity: int
    unit_price_minor: int
    vat_ppm: int = 0


@dataclass(frozen=True, slots=True)
class PaymentInput:
    """A payment as the core service or an operator asks for it. Amounts in minor units."""

    key: str
    amount_minor: int
    currency: str
    method: str
    organiser: str
    order: str | None = None
    event: str | None = None
    user: str | None = None
    email: str | None = None
    phone: str | None = None
    country: str | None = None
    description: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    return_url: str | None = None
    cancel_url: str | None = None
    preferred: tuple[str, ...] = ()
    sale_type: str = "ticket_sale"
    manual_capture: bool = False
    payment_token: str | None = None
    lines: tuple[Line, ...] = ()
    expires_at: datetime | None = None
    #: how long it may stay open, in seconds, when *expires_at* was reckoned from now: a repeat of
    #: the same request asks for the same span, not for the same moment
    expires_in_s: int | None = None
    #: joins what is done for it in log, exchanges, audit and notifications; no part of the request
    correlation_id: str | None = None

    def validated(self) -> PaymentInput:
        """This input, or the first thing that is wrong with it.

        Raises:
            InvalidInput: naming the field; nothing has been written or sent.
        """
        check_amount_minor(self.amount_minor, self.currency)
        check_key(self.key)
        _one_of("method", self.method, METHODS)
        _one_of("sale_type", self.sale_type, SALE_TYPES)
        for name in ("organiser", "order", "event", "user"):
            _check_reference(name, getattr(self, name), required=name == "organiser")
        if self.country is not None and self.country not in COUNTRIES:
            raise InvalidInput("country.unknown", field="country", country=self.country[:20])
        if self.email is not None and (len(self.email) > 254 or not _EMAIL.fullmatch(self.email)):
            raise InvalidInput("email.malformed", field="email")
        if self.phone is not None and not _PHONE.fullmatch(self.phone):
            raise InvalidInput("phone.malformed", field="phone")
        for name in ("return_url", "cancel_url"):
            _check_url(name, getattr(self, name))
        if self.correlation_id is not None and not log.CORRELATION.fullmatch(self.correlation_id):
            raise InvalidInput("usage.correlation_id", field="correlation_id")
        self._check_texts()
        self._check_lines()
        self._check_letters()
        return self

    def fingerprint(self) -> bytes:
        """SHA-256 of everything but the key: the same key with another body is refused by it."""
        body = {name: getattr(self, name) for name in _IN_FINGERPRINT}
        body["metadata"] = dict(self.metadata)
        body["lines"] = [asdict(line) for line in self.lines]
        moment = self.expires_at if self.expires_in_s is None else None
        body["expires_at"] = moment.isoformat() if moment else None
        return hashlib.sha256(canonical(body).encode()).digest()

    def _check_texts(self) -> None:
        if len(self.description) > MAX_TEXT:
            raise InvalidInput("text.too_long", field="description", limit=MAX_TEXT)
        if self.payment_token is not None and len(self.payment_token) > MAX_TEXT:
            raise InvalidInput("text.too_long", field="payment_token", limit=MAX_TEXT)
        if len(self.metadata) > MAX_METADATA_KEYS:
            raise InvalidInput("metadata.too_many", field="metadata", limit=MAX_METADATA_KEYS)
        for name, value in self.metadata.items():
            if not name or len(name) > 40 or len(value) > MAX_TEXT:
                raise InvalidInput("text.too_long", field=f"metadata.{name[:40]}", limit=MAX_TEXT)

    def _check_lines(self) -> None:
        if not self.lines:
            return
        if len(self.lines) > MAX_LINES:
            raise InvalidInput("lines.too_many", field="lines", limit=MAX_LINES)
        for number, line in enumerate(self.lines, 1):
            good = 0 < line.quantity <= MAX_QUANTITY and line.unit_price_minor >= 0
            good = good and 0 <= line.vat_ppm <= PPM
            if not good or len(line.description) > MAX_TEXT:
                raise InvalidInput("lines.malformed", field=f"lines.{number}", number=number)
        total = sum(line.quantity * line.unit_price_minor for line in self.lines)
        if total != self.amount_minor:
            raise InvalidInput(
                "lines.sum",
                field="lines",
                total=total,
                amount=self.amount_minor,
                currency=self.currency,
            )

    def _check_letters(self) -> None:
        """No field may carry a card number: it is refused, and so never stored or logged. Nor may
        one carry what cannot be stored.
        """
        texts: list[tuple[str, str]] = [
            (name, value)
            for name in ("key", "organiser", "order", "event", "user", "email", "description",
                         "return_url", "cancel_url", "payment_token")
            if (value := getattr(self, name))
        ]  # fmt: skip
        texts += [(f"metadata.{k}", f"{k} {v}") for k, v in self.metadata.items()]
        texts += [(f"lines.{n}", line.description) for n, line in enumerate(self.lines, 1)]
        texts += [("preferred", name) for name in self.preferred]
        for name, value in texts:
            _check_letters(name.split(".")[0], value)


_IN_FINGERPRINT = tuple(
    each.name for each in fields(PaymentInput) if each.name not in ("key", "correlation_id")
)


def check_reason(reason: str | None) -> str:
    """A reason is mandatory wherever money goes out.

    Raises:
        InvalidInput: ``reason.missing``, ``text.too_long``, ``text.unstorable`` or ``pan.refused``.
    """
    text = (reason or "").strip()
    if not text:
        raise InvalidInput("reason.missing", field="reason")
    if len(text) > MAX_TEXT:
        raise InvalidInput("text.too_long", field="reason", limit=MAX_TEXT)
    _check_letters("reason", text)
    return text


def check_token(token: str) -> None:
    """A provider's token of a means of payment; never a card number.

    Raises:
        InvalidInput: ``text.too_long``, ``text.unstorable``, ``reference.malformed`` or
            ``pan.refused``.
    """
    if len(token) > MAX_TEXT:
        raise InvalidInput("text.too_long", field="payment_token", limit=MAX_TEXT)
    if not token.strip():
        raise InvalidInput("reference.malformed", field="payment_token")
    _check_letters("payment_token", token)


def check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise InvalidInput("key.malformed", field="key")


def _check_letters(name: str, text: str) -> None:
    if pan.contains(text):
        raise InvalidInput("pan.refused", field=name)
    if _UNSTORABLE.search(text):
        raise InvalidInput("text.unstorable", field=name)


def _check_reference(name: str, value: str | None, *, required: bool) -> None:
    if value is None and not required:
        return
    if not value or not _REFERENCE.fullmatch(value):
        raise InvalidInput("reference.malformed", field=name)


def _one_of(name: str, value: str, allowed: frozenset[str]) -> None:
    if value not in allowed:
        raise InvalidInput(
            "choice.unknown", field=name, value=value[:40], allowed=", ".join(sorted(allowed))
        )


def _check_url(name: str, value: str | None) -> None:
    if value is None:
        return
    try:
        parts = urlsplit(value)
    except ValueError:
        raise InvalidInput("url.malformed", field=name) from None
    local = parts.hostname in ("localhost", "127.0.0.1")
    good = parts.scheme == "https" or (parts.scheme == "http" and local)
    if not good or not parts.hostname or parts.username or len(value) > 2000:
        raise InvalidInput("url.malformed", field=name)
