"""Real processes, really killed: afterwards the providers' books and ours are the same."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from payctl.clock import ManualClock
from payctl.payments import tables as t
from payctl.payments.checks import all_checks
from payctl.payments.model import LIVE_ATTEMPT_STATES
from tests.crash.worker import services
from tests.payments.kit import JANITOR, OPERATOR, Kit

pytestmark = pytest.mark.crash
ROOT = Path(__file__).parents[2]
KILLS = 6


def test_killed_workers_lose_and_double_nothing(db_url: str, tmp_path: Path) -> None:
    dice, kills, started = Random(7), 0, 0
    running: dict[int, subprocess.Popen[bytes]] = {}
    ends: dict[int, float] = {}
    while kills < KILLS:
        while len(running) < 2 and started < KILLS:
            started += 1
            words = [sys.executable, "-m", "tests.crash.worker", db_url, str(tmp_path)]
            running[started] = subprocess.Popen(
                [*words, str(started)], cwd=ROOT, stderr=subprocess.DEVNULL
            )
        for seed, process in list(running.items()):
            if seed not in ends and (tmp_path / f"{seed}.works").exists():
                ends[seed] = time.monotonic() + dice.uniform(0.2, 1.2)
            if time.monotonic() >= ends.get(seed, float("inf")):
                process.send_signal(signal.SIGKILL)
                assert process.wait() == -signal.SIGKILL, "it had ended by itself"
                del running[seed]
                kills += 1
        time.sleep(0.01)
    app = services(db_url, tmp_path, clock=ManualClock(datetime.now(UTC) + timedelta(hours=1)))
    live = [str(state) for state in LIVE_ATTEMPT_STATES]
    for _ in range(40):
        for account, gateway in app.gateways.items():
            for body, headers in gateway.deliveries():  # type: ignore[attr-defined]
                app.inbox.receive(account, body, headers)
        app.inbox.apply(JANITOR)
        app.sync.run(JANITOR)
        app.db.clock.sleep(120)
        with app.db.read() as tx:
            open_ = tx.scalar(sa.select(sa.func.count()).where(t.attempt.c.state.in_(live)))
        if not open_:
            break
    assert open_ == 0
    with app.db.read() as tx:
        paid = tx.scalar(sa.select(sa.func.count()).where(t.payment.c.captured_minor > 0))
        failed = [v for check in all_checks() for v in check.run(tx)]
    print(f"\n{kills} kills, {paid} payments captured")
    assert paid
    assert failed == []
    assert [line for line in app.provider_balances().complete() if line.difference_minor] == []
    assert not app.cases.list(kind="orphan") and not app.cases.list(kind="duplicate_receipt")
    assert app.check_ledger().ok
    app.close()


def test_a_hundred_submissions_of_one_key_are_one_payment(db_url: str, tmp_path: Path) -> None:
    app = services(db_url, tmp_path, pool_size=20)
    wanted = Kit(app, {}, None).input(order="o-1", preferred=())  # type: ignore[arg-type]
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(lambda _: app.payments.process(OPERATOR, wanted), range(100)))
    assert all(result.payment == results[0].payment for result in results)
    assert len({result.payment.id for result in results}) == 1
    assert sum(not result.replayed for result in results) == 1
    sent = [row for gateway in app.gateways.values() for row in gateway.payments()]  # type: ignore[attr-defined]
    assert len(sent) == len(results[0].attempts)
    app.close()
