"""Importers as processes: killed, two at once, and with files of any length."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.payments import tables as t
from payctl.payments.checks import all_checks
from payctl.payments.import_files import open_source
from tests.payments.import_kit import Row, balances, row, write
from tests.payments.import_worker import run, services

pytestmark = pytest.mark.crash
ROOT = Path(__file__).parents[2]
#: Every seventh row is settled and every fifth is broken.
ROWS = 900


def file_of(path: Path, count: int) -> Path:
    def made(number: int) -> Row:
        return row(
            f"k{number}",
            amount="10" if number % 5 == 0 else f"{number % 90 + 1}.{number % 100:02d}",
            captured_at="2025-10-05T12:00:00Z",
            organiser=f"org-{number % 13}",
            settled="yes" if number % 7 == 0 else "no",
            fee="0.25",
        )

    return write(path, map(made, range(count)))


def worker(url: str, path: Path, how: str = "import") -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "tests.payments.import_worker", url, str(path), how]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> list[int]:
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    numbers: list[int] = json.loads(out)
    return numbers


def payments(db: Database) -> int:
    with db.read() as tx:
        return tx.scalar(sa.select(sa.func.count()).select_from(t.payment)) or 0


def sound(url: str, path: Path, count: int) -> None:
    """Everything of the file is in the book exactly once, and the book holds."""
    app = services(url, path.parent)
    good = [each for each in open_source(path).rows() if "." in each.cells["amount"]]
    minor = sum(int(each.cells["amount"].replace(".", "")) for each in good)
    assert len(good) == count == payments(app.db)
    found = balances(app)
    income = found["income:commission:ticket_sale", "EUR"]
    with app.db.read() as tx:
        c = t.payment.c
        query = sa.select(sa.func.sum(c.captured_minor), sa.func.sum(c.commission_minor))
        assert tuple(map(int, tx.execute(query).one())) == (minor, -income)
        failed = [v for check in all_checks() for v in check.run(tx)]
    assert failed == []
    assert found["expense:gateway_fee:cards", "EUR"] == 25 * count
    wallets = sum(amount for (code, _), amount in found.items() if code.startswith("wallet:"))
    held = sum(found[code, "EUR"] for code in ("gateway:cards:collect", "opening:migration"))
    assert wallets + held + income + found["vat:FR", "EUR"] + 25 * count == 0
    app.close()


def test_a_killed_import_is_completed_by_importing_again(db_url: str, tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.csv", ROWS)
    db = Database(db_url)
    process = worker(db_url, path)
    until = time.monotonic() + 100
    while payments(db) < 200:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = payments(db)
    assert 0 < left < ROWS * 4 // 5, "it was killed in the middle"
    assert not path.with_suffix(".rejects.csv").exists()
    app = services(db_url, tmp_path)
    recorded, already, refused = run(app, path)
    assert (already, recorded) == (left, ROWS * 4 // 5 - left)
    assert refused == ROWS // 5
    assert len(list(open_source(path.with_suffix(".rejects.csv")).rows())) == refused
    sound(db_url, path, ROWS * 4 // 5)
    assert app.check_ledger().ok
    app.close()
    db.dispose()


def test_two_importers_of_one_file_record_each_row_once(db_url: str, tmp_path: Path) -> None:
    path = file_of(tmp_path / "a.csv", ROWS)
    results = [ended(each) for each in [worker(db_url, path) for _ in range(2)]]
    recorded, already, refused, _ = map(sum, zip(*results, strict=True))
    assert recorded == already == ROWS * 4 // 5
    assert refused == 2 * ROWS // 5
    sound(db_url, path, ROWS * 4 // 5)
    assert len(list(open_source(path.with_suffix(".rejects.csv")).rows())) == ROWS // 5


def test_one_receipt_in_two_files_at_once_is_booked_once(db_url: str, tmp_path: Path) -> None:
    """Two keys for each of the provider's references: whoever comes second is refused."""
    made = [row(f"a{n}", captured_at="2025-10-05T12:00:00Z") for n in range(600)]
    other = [{**each, "key": f"b{each['key']}"} for each in reversed(made)]
    paths = [write(tmp_path / "a.csv", made), write(tmp_path / "b.csv", other)]
    results = [ended(each) for each in [worker(db_url, path) for path in paths]]
    assert [sum(each) for each in zip(*results, strict=True)][:3] == [600, 0, 600]
    app = services(db_url, tmp_path)
    assert len(balances(app)) == 4
    app.close()


@pytest.mark.parametrize("engine_name", ["sqlite"])
def test_memory_does_not_grow_with_the_file(db_url: str, tmp_path: Path) -> None:
    short, long = (
        ended(worker(db_url, file_of(tmp_path / f"{count}.csv", count), "unposted"))[-1]
        for count in (2_000, 20_000)
    )
    assert long < 1.15 * short
    whole = ended(worker(db_url, tmp_path / "out.csv", "export"))[-1]
    assert (tmp_path / "out.csv").read_bytes().count(b"\n") == 16_001
    assert whole < 1.15 * short
