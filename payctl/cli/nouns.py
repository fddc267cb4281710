"""The nouns, as data: what ``payctl --help`` lists without importing any of their modules."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noun:
    """A first word of the command line; its module is ``payctl.cli.NAME``."""

    name: str
    summary: str
    panel: str

    @property
    def module(self) -> str:
        return f"payctl.cli.{self.name}"


_PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Money in",
        (
            ("payments", "take, follow, capture and cancel payments"),
            ("refunds", "give captured money back"),
            ("disputes", "payments their customers contest"),
        ),
    ),
    (
        "Gateways",
        (
            ("gateways", "routing, limits, fees, breakers and health of the gateways"),
            ("stripe", "intents and customers as Stripe sees them"),
            ("paypal", "orders and balance as PayPal sees them"),
            ("orange", "payments and balance as Orange Money sees them"),
            ("float", "money that lies at gateways for payouts: fill it up, watch it"),
            ("cinetpay", "a payment and the balance as CinetPay sees them"),
            ("momo", "payments, balance and payees as MTN Mobile Money sees them"),
        ),
    ),
    (
        "Money held and out",
        (
            ("wallets", "what each organiser and designer is owed"),
            ("commissions", "the platform's rates and what they earn"),
            ("approvals", "acts that wait for a second person"),
        ),
    ),
    ("Books", (("ledger", "accounts, entries, statements, trial balance and checks"),)),
    (
        "Plumbing",
        (
            ("cases", "work that needs a person"),
            ("webhooks", "events received from the gateways"),
            ("outbox", "what the core service is told of changes, and how far"),
            ("jobs", "batch jobs: run them, see when they ran"),
            ("db", "upgrade, back up, restore and verify the book"),
            ("operators", "people and their roles"),
            ("audit", "who did what, in an unbroken chain"),
            ("config", "settings, where each comes from, and whether they hold"),
            ("today", "what needs you now (also: payctl alone)"),
            ("stats", "what was sold lately, on a screen that refreshes itself"),
            ("trace", "one time-line for any id: where is the money now"),
            ("doctor", "is this installation healthy, and how to fix it"),
            ("health", "is the book ready, and with --detailed every check"),
            ("metrics", "what Prometheus reads"),
            ("demo", "a whole event's story on a scratch book"),
            ("commands", "the whole command tree"),
            ("help", "help on a topic: exit-codes, money, output, states ..."),
            ("version", "the version"),
            ("completion", "completion script for bash, zsh or fish"),
        ),
    ),
)

NOUNS: dict[str, Noun] = {
    name: Noun(name, summary, panel) for panel, rows in _PANELS for name, summary in rows
}

GLOBAL_OPTIONS: tuple[tuple[str, str], ...] = (
    ("--profile NAME", "profile of the configuration to use"),
    ("-o, --output FORMAT", "table, plain, json, jsonl or csv (piped: plain)"),
    ("--json", "short for -o json"),
    ("--fields A,B", "only these fields, in this order"),
    ("-q, --quiet", "ids only"),
    ("-v, --verbose", "say more on stderr; twice for even more"),
    ("--debug", "show the traceback of an unexpected error"),
    ("--no-color", "no colours"),
    ("--no-input", "refuse instead of asking"),
    ("--lang en|fr", "language of sentences"),
    ("--tz ZONE", "time zone of printed times"),
    ("--config FILE", "read this configuration file only"),
    ("--csv-dialect D", "std, or fr: semicolons, decimal comma, BOM"),
)


TOPIC_NAMES = (
    "exit-codes",
    "environment",
    "configuration",
    "output",
    "money",
    "states",
    "sandbox",
    "batch",
)


def overview() -> str:
    """The text of ``payctl --help``."""
    lines = [
        "Usage: payctl [GLOBAL OPTIONS] NOUN [VERB] [OPTIONS]",
        "",
        "  Take payments and keep their books. Alone, payctl shows what needs you today.",
        "",
        "  $ payctl demo                        a whole event's story, no set-up",
        "  $ payctl payments list --since 7d    this week's payments",
        "  $ payctl trace pay_...               where this customer's money is now",
    ]
    panel = ""
    for noun in NOUNS.values():
        if noun.panel != panel:
            panel = noun.panel
            lines += ["", f"{panel}:"]
        lines.append(f"  {noun.name:<12} {noun.summary}")
    lines += ["", "Global options, at any position:"]
    lines += [f"  {names:<21} {text}" for names, text in GLOBAL_OPTIONS]
    lines += ["", "'payctl NOUN --help' shows a noun's verbs, 'payctl commands' all of them."]
    lines += ["'payctl help TOPIC' explains one of:", f"  {', '.join(TOPIC_NAMES)}"]
    return "\n".join(lines)
