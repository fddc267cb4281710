"""Goal 2: pgledger posting the same payment, as another ledger inside PostgreSQL does it.

Its source is no part of payctl and nothing is downloaded here: ``PAYCTL_PGLEDGER`` names the file
``pgledger.sql`` of a copy (github.com/pgr0ss/pgledger). The function that it needs for its ids is
replaced by a cast, which is quicker than the original.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psycopg

from tests.benchmarks import posting, sales, throughput
from tests.benchmarks.bench import PROCESSES, Bench, cpu, per_second, rate_ratio, with_p99
from tests.benchmarks.figures import Condition, Result
from tests.benchmarks.machine import load
from tests.benchmarks.server import plain
from tests.benchmarks.workers import Run, Step

SOURCE = "PAYCTL_PGLEDGER"
_WHAT = "goal 1 against pgledger posting the same payment; {} processes"
_ID = "CREATE FUNCTION uuid_to_ulid(uuid) RETURNS text IMMUTABLE LANGUAGE sql RETURN $1::text"
_OPEN = (
    "SELECT count(*) FROM unnest(%s::text[]) name,"
    " LATERAL pgledger_create_account(name, 'EUR', true, true)"
)
_POST = "SELECT id FROM pgledger_create_transfers(%s::transfer_request[], now(), %s::jsonb)"


def payments(bench: Bench) -> Iterator[Result]:
    """Goal 2, when there is a copy of pgledger."""
    what, source = _WHAT.format(PROCESSES), os.environ.get(SOURCE)
    if source is None:
        yield Result("2", what, reason=f"{SOURCE} names no copy of pgledger's source")
        return
    url, theirs_url = bench.server.new_book("beside"), _fill(bench, Path(source))

    def ours(number: int) -> Run:
        ready = round(throughput.READY_PER_S * bench.seconds)
        return bench.post(posting.captured, url, f"beside{number}", ready)

    def theirs(number: int) -> Run:
        return bench.post(transfers, theirs_url, f"pgledger{number}")

    reference, measured = bench.in_turn("2: pgledger", theirs, ours)
    ratio = rate_ratio(measured, reference)
    yield Result(
        "2", what, f"pgledger {per_second(reference)}", with_p99(measured), ratio,
        (Condition("ratio", ratio.median, ">=", 4.0),), cpu(measured), load(),
    )  # fmt: skip


def transfers(number: int, url: str, run: str) -> Step:
    """One payment a commit: the three transfers that say what our four entries say."""
    connection = psycopg.connect(plain(url), autocommit=True, prepare_threshold=0)
    named = connection.execute("SELECT name, id FROM pgledger_accounts")
    ids, dice = dict(named.fetchall()), Random(f"{run}-{number}")

    def step() -> int:
        amount = sales.some_amount(dice)
        gateway = ids[dice.choice(sales.GATEWAYS)]
        to = (ids[sales.some_organiser(dice)], ids["commission"], ids["vat"])
        moved = zip(to, sales.parts(amount), strict=True)
        wanted = ",".join(f'"({gateway},{account},{minor})"' for account, minor in moved)
        meta = f'{{"key": "k{dice.getrandbits(80):x}", "gateway": "{gateway}"}}'
        connection.execute(_POST, ["{" + wanted + "}", meta])
        return 1

    return step


def _fill(bench: Bench, source: Path) -> str:
    url = bench.server.empty("pgledger")
    wallets = [sales.organiser(number) for number in range(sales.ORGANISERS)]
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(_ID)
        connection.execute(source.read_bytes())
        connection.execute(_OPEN, [["commission", "vat", *sales.GATEWAYS, *wallets]])
    bench.server.settle(url)
    return url
