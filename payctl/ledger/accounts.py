"""The chart of accounts: every code the ledger knows, what it means and how it is guarded.

A code has no currency (``wallet:org-1:pending``); an account exists once per currency and its full
code is ``code:CUR``. Accounts are opened on first use, so this table is the only place that decides
which codes there are. The numbers of the French and OHADA charts are seeds of the table
``account_number``, which finance edits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from payctl.errors import InvalidInput

#: Debit-normal kinds count their balance in debits, the others in credits.
DEBIT_KINDS = ("asset", "expense")
KINDS = ("asset", "liability", "equity", "income", "expense")

#: Parts of an owner's wallet. None may go below zero.
WALLET_PARTS = ("pending", "available", "reserve", "disputed", "outgoing")

_NAME = r"[A-Za-z0-9][A-Za-z0-9._@+\-]{0,63}"
_PLACES = {
    "{g}": _NAME,
    "{o}": _NAME,
    "{bank}": _NAME,
    "{part}": "(?:" + "|".join(WALLET_PARTS) + ")",
    "{type}": "[a-z][a-z_]{0,39}",
    "{c}": "[A-Z]{2}",
}
_PLACE = re.compile(r"\{[a-z]+\}")


@dataclass(frozen=True, slots=True)
class ChartLine:
    """One line of the chart.

    ``guarded`` accounts are one row with floor 0: the database refuses what would overdraw them.
    All others are striped and may take either sign. ``clearing`` accounts must return to zero;
    ``clearing_days`` says after how many days an amount left there is reported.
    """

    pattern: str
    kind: str
    meaning: str
    pcg: str
    syscohada: str
    guarded: bool = False
    clearing_days: int | None = None

    @property
    def normal_side(self) -> int:
        """1 where debits raise the balance, -1 where credits do."""
        return 1 if self.kind in DEBIT_KINDS else -1


_WALLET = "4672", "4712"
CHART: tuple[ChartLine, ...] = (
    ChartLine("gateway:{g}:collect", "asset", "held by the provider from sales", "5115", "552"),
    ChartLine("gateway:{g}:float", "asset", "prefunded payout float", "5115", "552"),
    ChartLine("transit:{g}", "asset", "between provider and bank", "580", "585", clearing_days=10),
    ChartLine("bank:{bank}", "asset", "our bank account", "512", "521"),
    ChartLine("dispute:{g}", "asset", "contested with the provider", "4686", "4711",
              clearing_days=120),
    ChartLine("owed:{o}", "asset", "owed to us by an owner", "4671", "4711", guarded=True),
    ChartLine("suspense:{g}", "asset", "facts not yet placed", "471", "471", clearing_days=10),
    ChartLine("fx", "equity", "currency position", "4781", "4781"),
    ChartLine("wallet:{o}:{part}", "liability", "owed by us to an owner", *_WALLET, guarded=True),
    ChartLine("refund:{g}:outgoing", "liability", "refunds reserved, not yet confirmed",
              "4673", "4713", clearing_days=14),
    ChartLine("unapplied:{g}", "liability", "receipts that belong to no open order",
              "4674", "4714", clearing_days=30),
    ChartLine("vat:{c}", "liability", "VAT on our own income", "44571", "4431"),
    ChartLine("income:commission:{type}", "income", "commission, without VAT", "706", "706"),
    ChartLine("income:fee_recharge", "income", "fees recharged to owners", "708", "707"),
    ChartLine("income:template_sales", "income", "templates sold in our name", "707", "701"),
    ChartLine("income:fx_gain", "income", "gain on conversion", "756", "756"),
    ChartLine("income:difference", "income", "tolerated differences in our favour", "758", "758"),
    ChartLine("expense:gateway_fee:{g}", "expense", "providers' fees on sales", "627", "631"),
    ChartLine("expense:payout_fee:{g}", "expense", "providers' fees on payouts", "627", "631"),
    ChartLine("expense:dispute_fee:{g}", "expense", "providers' fees on disputes", "627", "631"),
    ChartLine("expense:bank_fee", "expense", "bank charges", "627", "631"),
    ChartLine("expense:designer_share", "expense", "designers' share of own sales", "604", "604"),
    ChartLine("expense:fx_loss", "expense", "loss on conversion", "656", "656"),
    ChartLine("expense:write_off", "expense", "tolerated differences against us", "658", "658"),
    ChartLine("expense:bad_debt", "expense", "owners' debts given up", "654", "654"),
    ChartLine("expense:goodwill", "expense", "refunds beyond the sale", "658", "658"),
    ChartLine("opening:migration", "equity", "balances taken over", "890", "890"),
)  # fmt: skip

#: Codes with a number of their own: cards settle through a bank, mobile money through an issuer.
NUMBER_EXCEPTIONS = (
    ("gateway:stripe:collect", "syscohada", "515"),
    ("gateway:paypal:collect", "syscohada", "515"),
)

FX = "fx"
FEE_RECHARGE = "income:fee_recharge"
TEMPLATE_SALES = "income:template_sales"
FX_GAIN = "income:fx_gain"
DIFFERENCE = "income:difference"
BANK_FEE = "expense:bank_fee"
DESIGNER_SHARE = "expense:designer_share"
FX_LOSS = "expense:fx_loss"
WRITE_OFF = "expense:write_off"
BAD_DEBT = "expense:bad_debt"
GOODWILL = "expense:goodwill"
OPENING_MIGRATION = "opening:migration"


def _compiled(line: ChartLine) -> re.Pattern[str]:
    pieces = []
    position = 0
    for place in _PLACE.finditer(line.pattern):
        pieces.append(re.escape(line.pattern[position : place.start()]))
        group = place.group()
        pieces.append(f"(?P<{group[1:-1]}>{_PLACES[group]})")
        position = place.end()
    pieces.append(re.escape(line.pattern[position:]))
    return re.compile("".join(pieces))


#: By the first part of a code, of which most have one line only.
_PATTERNS: dict[str, list[tuple[re.Pattern[str], ChartLine]]] = {}
for _line in CHART:
    _PATTERNS.setdefault(_line.pattern.partition(":")[0], []).append((_compiled(_line), _line))


@lru_cache(maxsize=4096)
def find_line(code: str) -> ChartLine | None:
    """The line of the chart *code* belongs to, or ``None``."""
    for pattern, line in _PATTERNS.get(code.partition(":")[0], ()):
        if pattern.fullmatch(code):
            return line
    return None


def line_of(code: str) -> ChartLine:
    """The line of the chart *code* belongs to.

    Raises:
        InvalidInput: ``ledger.unknown_account``.
    """
    line = find_line(code)
    if line is None:
        raise InvalidInput("ledger.unknown_account", field="account", account=code[:120])
    return line


def owner_of(code: str) -> str | None:
    """The owner of a wallet part or debt, else ``None``."""
    head, _, rest = code.partition(":")
    return rest.partition(":")[0] if head in ("wallet", "owed") else None


def full_code(code: str, currency: str) -> str:
    """The code as people and exports write it: ``wallet:org-1:pending:EUR``."""
    return f"{code}:{currency}"


def split_full(text: str) -> tuple[str, str]:
    """Code and currency of a full code.

    Raises:
        InvalidInput: ``ledger.account_needs_currency`` or ``ledger.unknown_account``.
    """
    code, _, currency = text.strip().rpartition(":")
    if not code or not re.fullmatch("[A-Z]{3}", currency):
        raise InvalidInput("ledger.account_needs_currency", field="account", account=text[:120])
    line_of(code)
    return code, currency


def collect(gateway: str) -> str:
    """What the provider holds for us from sales."""
    return f"gateway:{gateway}:collect"


def float_(gateway: str) -> str:
    """The prefunded float payouts leave from."""
    return f"gateway:{gateway}:float"


def transit(gateway: str) -> str:
    """On its way between a provider and our bank."""
    return f"transit:{gateway}"


def bank(name: str) -> str:
    """One of our bank accounts."""
    return f"bank:{name}"


def dispute(gateway: str) -> str:
    """Taken back by the provider and contested."""
    return f"dispute:{gateway}"


def suspense(gateway: str) -> str:
    """Facts we cannot place yet."""
    return f"suspense:{gateway}"


def refund_outgoing(gateway: str) -> str:
    """Refunds reserved and not yet confirmed by the provider."""
    return f"refund:{gateway}:outgoing"


def unapplied(gateway: str) -> str:
    """Receipts that belong to no open order."""
    return f"unapplied:{gateway}"


def wallet(owner: str, part: str) -> str:
    """A part of an owner's wallet; *part* is one of ``WALLET_PARTS``."""
    return f"wallet:{owner}:{part}"


def owed(owner: str) -> str:
    """What an owner owes us after forced debits."""
    return f"owed:{owner}"


def vat(country: str) -> str:
    """VAT we owe in a country (ISO 3166 alpha-2) on our own income."""
    return f"vat:{country}"


def commission_income(sale_type: str) -> str:
    """Commission on a kind of sale (``ticket_sale``, ``template_sale``), without VAT."""
    return f"income:commission:{sale_type}"


def gateway_fee(gateway: str) -> str:
    """The provider's fee on sales."""
    return f"expense:gateway_fee:{gateway}"


def payout_fee(gateway: str) -> str:
    """The provider's fee on payouts."""
    return f"expense:payout_fee:{gateway}"


def dispute_fee(gateway: str) -> str:
    """The provider's fee on disputes."""
    return f"expense:dispute_fee:{gateway}"


def mirrors_another_book(code: str) -> bool:
    """True for accounts of providers and banks: never written by hand without a second person
    (postings, rule 10), whatever the thresholds say.
    """
    return code.partition(":")[0] in ("gateway", "bank")
