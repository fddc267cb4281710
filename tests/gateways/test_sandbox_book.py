"""The sandbox: its webhooks, its durability, and that its book always adds up."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payctl.clock import ManualClock
from payctl.gateways.base import (
    CaptureRequest,
    Outcome,
    Reference,
)
from payctl.gateways.sandbox import SandboxGateway
from payctl.gateways.sandbox_book import answer_from_json, answer_to_json
from tests.gateways.harnesses import START, sandbox
from tests.gateways.sandbox_calls import give_back, pay, taken

pytestmark = pytest.mark.gateways

# --- webhooks ----------------------------------------------------------------------------------


def types(gateway: SandboxGateway, *faults: str) -> list[str]:
    return [
        gateway.parse_event(body, headers).type
        for body, headers in gateway.deliveries(faults=faults)
    ]


def test_every_change_of_state_is_told_once(gateway: SandboxGateway, clock: ManualClock) -> None:
    pay(gateway, "a", "tok_3ds:10")
    clock.advance(timedelta(seconds=10))
    give_back(gateway, "a")
    assert types(gateway) == ["payment.requires_action", "payment.succeeded", "refund.succeeded"]
    assert types(gateway) == []


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("lost", []),
        ("double", ["payment.requires_action"] * 2 + ["payment.succeeded"] * 2),
        ("late:60", []),
        ("reorder", ["payment.succeeded", "payment.requires_action"]),
    ],
)
@pytest.mark.parametrize("how", ["word", "fault", "script"])
def test_webhooks_are_lost_doubled_late_and_reordered(
    gateway: SandboxGateway, clock: ManualClock, word: str, told: list[str], how: str
) -> None:
    if how == "script":
        gateway.add_script(f"hook {word}" + ("" if word == "reorder" else " x2"))
    pay(gateway, "a", "tok_3ds" + (f" tok_hook_{word}" if how == "word" else ""))
    gateway.customer_acts("att_a")
    if how == "word" and word == "reorder":
        told = told[::-1]  # both take their turn one later, so their order stays
    assert types(gateway, *([word] if how == "fault" else [])) == told
    clock.advance(timedelta(seconds=60))
    late = ["payment.requires_action", "payment.succeeded"] if word.startswith("late") else []
    assert types(gateway) == late


def test_a_receiver_that_dies_is_told_again(gateway: SandboxGateway) -> None:
    pay(gateway, "a")
    first = next(iter(gateway.deliveries()))  # taken, and then the receiver is gone
    assert [body for body, _ in gateway.deliveries()] == [first[0]]


def test_an_event_names_both_references(gateway: SandboxGateway, clock: ManualClock) -> None:
    answer = pay(gateway, "a")
    (body, headers) = next(iter(gateway.deliveries()))
    event = gateway.parse_event(body, headers, clock.now())
    assert event.reference == Reference(
        our_reference="att_a", provider_reference=answer.provider_reference
    )
    assert (event.object_kind, event.occurred_at) == ("payment", clock.now())


# --- durability --------------------------------------------------------------------------------

WORKER = """
import sys
from payctl.gateways.registry import build
from payctl.gateways.base import PaymentRequest
import os, signal
point, path = sys.argv[1:]
def probe(at):
    if at == point:
        os.kill(os.getpid(), signal.SIGKILL)
gateway = build("sandbox", "sb", {"book": path}, str, probe=probe)
gateway.create_payment(PaymentRequest("att_a", "key_a", 2500, "EUR", "card"))
"""


@pytest.mark.crash
@pytest.mark.parametrize(("point", "money"), [("send.before", 0), ("receive.after", 2500)])
def test_its_book_survives_kill_9_on_either_side_of_the_effect(
    tmp_path: Path, clock: ManualClock, point: str, money: int
) -> None:
    path = tmp_path / "sb.provider"
    done = subprocess.run([sys.executable, "-c", WORKER, point, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    gateway = sandbox(tmp_path, clock)
    assert taken(gateway) == money


def _pay_many(path: str, worker: int) -> None:
    clock = ManualClock(START)
    gateway = sandbox(Path(path), clock)
    for number in range(20):
        pay(gateway, f"{worker}_{number}", "")
        pay(gateway, f"shared_{number}", "")
    gateway.close()
    os._exit(0)


def test_processes_and_threads_share_one_book(tmp_path: Path, clock: ManualClock) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_pay_many, args=(str(tmp_path), n)) for n in range(3)]
    gateway = sandbox(tmp_path, clock)
    pay(gateway, "before_the_fork")
    for worker in workers:
        worker.start()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: pay(gateway, f"thread_{n}"), range(40)))
        same = list(pool.map(lambda _: pay(gateway, "one_key"), range(40)))
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert {answer.outcome for answer in answers} == {Outcome.SUCCEEDED}
    assert len({answer.provider_reference for answer in same}) == 1
    assert taken(gateway) == (1 + 3 * 20 + 20 + 40 + 1) * 2500
    gateway.close()


# --- properties --------------------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["pay", "refund", "capture", "cancel", "query", "wait", "hooks"]),
        st.integers(0, 3),
        st.sampled_from(
            ["tok_ok", "tok_late:40", "tok_lost_answer", "tok_pending:30", "tok_3ds:30",
             "tok_5xx_effect", "tok_refund_late:20", "tok_refund_fails_later:30",
             "tok_decline_duplicate", "tok_wrong_amount:700", "tok_capture_late:10"]
        ),
        st.integers(1, 3000),
        st.booleans(),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_the_provider_s_book_always_adds_up(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, str, int, bool]]
) -> None:
    clock = ManualClock(START)
    gateway = sandbox(tmp_path_factory.mktemp("sb"), clock, fee_ppm=29_000)
    for number, (act, which, token, amount, manual) in enumerate(steps):
        about = Reference(our_reference=f"att_{which}")
        if act == "pay":
            pay(gateway, str(which), token, manual_capture=manual)
        elif act == "refund":
            give_back(gateway, str(which), amount, nr=str(number % 4))
        elif act == "capture":
            key = f"cap_{number % 4}"
            gateway.capture_payment(CaptureRequest(about, key, key, amount, "EUR", manual))
        elif act == "cancel":
            gateway.cancel_payment(about, f"cancel_{number}")
        elif act == "query":
            gateway.query_payment(about)
        elif act == "wait":
            clock.advance(timedelta(seconds=amount % 60))
        else:
            list(gateway.deliveries())
    clock.advance(timedelta(days=30))
    payments = gateway.payments()
    totals = gateway.totals().get("EUR")
    assert sum(row["captured_minor"] for row in payments) == (
        totals.captured_minor if totals else 0
    )
    assert len({row["our_reference"] for row in payments}) == len(payments)
    for row in payments:
        assert row["captured_minor"] <= row["amount_minor"]
        assert row["state"] in ("succeeded", "declined", "canceled", "expired")
        assert (row["captured_minor"] > 0) == (row["state"] == "succeeded")
    if totals:
        assert 0 <= totals.refunded_minor <= totals.captured_minor
        assert gateway.balance()[0].available_minor == (
            totals.captured_minor - totals.refunded_minor - totals.fees_minor
        )
    gateway.close()


def test_answers_survive_being_kept(gateway: SandboxGateway) -> None:
    for number, token in enumerate(("tok_ok", "tok_3ds", "tok_429", "tok_decline_duplicate")):
        answer = replace(pay(gateway, str(number), token), exchange={})
        assert answer_from_json(answer_to_json(answer)) == answer


def test_latency_passes_by_the_clock(tmp_path: Path, clock: ManualClock) -> None:
    gateway = sandbox(tmp_path, clock, latency_ms=250)
    assert pay(gateway, "a").latency_ms == 250
    assert clock.now() == START + timedelta(milliseconds=250)
