"""What must hold at the end of every path, whatever was killed and however providers behaved.

Each answer is a sentence that begins with what went wrong: ``double``, ``lost``, ``stuck``,
``unseen``, ``books``, ``told``, ``where``, ``held`` or ``refused``.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from typing import Any

from payctl.cases.tables import case_record
from payctl.cli.money_lines import money_lines
from payctl.ids import decode
from payctl.insight.dossier import of_payment
from payctl.insight.whereabouts import Verdict
from payctl.ledger.check import run as run_checks
from payctl.ledger.reports import Reports
from payctl.ledger.sums import balance_of
from payctl.notifications.tables import notification
from payctl.payments import tables as t
from payctl.payments.checks import all_checks
from payctl.payments.model import LIVE_ATTEMPT_STATES, Operation, PaymentStatus, RefundState
from tests.crash.stories import RefundStory, Story, payments_of
from tests.crash.world import World
from tests.payments.kit import OPERATOR

_PAID_OUT = ("pending", "succeeded")
_LIVE = [str(state) for state in LIVE_ATTEMPT_STATES]


def seen(world: World, story: Story) -> list[str]:
    """Nothing doubled, nothing lost, nothing stuck that nobody has been told of."""
    return [
        *(f"refused: {refused}" for refused in world.refusals),
        *["held: a connection during a call to a provider"] * min(world.held_calls, 1),
        *_doubles(world, story),
        *_lost(world),
        *_stuck(world),
        *_checks(world),
        *_told(world),
        *_whereabouts(world),
    ]


def settled(world: World, *, worked: bool) -> list[str]:
    """Once operators have worked off their cases nothing is open and both sides agree."""
    open_ = (f"stuck: case {case['kind']} cannot be worked off" for case in open_cases(world))
    again = [*_checks(world), *_told(world), *_whereabouts(world), *open_] if worked else []
    return [*_totals(world), *again]


def open_cases(world: World) -> list[dict[str, Any]]:
    """Cases about this path's money that nobody has resolved."""
    return world.rows(
        case_record, case_record.c.state != "resolved", case_record.c.gateway.in_(world.accounts),
        case_record.c.kind != "config_error",
    )  # fmt: skip


def taken(world: World) -> list[tuple[str, dict[str, Any]]]:
    """Payments for which a provider holds or held money: account and row."""
    return [
        (account, row)
        for account, gateway in world.gateways.items()
        for row in gateway.payments()
        if row["captured_minor"]
    ]


def _doubles(world: World, story: Story) -> list[str]:
    found = []
    charged, given = taken(world), given_back(world)
    if len(charged) > 1 and not story.fate.twice:
        found.append(f"double: charged {len(charged)} times: {[a for a, _ in charged]}")
    sold = [each for each in payments_of(world) if each["captured_minor"]]
    if len(sold) > 1:
        found.append(f"double: {len(sold)} payments of one order count as sales, unseen")
    asked = story.amount if isinstance(story, RefundStory) else 0
    if given > asked and not story.fate.twice:
        found.append(f"double: {given} refunded of {asked} asked for")
    return found


def given_back(world: World) -> int:
    """What the providers have paid back to the customer, in minor units."""
    return sum(
        sum(each.refunded_minor for each in gateway.totals().values())
        + sum(each["amount_minor"] for each in gateway.payouts() if each["state"] in _PAID_OUT)
        for gateway in world.gateways.values()
    )


def doubled(world: World, story: Story) -> tuple[str, ...] | None:
    """``None`` where no provider acted twice, else how that is seen: the kinds of the open cases,
    and ``refund proposed`` where the money waits to go back.
    """
    asked = story.amount if isinstance(story, RefundStory) else 0
    if len(taken(world)) < 2 and given_back(world) <= asked:
        return None
    proposed = world.rows(t.refund, t.refund.c.state == "proposed")
    kinds = {case["kind"] for case in open_cases(world)}
    return (*sorted(kinds), *(["refund proposed"] if proposed else []))


def _lost(world: World) -> list[str]:
    """Money at the provider of which neither the books nor an open case know."""
    attempts = {each["our_reference"]: each for each in world.rows(t.attempt)}
    about = {str(case["detail"].get("attempt")) for case in open_cases(world)}
    cased = {decode(each, "attempt") for each in about if each != "None"}
    orphans = {case["detail"].get("our_reference") for case in open_cases(world)}
    found = []
    for account, row in taken(world):
        attempt = attempts.get(row["our_reference"])
        if attempt is None:
            if row["our_reference"] not in orphans:
                found.append(f"lost: {account} took {row['captured_minor']}, no attempt, no case")
            continue
        known = attempt["receipt"] or row["manual"]
        if not known and attempt["id"] not in cased:
            found.append(
                f"lost: {account} took {row['captured_minor']}, attempt {attempt['state']}"
            )
        if attempt["receipt"] == "unapplied" and not _given_back(world, attempt, cased):
            found.append(f"unseen: unapplied receipt of {account} without case and refund")
    return found


def _given_back(world: World, attempt: dict[str, Any], cased: set[Any]) -> bool:
    proposals = world.rows(t.refund, t.refund.c.receipt_attempt_id == attempt["id"])
    return attempt["id"] in cased and [each["state"] for each in proposals] == ["proposed"]


def _stuck(world: World) -> list[str]:
    """After the end of everything, what is still open has an open case."""
    cased = {case["subject_id"] for case in open_cases(world)}
    found = []
    attempts = [
        each
        for each in world.rows(t.attempt, t.attempt.c.state.in_(_LIVE))
        if each["gateway_account"] in world.accounts
    ]
    for each in attempts:
        if each["next_check_at"] is None:
            found.append(f"stuck: {each['operation']} {each['state']} is never looked at again")
        waiting = each["state"] == "authorized"
        if not waiting and not cased & {each["payment_id"], each["subject_id"]}:
            found.append(f"stuck: {each['operation']} {each['state']}, no case")
    for payment in payments_of(world):
        open_ = not PaymentStatus(payment["status"]).terminal
        if open_ and payment["id"] not in {each["payment_id"] for each in attempts}:
            found.append(f"stuck: payment {payment['status']} without a live attempt")
    live = {each["subject_id"] for each in attempts}
    for refund in world.rows(t.refund, t.refund.c.gateway_account.in_(world.accounts)):
        if not RefundState(refund["state"]).resting and refund["id"] not in live:
            found.append(f"stuck: refund {refund['state']} without a live attempt")
    return found


def _totals(world: World) -> list[str]:
    """What each provider holds for us, by its own book, against ours."""
    found = []
    with world.app.db.read() as tx:
        for account, gateway in world.gateways.items():
            code = f"gateway:{account}:collect"
            ours = Counter(
                {each.currency: each.own_minor
                 for each in Reports(UTC).accounts(tx, prefix=code) if each.code == code}
            )  # fmt: skip
            for currency, totals in gateway.totals().items():
                theirs = totals.captured_minor - totals.refunded_minor - totals.fees_minor
                if (mine := ours.pop(currency, 0)) != theirs:
                    found.append(f"books: {account} has {theirs} {currency}, we {mine}")
            found += [f"books: we have {n} {c} at {account}" for c, n in ours.items() if n]
            for currency in world.accounts[account].get("float", {}):
                mine = balance_of(tx, f"gateway:{account}:float", currency)
                if mine != (theirs := gateway.float_minor(currency)):
                    found.append(f"books: float of {account} is {theirs}, ours {mine}")
    return found


def _whereabouts(world: World) -> list[str]:
    """What ``trace`` prints names the account that holds the money, or would if it is there, and
    its last line is the answer.
    """
    charged: dict[str, set[str]] = {}
    attempts = {each["our_reference"]: each["payment_id"] for each in world.rows(t.attempt)}
    for account, row in taken(world):
        payment_id = attempts.get(row["our_reference"])
        charged.setdefault(str(payment_id), set()).add(f"gateway:{account}:collect")
    found = []
    with world.app.db.read() as tx:
        for payment in payments_of(world):
            where = of_payment(tx, payment["id"], whole=False).whereabouts()
            printed = money_lines(where, "en")
            holders = charged.get(str(payment["id"]), set())
            missing = {account for account in holders if account not in "\n".join(printed)}
            if missing:
                found.append(f"where: {payment['status']} is {where.verdict}, not at {missing}")
            if holders and not any(account in printed[-1] for account in where.accounts()):
                found.append(f"where: {payment['status']} ends in {printed[-1]!r}")
            if where.verdict is Verdict.HELD and str(payment["id"]) not in charged:
                found.append(f"where: {payment['status']} is held, yet no provider has any")
    return found


def _checks(world: World) -> list[str]:
    """``ledger check`` and the audit chain. Cover is left out: the provider's fee on a receipt that
    earned no commission is rightly not covered.
    """
    with world.app.db.read() as tx:
        report = run_checks(tx, all_checks())
    return [f"books: {each}" for each in report.violations if each.name != "cover"]


def _told(world: World) -> list[str]:
    """The last notification of each object tells its present state, numbered without a gap."""
    found = []
    objects = [("payment", each["id"], each["status"]) for each in payments_of(world)]
    objects += [
        ("refund", each["id"], each["state"])
        for each in world.rows(t.refund, t.refund.c.gateway_account.in_(world.accounts))
        if each["state"] != "proposed"
    ]
    for kind, id_, state in objects:
        sent = world.rows(notification, notification.c.object_id == id_)
        numbers = sorted(each["sequence"] for each in sent)
        last = max(sent, key=lambda each: each["sequence"], default={"type": "nothing"})
        if last["type"] != f"{kind}.{state}" or numbers != list(range(1, len(sent) + 1)):
            found.append(f"told: {kind} is {state}, told {last['type']}, {len(sent)} in all")
    return found


# -- the operators' part ---------------------------------------------------------------------------


def work_off(world: World) -> bool:
    """Operators do what the open cases ask for, with what the provider's own book says; whether
    there was anything to do.
    """
    cases, worked = open_cases(world), False
    for case in cases:
        if case["kind"] == "unknown_outcome":
            attempt_id = decode(case["detail"]["attempt"], "attempt")
            [attempt] = world.rows(t.attempt, t.attempt.c.id == attempt_id)
            done = _happened(world, attempt)
            world.resolve(case["id"], "succeeded" if done else "failed", "asked by telephone")
        if case["kind"] in ("refunded_twice", "refund_paid_late"):
            world.resolve(case["id"], "handled", "the customer has paid it back")
    for refund in world.rows(t.refund, t.refund.c.state.in_(["proposed", "reversed"])):
        if refund["gateway_account"] not in world.accounts:
            continue
        worked = True
        if refund["state"] == "proposed":
            world.app.refunds.send(OPERATOR, refund["id"])
        else:
            world.app.refunds.retry(OPERATOR, refund["id"], reason="came back")
    return worked or bool(cases)


def _happened(world: World, attempt: dict[str, Any]) -> bool:
    """Whether the provider's own book says that it did what the attempt asked for."""
    gateway = world.gateways[attempt["gateway_account"]]
    [payment] = world.rows(t.payment, t.payment.c.id == attempt["payment_id"])
    if attempt["operation"] == Operation.PAYOUT:
        made = [x for x in gateway.payouts() if x["our_reference"] == attempt["our_reference"]]
        return any(each["state"] in _PAID_OUT for each in made)
    if attempt["operation"] == Operation.REFUND:
        return any(each.refunded_minor for each in gateway.totals().values())
    [about] = world.rows(t.attempt, t.attempt.c.operation == "collect",
                         t.attempt.c.id.in_([attempt["id"], payment["attempt_id"]]))  # fmt: skip
    rows = [x for x in gateway.payments() if x["our_reference"] == about["our_reference"]]
    if attempt["operation"] == Operation.VOID:
        return any(row["state"] == "canceled" for row in rows)
    return any(row["captured_minor"] > payment["captured_minor"] for row in rows)
