"""The benchmarks' own arithmetic: a wrong median would be believed for years."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from itertools import count
from random import Random
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.ledger.accounts import find_line
from tests.benchmarks import machine, sales
from tests.benchmarks.__main__ import BENCHMARKS, main
from tests.benchmarks.conversation import talk
from tests.benchmarks.figures import Condition, Result, figure, median_ratio, percentile
from tests.benchmarks.table import render
from tests.benchmarks.workers import Run, _repeat, _run, _Sample

pytestmark = pytest.mark.unit

POSITIVE = st.floats(0.001, 1e6)


def test_a_ratio_is_the_median_of_each_rounds_own() -> None:
    ratio = median_ratio([10, 30, 8], [20, 30, 2])
    assert (ratio.median, ratio.low, ratio.high, ratio.rounds) == (1.0, 0.5, 4.0, 3)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1), st.floats(0.1, 10))
def test_a_machine_that_slows_down_for_both_changes_no_ratio(
    pairs: list[tuple[float, float]], slower: float
) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    plain = median_ratio(ours, theirs)
    slowed = median_ratio([a * slower for a in ours], [b * slower for b in theirs])
    assert slowed.median == pytest.approx(plain.median)
    assert plain.low <= plain.median <= plain.high


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], []), ([1.0], [1.0, 2.0])])
def test_rounds_without_their_reference_have_no_ratio(
    ours: list[float], theirs: list[float]
) -> None:
    with pytest.raises(ValueError, match=r"no rounds|zip"):
        median_ratio(ours, theirs)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_percentiles_of_a_hundred(share: float, expected: int) -> None:
    assert percentile(Random(1).sample(range(1, 101), 100), share) == expected


@given(st.lists(POSITIVE, min_size=1), st.floats(0, 1))
def test_a_percentile_is_the_least_value_that_covers_its_share(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)
    below = [value for value in values if value < found]
    assert len(below) < share * len(values) or not below


@given(st.lists(POSITIVE, min_size=1))
def test_the_middle_percentile_lies_at_the_median(values: list[float]) -> None:
    assert percentile(values, 0.5) == statistics.median_low(values)


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("value", "sign", "met"),
    [(0.6, ">=", True), (0.59, ">=", False), (0.6, "<=", True), (0.61, "<=", False),
     (0.6, ">", False), (0.61, ">", True)],
)  # fmt: skip
def test_a_goal_is_met_at_its_bound_and_not_beyond(value: float, sign: str, met: bool) -> None:
    condition = Condition("ratio", value, sign, 0.6)  # type: ignore[arg-type]
    assert condition.met is met
    assert Result("1", "x", conditions=(condition,)).verdict == ("yes" if met else "no")


def test_a_condition_reads_as_the_goal_is_written() -> None:
    assert str(Condition("ratio", 1, ">=", 0.60)) == "ratio >= 0.6"
    assert str(Condition("p99", 1, "<=", 150, "ms")) == "p99 <= 150 ms"
    assert str(Condition("rate", 1, ">", 1_000, "/s")) == "rate > 1 000/s"


def test_a_goal_of_two_conditions_needs_both() -> None:
    good, bad = Condition("ratio", 1, ">=", 1), Condition("p99", 200, "<=", 150, "ms")
    assert Result("3", "x", conditions=(good, good)).verdict == "yes"
    assert Result("3", "x", conditions=(good, bad)).verdict == "no"
    assert Result("3", "x").verdict == "-"
    assert Result("3", "x", conditions=(good,), reason="no option").verdict == "not measured"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.6, "0.6"), (0.59999, "0.6"), (0.0278, "0.0278"), (1.234, "1.23"), (25, "25"),
     (128.4, "128"), (3912.2, "3 912"), (1_234_567, "1 234 567"), (9.996, "10")],
)  # fmt: skip
def test_figures_have_three_digits_and_thousands_apart(value: float, text: str) -> None:
    assert figure(value) == text


def test_the_table() -> None:
    p99 = Condition("p99", 200, "<=", 150, "ms")
    ratio = median_ratio([3.5, 3.0, 2.5], [1, 1, 1])
    lines = render(
        [
            Result("3", "a | b", "TPC-B 4 000/s", "12 000/s", ratio, (p99,), "80 + 90", 1.25),
            Result("4b", "the door", reason="not there yet"),
        ]
    ).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == [
        "#", "what", "reference", "measured", "ratio (lowest-highest, n)", "goal", "met",
        "µs ours + server", "load",
    ]  # fmt: skip
    assert cells[2] == [
        "3", "a / b", "TPC-B 4 000/s", "12 000/s", "3 (2.5-3.5, n=3)", "p99 <= 150 ms", "no",
        "80 + 90", "1.2",
    ]  # fmt: skip
    assert cells[3] == ["4b", "the door", "-", "not there yet", "-", "-", "not measured", "-", "-"]


def test_workers_rates_are_added_and_their_times_are_put_together() -> None:
    samples = [_Sample(100, 2.0, 0.5, [0.010] * 99), _Sample(50, 1.0, 0.1, [0.020])]
    run = _run(samples, 0.3)
    assert run.rate == 100
    assert (run.p50_ms, run.p99_ms) == (10, 10)
    assert run.client_us == pytest.approx(4_000)
    assert run.server_us == pytest.approx(2_000)
    assert isinstance(run, Run)


def test_a_worker_counts_payments_not_steps() -> None:
    steps = count()

    def step() -> int:
        next(steps)
        return 50

    sample = _repeat(step, 0.02)
    assert sample.payments == 50 * len(sample.latencies_s) == 50 * next(steps)
    assert sample.wall_s >= 0.02
    assert sum(sample.latencies_s) == pytest.approx(sample.wall_s)


def test_processor_time_counts_children_that_live_and_those_that_ended() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass\n"
    before = machine.tree_cpu_s(os.getpid())
    subprocess.run([sys.executable, "-c", burn], check=True)
    ended = machine.tree_cpu_s(os.getpid())
    assert ended - before >= 0.15
    child = subprocess.Popen(
        [sys.executable, "-c", burn + "print('.', flush=True)\ninput()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    assert machine.tree_cpu_s(os.getpid()) - ended >= 0.15
    child.communicate(b"\n")


ECHO = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["key"] == "bad":
        print("no such card", file=sys.stderr, flush=True)
    status = "failed" if asked["key"] == "bad" else "succeeded"
    answer = {"key": asked["key"], "payment": {"status": status}}
    print(json.dumps(answer), flush=True)
"""


def test_a_command_is_kept_busy_and_each_answer_is_timed() -> None:
    requests = ({"key": f"k{number}"} for number in count())
    done = talk([sys.executable, "-c", ECHO], {}, requests, 4, 0.1, Barrier(1))
    assert done.answers > 4
    assert 0 < len(done.latencies_s) <= done.answers
    assert max(done.latencies_s) <= done.wall_s


def test_a_payment_that_a_command_does_not_take_ends_the_measurement() -> None:
    requests = iter([{"key": "k1"}, {"key": "bad"}, *({"key": f"k{n}"} for n in range(2, 99))])
    with pytest.raises(RuntimeError, match=r"(?s)not taken.*no such card"):
        talk([sys.executable, "-c", ECHO], {}, requests, 2, 1, Barrier(1))


def test_a_command_that_ends_ends_the_measurement() -> None:
    started = time.monotonic()
    with pytest.raises(RuntimeError, match=r"ended|Broken pipe"):
        talk([sys.executable, "-c", "pass"], {}, iter([{"key": "k"}] * 9), 2, 5, Barrier(1))
    assert time.monotonic() - started < 4


@given(st.integers(0, sales.ORGANISERS - 1), st.integers(1_000, 20_000))
def test_the_sales_balance_on_accounts_of_the_chart(number: int, amount_minor: int) -> None:
    legs = sales.capture_legs(sales.organiser(number), sales.GATEWAYS[0], amount_minor)
    assert sum(leg.amount_minor for leg in legs) == 0
    assert all(leg.amount_minor for leg in legs)
    assert all(find_line(leg.account) for leg in legs)


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--only", "nonsense"])
    assert end.value.code == 2
    shown = capsys.readouterr().err
    assert all(name in shown for name in BENCHMARKS)
