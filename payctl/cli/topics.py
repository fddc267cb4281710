"""The topics of ``payctl help``; whatever is data elsewhere is read from there, not repeated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from textwrap import fill

from payctl import settings
from payctl.config_layers import FILE_NAME, SYSTEM_FILE
from payctl.config_sources import FORMER_GATEWAYS
from payctl.errors import ExitCode

EXIT_CODES: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.BUG: "a bug in payctl; the message names the entry of the log",
    ExitCode.USAGE: "the command line cannot be accepted; nothing was done",
    ExitCode.NOT_FOUND: "there is no such thing in this book",
    ExitCode.CONFIG: "credentials, configuration or rights",
    ExitCode.CONFLICT: "wrong state, or a key reused with another body",
    ExitCode.DECLINED: "declined or refused for good",
    ExitCode.NOT_SENT: "nothing was sent: safe to repeat",
    ExitCode.OPEN: "sent, the outcome is pending or unknown: repeat with the same key or run"
    " 'payctl payments sync', never start anew",
    ExitCode.CHECK_FAILED: "a check failed: breaks found, trial balance off, doctor unhappy",
    ExitCode.APPROVAL: "waits for a second person: 'payctl approvals list'",
    ExitCode.LOCKED: "another run holds the lock",
    ExitCode.INTERRUPTED: "interrupted, or not confirmed",
}


def _exit_codes() -> str:
    rows = _rows((str(int(code)), meaning) for code, meaning in EXIT_CODES.items())
    return _page(
        "Exit codes",
        rows,
        "7 and 8 are the two to tell apart in a script: after 7 nothing has left this machine,"
        " after 8 money may have moved.",
        "A command for many items exits with the code of the worst one; its JSON has the counts.",
    )


def _environment() -> str:
    rows = [(name, text) for name, text in settings.CALL_VARIABLES.items()]
    rows += [(setting.env, setting.summary) for setting in settings.SETTINGS]
    rows += [
        (f"{settings.GATEWAY_PREFIX}ACCOUNT__KEY", "a setting of a gateway account"),
        (f"{settings.CONFIRM_PREFIX}CUR", "amount in minor units above which it must be typed"),
    ]
    shared = [
        ("NO_COLOR, FORCE_COLOR", "no colours; colours even when piped"),
        ("LANG, LC_ALL", "language of sentences (fr or en)"),
        ("XDG_CONFIG_HOME", "where the user's configuration is looked for"),
        ("XDG_DATA_HOME", "where the embedded book lives"),
        ("XDG_STATE_HOME", "where the log lives"),
    ]
    former = [(s.former, f"is {s.key}") for s in settings.SETTINGS if s.former]
    former.append(("DB_HOST, DB_PORT, DB_NAME, DB_USER", "make up database.url"))
    former += [
        (variable, f"is gateways.{family}.{key}")
        for family, variables in FORMER_GATEWAYS.items()
        for key, variable in variables.items()
    ]
    former += [(name, f"is ignored: {why}") for name, why in settings.IGNORED.items()]
    return _page(
        "Environment",
        _rows(rows),
        "Shared with other programs:",
        _rows(shared),
        "The former service's variables, honoured where no file sets the same thing:",
        _rows((str(name), text) for name, text in former),
    )


def _configuration() -> str:
    rows = [
        (s.key, s.summary + (f" (default {_default(s.default)})" if s.default is not None else ""))
        for s in settings.SETTINGS
    ]
    rows += [
        ("confirm_above.CUR", "amount in minor units above which a live change must be typed"),
        ("gateways.ACCOUNT.type", "which gateway the account belongs to"),
        ("gateways.ACCOUNT.KEY", "its settings: 'payctl gateways show ACCOUNT'"),
    ]
    example = "\n".join(
        [
            "  [profiles.default]",
            '  database.url = "postgresql://payctl@db.example.com/tickets"',
            '  database.password = "file:/etc/payctl/db-password"',
            '  book = "ci"',
            '  timezone = "Africa/Abidjan"',
            "",
            "  [profiles.default.gateways.stripe]",
            '  type = "stripe"',
            '  secret_key = "env:STRIPE_SECRET_KEY"',
            '  webhook_secrets = ["cmd:pass show stripe/webhook"]',
        ]
    )
    return _page(
        "Configuration",
        f"Read from --config FILE alone, else from ./{FILE_NAME}, the user's"
        f" ~/.config/payctl/{FILE_NAME} and {SYSTEM_FILE}. Precedence: flags, environment, files in"
        " that order, the former service's variables, defaults. With nothing at all there is a"
        " SQLite book of your own and sandbox gateways.",
        example,
        "A secret is a reference: env:NAME, file:/path (mode 0600) or cmd:PROGRAM. A secret in"
        " clear is refused. 'payctl config show --origin' tells what is in force and why.",
        _rows(rows),
    )


def _output() -> str:
    return _page(
        "Output",
        _rows(
            [
                ("table", "for people; the default on a terminal"),
                ("plain", "tab-separated lines without heading; the default when piped"),
                ("json", 'one document; a list is {"schema", "items", "next"}'),
                ("jsonl", "one JSON object a line, streamed"),
                ("csv", "with heading; --csv-dialect fr: semicolons, decimal comma, BOM"),
            ]
        ),
        "Data goes to stdout, everything else to stderr. -q prints ids only, one a line.",
        "plain and csv write an amount as a decimal and its currency in the next column. JSON"
        ' writes "amount_minor" and "currency" side by side. Times are RFC 3339 in UTC; in a table'
        " they are in the zone of --tz. In csv a text that a spreadsheet would take for a formula"
        " gets an apostrophe in front.",
        "A tab, line break or backslash inside a plain cell is written \\t, \\n, \\\\.",
        'An error with -o json is {"success": false, "error", "message", "details", "code",'
        ' "exit_code", "money", "next"} on stderr. Schemas only grow within a version: /1 never'
        " loses a key.",
    )


def _money() -> str:
    return _page(
        "Money",
        "People write an amount with exactly the currency's decimals: --amount 25.00 for EUR,"
        " 15000 for XOF, 1.250 for TND. A bare 2500 for EUR is refused with both readings.",
        "Machines write --amount-minor 2500. JSON always carries amount_minor and currency.",
        "Amounts are integers of minor units everywhere; totals are per currency and never added"
        " across.",
        "A live profile shows itself before every change and asks; above a limit (confirm_above)"
        ' the amount must be typed, or given as --confirm "150000 XOF". --dry-run shows the debits'
        " and credits a change would post, and changes nothing.",
        "--key makes a line act once: the same line with the same key gives the same answer.",
    )


PAYMENT_STATES: dict[str, str] = {
    "created": "written down, nothing sent yet",
    "processing": "a request is on its way",
    "requires_action": "the customer must act: next_action says how",
    "pending": "the provider accepted it, or the customer approved it; the result comes later",
    "unknown": "sent, and nobody answered: money may have moved; it is being asked after",
    "authorized": "the money is reserved, 'payctl payments capture' takes it",
    "succeeded": "the money is ours and in the ledger",
    "failed": "ended without money",
    "expired": "ended by time without money",
    "canceled": "ended by us without money",
}
REFUND_STATES: dict[str, str] = {
    "proposed": "payctl suggests it (a receipt nobody ordered); a person decides",
    "awaiting_approval": "waits for a second person",
    "approved": "may be sent; waits for its gateway, or for float where it goes as a payout",
    "rejected": "a second person said no",
    "sending": "a request is on its way",
    "pending": "the provider accepted it, the result comes later",
    "unknown": "sent, and nobody answered; it is being asked after",
    "succeeded": "the customer has the money, as the provider says",
    "failed": "no money left us",
    "reversed": "the provider gave the money back to us after it had succeeded",
}


def _states() -> str:
    from payctl.payments.model import LEGACY_STATUS, PaymentStatus

    rows = [
        (name, f"{text} [formerly: {LEGACY_STATUS[PaymentStatus(name)]}]")
        for name, text in PAYMENT_STATES.items()
    ]
    return _page(
        "States",
        "Payments:",
        _rows(rows),
        "A succeeded payment that was wholly refunded has the former status refunded.",
        "Refunds:",
        _rows(REFUND_STATES.items()),
    )


def _sandbox() -> str:
    """The table of the sandbox's own docstring, so that it is written down once."""
    from payctl.gateways import sandbox

    text = sandbox.__doc__ or ""
    rule = next(line for line in text.splitlines() if line.startswith("==="))
    _before, table, after = text.split(rule)
    column = rule.index(" ")
    rows = [(_plain(line[:column]), _plain(line[column:])) for line in table.splitlines() if line]
    return _page(
        "Sandbox gateways",
        "Scripted providers of payctl's own: no network, no money. A payment says how it goes by"
        " words in its --payment-token, --email or --description, written tok_WORD or"
        " tok_VERB_WORD, joined by anything:",
        _rows(rows),
        _plain(" ".join(after.split())),
    )


def _plain(text: str) -> str:
    """A docstring's text without its markup."""
    return re.sub(r":meth:|`|(?<=[ (])\*|\*(?=[ ,.])", "", text).strip()


def _batch() -> str:
    doors = [
        ("payments process", "key, amount_minor, currency, method, organiser; optional: order,"
         " event, user, email, phone, country, description, metadata, preferred, sale_type,"
         " capture, payment_token, lines, return_url, cancel_url, expires_in_s"),
        ("payments status", "payment; optional: key"),
        ("refunds create", "key, payment, reason, and amount_minor or full; optional:"
         " keep_commission"),
    ]  # fmt: skip
    return _page(
        "The batch doors",
        "With --batch FILE (- is the standard input) these commands stay and answer: a JSON object"
        " a line comes in, a JSON object a line goes out, in any order.",
        _rows(doors),
        "An answer has schema payctl.answer/1, the key of its request, the number of its line,"
        " success, exit_code, and either the payment or refund or the one shape of an error. It is"
        " durable when it is printed. A line that is wrong is answered like any other and stops"
        " nothing.",
        "Reading waits while four times --workers requests are on their way. At the end of the"
        " input, on SIGTERM and on Ctrl-C what was read is finished and answered first. Whoever was"
        " not answered sends the same line again: the same key acts once.",
        '  echo \'{"key":"k1","amount_minor":2500,"currency":"EUR","method":"card",\'\\\n'
        '       \'"organiser":"org-1"}\' | payctl payments process --batch - --yes',
    )


TOPICS: dict[str, Callable[[], str]] = {
    "exit-codes": _exit_codes,
    "environment": _environment,
    "configuration": _configuration,
    "output": _output,
    "money": _money,
    "states": _states,
    "sandbox": _sandbox,
    "batch": _batch,
}


def _page(title: str, *parts: str) -> str:
    wrapped = [
        part if part.startswith("  ") else fill(part, 80, break_on_hyphens=False) for part in parts
    ]
    return "\n\n".join([f"{title}\n{'=' * len(title)}", *wrapped])


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    rows = list(rows)
    width = min(max(len(name) for name, _ in rows), 26)
    lines = []
    for name, text in rows:
        indent = " " * (width + 4)
        body = fill(
            text,
            80,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,
        )
        # A long name has a line of its own, so that the texts stay in one column.
        lines.append(
            f"  {name:<{width}}{body[width + 2 :]}" if len(name) <= width else f"  {name}\n{body}"
        )
    return "\n".join(lines)


def _default(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
