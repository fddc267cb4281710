"""Payout floats: top-ups and their entries, alarms, and the watch that opens and closes cases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.errors import Conflict, Forbidden, InvalidInput, NotFound, NotSent
from payctl.gateways.base import BalanceLine
from payctl.ledger import accounts
from payctl.ledger.model import Draft, cr, dr
from payctl.payments.float_topups import TopUp, TopUpResult
from payctl.payments.float_watch import FloatLevel
from tests.payments.kit import APPROVER, EXPIRY, OPERATOR, Kit, make_kit

pytestmark = pytest.mark.integration
WATCH = Actor("job:float_watch", frozenset({"job.float"}), kind="job")
SUPPORT = Actor("abla", frozenset({"support"}))
FREE = 500_000
LARGE = 4_000_000


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(db, tmp_path)
    for gateway in made.gateways.values():
        gateway.capabilities = replace(gateway.capabilities, payouts=frozenset({"msisdn"}))
    yield made
    for gateway in made.gateways.values():
        gateway.close()


def ask(kit: Kit, amount_minor: int = FREE, key: str = "t-1", **other: Any) -> TopUpResult:
    values: dict[str, Any] = {
        "amount_minor": amount_minor, "currency": "XOF", "bank": "boa", "reason": "payday",
    }  # fmt: skip
    return kit.app.float_topups.request(OPERATOR, "momo", key=key, **(values | other))


def held(kit: Kit) -> tuple[int, int, int]:
    """Bank, transit and float of ``momo``."""
    return (
        kit.balance("bank:boa", "XOF"),
        kit.balance("transit:momo", "XOF"),
        kit.balance("gateway:momo:float", "XOF"),
    )


def approve(kit: Kit, topup: TopUp) -> None:
    assert topup.approval_id is not None
    kit.app.approvals.approve(APPROVER, topup.approval_id, "seen the transfer")
    asked = kit.app.approvals.get(topup.approval_id)
    kit.app.after_approval[asked.kind](APPROVER, asked)


# -- top-ups --------------------------------------------------------------------------------------


def test_money_leaves_the_bank_and_arrives(kit: Kit) -> None:
    sent = ask(kit)
    assert sent.topup.state == "sent" and held(kit) == (-FREE, FREE, 0)
    kit.check()
    done = kit.app.float_topups.arrived(OPERATOR, sent.topup.id, reference="BOA-77")
    assert done.topup.state == "arrived" and held(kit) == (-FREE, 0, FREE)
    assert (done.topup.arrived_minor, done.topup.reference) == (FREE, "BOA-77")
    kit.check()
    assert [each.id for each in kit.app.float_topups.list()] == [sent.topup.id]
    assert kit.app.float_topups.list(state="open") == []


def test_what_the_banks_between_keep_is_our_cost(kit: Kit) -> None:
    sent = ask(kit)
    kit.app.float_topups.arrived(OPERATOR, sent.topup.id, arrived_minor=FREE - 1500)
    assert held(kit) == (-FREE, 0, FREE - 1500)
    assert kit.balance("expense:bank_fee", "XOF") == 1500
    kit.check()


@pytest.mark.parametrize("came", [0, -1, FREE + 1])
def test_more_or_nothing_cannot_arrive(kit: Kit, came: int) -> None:
    sent = ask(kit)
    with pytest.raises(InvalidInput, match=r"float\.arrived_amount"):
        kit.app.float_topups.arrived(OPERATOR, sent.topup.id, arrived_minor=came)
    assert held(kit) == (-FREE, FREE, 0)


def test_the_same_key_acts_once(kit: Kit) -> None:
    first, again = ask(kit), ask(kit)
    assert again.replayed and again.topup == first.topup and again.journals == ()
    assert held(kit) == (-FREE, FREE, 0)
    with pytest.raises(Conflict, match=r"key\.reused"):
        ask(kit, FREE + 1)


def test_two_at_once_with_one_key_act_once(kit: Kit) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: ask(kit), range(4)))
    assert len({each.topup.id for each in made}) == 1
    assert sum(each.replayed for each in made) == 3
    assert held(kit) == (-FREE, FREE, 0)


def test_a_large_one_waits_for_a_second_person(kit: Kit) -> None:
    waiting = ask(kit, LARGE)
    assert waiting.topup.state == "awaiting_approval" and held(kit) == (0, 0, 0)
    assert ask(kit, LARGE).topup.approval_id == waiting.topup.approval_id
    approve(kit, waiting.topup)
    assert kit.app.float_topups.get(waiting.topup.id).state == "sent"
    assert held(kit) == (-LARGE, LARGE, 0)
    with pytest.raises(Conflict, match=r"float\.not_in_state"):
        kit.app.float_topups.approved(APPROVER, waiting.topup.id)
    kit.check()


def test_many_small_ones_add_up_to_one_that_waits(kit: Kit) -> None:
    states = [ask(kit, 3_300_000, f"t-{number}").topup.state for number in range(5)]
    assert states == ["sent"] * 4 + ["awaiting_approval"]


def test_a_no_or_silence_is_seen_on_the_top_up(kit: Kit) -> None:
    refused, forgotten = ask(kit, LARGE, "t-1"), ask(kit, LARGE, "t-2")
    assert refused.topup.approval_id is not None
    kit.app.approvals.reject(APPROVER, refused.topup.approval_id, "wrong bank")
    kit.clock.advance(timedelta(hours=73))
    kit.app.approvals.expire(EXPIRY)
    service = kit.app.float_topups
    assert service.get(refused.topup.id).state == "rejected"
    assert service.get(forgotten.topup.id).state == "expired"
    assert held(kit) == (0, 0, 0)


def test_taking_back_one_that_waits_or_was_sent(kit: Kit) -> None:
    waiting, sent = ask(kit, LARGE, "t-1"), ask(kit, FREE, "t-2")
    service = kit.app.float_topups
    assert service.cancel(OPERATOR, waiting.topup.id, reason="typo").topup.state == "canceled"
    with pytest.raises(Conflict, match=r"float\.not_in_state"):
        approve(kit, waiting.topup)
    back = service.cancel(OPERATOR, sent.topup.id, reason="bank sent it back")
    assert back.topup.state == "returned" and held(kit) == (0, 0, 0)
    for act in (
        lambda: service.cancel(OPERATOR, sent.topup.id, reason="again"),
        lambda: service.arrived(OPERATOR, sent.topup.id),
    ):
        with pytest.raises(Conflict, match=r"float\.not_in_state"):
            act()
    kit.check()


def test_arrived_and_taken_back_at_once_is_one_of_the_two(kit: Kit) -> None:
    sent = ask(kit).topup.id
    service = kit.app.float_topups

    def attempt(act: Any) -> str:
        try:
            return str(act().topup.state)
        except Conflict:
            return "refused"

    acts = [
        lambda: service.arrived(OPERATOR, sent),
        lambda: service.cancel(OPERATOR, sent, reason="x"),
    ] * 2
    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(attempt, acts))
    assert ends.count("refused") == 3
    assert service.get(sent).state in ends
    assert sum(map(abs, held(kit))) in (0, 2 * FREE)
    kit.check()


def test_a_rehearsal_shows_the_entries_and_changes_nothing(kit: Kit) -> None:
    shown = ask(kit, dry_run=True)
    assert [leg.amount_minor for leg in shown.journals[0].entries] == [FREE, -FREE]
    assert kit.app.float_topups.list() == [] and held(kit) == (0, 0, 0)
    assert not ask(kit).replayed, "a rehearsal leaves the key free"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"amount_minor": 0}, "amount.not_positive"),
        ({"currency": "TND"}, "float.currency"),
        ({"bank": "our bank"}, "ledger.unknown_account"),
        ({"reason": " "}, "reason.missing"),
        ({"key": ""}, "key.malformed"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_written(
    kit: Kit, change: dict[str, Any], code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask(kit, **change)
    assert refused.value.code == code and kit.app.float_topups.list() == []


def test_who_may_and_what_for(kit: Kit) -> None:
    service = kit.app.float_topups
    whole = {"amount_minor": FREE, "currency": "XOF", "bank": "boa", "reason": "x", "key": "k"}
    with pytest.raises(Forbidden):
        service.request(SUPPORT, "momo", **whole)  # type: ignore[arg-type]
    with pytest.raises(NotFound, match=r"gateway\.not_found"):
        service.request(OPERATOR, "nobody", **whole)  # type: ignore[arg-type]
    with pytest.raises(NotFound, match=r"float\.topup_not_found"):
        service.arrived(OPERATOR, UUID(int=1))
    gateway = kit.gateways["momo"]
    gateway.capabilities = replace(gateway.capabilities, payouts=frozenset())
    with pytest.raises(InvalidInput, match=r"float\.pays_nobody"):
        ask(kit)


def test_money_in_transit_that_no_top_up_explains_is_found(kit: Kit) -> None:
    from payctl.ledger.model import Draft, cr, dr

    with kit.app.db.transaction() as tx:
        legs = (dr("transit:momo", 5, "XOF"), cr("bank:boa", 5, "XOF"))
        kit.app.book.post(tx, Draft("stray", "stray", legs, "ama"))
    assert [each.name for each in kit.app.check_ledger().violations] == ["transit"]


# -- alarms and the watch -------------------------------------------------------------------------


def provider_holds(kit: Kit, *lines: BalanceLine) -> None:
    kit.gateways["momo"].balance = lambda: list(lines)  # type: ignore[method-assign]


def unreachable(kit: Kit) -> None:
    def balance() -> list[BalanceLine]:
        raise NotSent("gateway.unreachable", account="momo", why="down")

    kit.gateways["momo"].balance = balance  # type: ignore[method-assign]


def alarm(kit: Kit, below_minor: int | None = 100_000) -> None:
    kit.app.float_watch.set_alarm(
        OPERATOR, "momo", "XOF", below_minor=below_minor, reason="two days of payouts"
    )


def open_cases(kit: Kit) -> list[tuple[str, str | None, int | None]]:
    return [(each.kind, each.gateway, each.amount_minor) for each in kit.app.cases.list()]


def test_a_low_float_opens_one_case_and_a_filled_one_closes_it(kit: Kit) -> None:
    alarm(kit)
    provider_holds(kit, BalanceLine("XOF", 9_999_999), BalanceLine("XOF", 40_000, part="float"))
    first = kit.app.float_watch.watch(WATCH)
    assert (first.opened, first.closed, first.unreachable) == (1, 0, ())
    assert open_cases(kit) == [("low_float", "momo", 60_000)]
    kit.clock.advance(timedelta(minutes=15))
    assert kit.app.float_watch.watch(WATCH).opened == 0
    kit.clock.advance(timedelta(minutes=15))
    provider_holds(kit, BalanceLine("XOF", 100_000, part="float"))
    assert kit.app.float_watch.watch(WATCH).closed == 1
    assert open_cases(kit) == []
    kit.clock.advance(timedelta(minutes=15))
    provider_holds(kit, BalanceLine("XOF", 99_999, part="float"))
    assert kit.app.float_watch.watch(WATCH).opened == 1


def test_where_payouts_leave_from_what_was_collected_that_counts(kit: Kit) -> None:
    alarm(kit)
    provider_holds(kit, BalanceLine("XOF", 70_000, pending_minor=500_000))
    (level,) = kit.app.float_watch.watch(WATCH).levels
    assert (level.available_minor, level.missing_minor) == (70_000, 30_000)


def test_a_provider_that_does_not_answer_changes_nothing(kit: Kit) -> None:
    alarm(kit)
    provider_holds(kit, BalanceLine("XOF", 0, part="float"))
    kit.app.float_watch.watch(WATCH)
    unreachable(kit)
    kit.clock.advance(timedelta(minutes=15))
    seen = kit.app.float_watch.watch(WATCH)
    assert (seen.opened, seen.closed, seen.unreachable) == (0, 0, ("momo",))
    assert len(open_cases(kit)) == 1
    assert kit.app.float_watch.levels()[0].available_minor == 0, "the last that was told"


def test_a_lifted_alarm_closes_its_case_and_stays_in_the_history(kit: Kit) -> None:
    alarm(kit)
    provider_holds(kit, BalanceLine("XOF", 0, part="float"))
    kit.app.float_watch.watch(WATCH)
    alarm(kit, None)
    assert kit.app.float_watch.alarms() == [] and kit.app.float_watch.levels() == []
    assert kit.app.float_watch.watch(WATCH).closed == 1
    past = kit.app.float_watch.alarms("momo", history=True)
    assert [each.below_minor for each in past] == [None, 100_000]


def test_nothing_is_low_while_nothing_is_known(kit: Kit) -> None:
    alarm(kit)
    assert kit.app.float_watch.levels() == [FloatLevel("momo", "XOF", 100_000)]
    assert kit.app.float_watch.levels()[0].missing_minor == 0
    provider_holds(kit)
    assert kit.app.float_watch.watch(WATCH).opened == 0


def test_a_balance_that_is_told_no_more_is_forgotten(kit: Kit) -> None:
    alarm(kit)
    provider_holds(kit, BalanceLine("XOF", 5, part="float"), BalanceLine("EUR", 5))
    kit.app.float_watch.read()
    kit.clock.advance(timedelta(minutes=1))
    provider_holds(kit, BalanceLine("XOF", 7))
    kit.app.float_watch.read()
    assert kit.app.float_watch.levels()[0].available_minor == 7


def test_an_alarm_nobody_would_hear_is_refused(kit: Kit) -> None:
    gateway = kit.gateways["momo"]
    gateway.capabilities = replace(gateway.capabilities, balance=False)
    with pytest.raises(InvalidInput, match=r"float\.tells_no_balance"):
        alarm(kit)
    with pytest.raises(Forbidden):
        kit.app.float_watch.set_alarm(SUPPORT, "momo", "XOF", below_minor=1, reason="x")
    with pytest.raises(InvalidInput, match=r"amount\.not_positive"):
        kit.app.float_watch.set_alarm(OPERATOR, "cards", "XOF", below_minor=0, reason="x")


def test_both_parts_stand_beside_our_books(kit: Kit) -> None:
    sent = ask(kit)
    kit.app.float_topups.arrived(OPERATOR, sent.topup.id)
    provider_holds(
        kit, BalanceLine("XOF", 900, 100), BalanceLine("XOF", FREE - 7, part="float")
    )  # fmt: skip
    kit.gateways["cards"].balance = list  # type: ignore[method-assign]
    lines = kit.app.provider_balances().complete()
    assert [(each.part, each.theirs_minor, each.difference_minor) for each in lines] == [
        ("collect", 1000, 1000),
        ("float", FREE - 7, -7),
    ]
    unreachable(kit)
    with pytest.raises(NotSent):
        kit.app.provider_balances().complete()


def test_the_job_counts_what_it_saw(kit: Kit) -> None:
    import jobs

    alarm(kit)
    provider_holds(kit, BalanceLine("XOF", 0, part="float"))
    report = jobs.run(kit.app, "float_watch")
    assert report.counts == {"floats": 1, "low": 1, "opened": 1, "closed": 0, "unreachable": 0}
    unreachable(kit)
    kit.clock.advance(timedelta(minutes=15))
    assert jobs.run(kit.app, "float_watch").failed == 1


def test_a_slip_in_the_bank_s_name_opens_no_account(kit: Kit) -> None:
    ask(kit)  # the first of a book needs no word
    for bank, currency, code in (
        ("bao", "XOF", "float.bank_unknown"), ("boa", "EUR", "float.bank_currency"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput) as caught:
            ask(kit, key=f"x-{bank}", bank=bank, currency=currency)
        assert caught.value.code == code
        assert "boa" in str(caught.value.params["known"]) or currency == "EUR"
    assert ask(kit, key="t-1").replayed
    ask(kit, key="t-2", bank="ecobank", new_bank=True)
    ask(kit, key="t-3", bank="ecobank")
    assert kit.balance("bank:ecobank", "XOF") == -2 * FREE
    with pytest.raises(InvalidInput) as caught:
        ask(kit, key="t-4", bank="eco-bank")
    assert caught.value.params["known"] == "boa (XOF), ecobank (XOF)"
    assert kit.balance("bank:eco-bank", "XOF") == 0


def test_float_is_not_bought_with_another_currency_unseen(kit: Kit) -> None:
    legs = (dr(accounts.bank("eur"), 100_000, "EUR"), cr(accounts.bank("old"), 100_000, "EUR"))
    kit.app.db.run(lambda tx: kit.app.book.post(tx, Draft("opening", "o:1", legs, "ama")))
    with pytest.raises(InvalidInput) as caught:
        ask(kit, bank="eur")
    assert (caught.value.code, caught.value.params["held"], caught.value.params["known"]) == (
        "float.bank_currency", "EUR", "-",
    )  # fmt: skip
    assert held(kit) == (0, 0, 0)
