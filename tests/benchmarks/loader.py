"""Fills a book on PostgreSQL with a year of sales, past its triggers, as if they had been posted.

Posting five million entries one by one would take an hour. So journals, entries, keys and balances
are computed by the server in a few statements, with running balances and versions as the book would
have counted them: ``ledger check`` finds nothing. Only the content hash is a stand-in.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.ledger import accounts, partitions, store
from tests.benchmarks import sales

LEGS = 4
SPAN = timedelta(days=365)

#: One row per sale. The id is a UUIDv7 of its moment whose tail is the sale's number.
_SALES = """CREATE TEMP TABLE loaded_sale AS
SELECT n, at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008000'
    || lpad(to_hex(n), 12, '0'))::uuid AS id,
  'capture:loaded-' || n AS posting_key, amount, amount * 5 / 100 AS commission,
  amount * 5 / 100 * 20 / 100 AS vat, (n * 7919) % :organisers AS seller, n % :gateways AS gateway,
  (n % :stripes)::smallint AS stripe
FROM (SELECT n, date_trunc('milliseconds',
      CAST(:since AS timestamptz) + n * (CAST(:span AS interval) / :sales)) AS at,
    1000 + (n * 104729) % 19000 AS amount
  FROM generate_series(CAST(0 AS bigint), :sales - 1) AS n) AS numbered"""

_LEGS = """CREATE TEMP TABLE loaded_leg AS
SELECT s.id AS journal_id, x.leg::smallint AS leg, a.id AS account_id,
  CASE WHEN a.stripes = 1 THEN 0::smallint ELSE s.stripe END AS stripe, x.amount
FROM loaded_sale s CROSS JOIN LATERAL (VALUES
  (1, 'gateway ' || s.gateway, s.amount),
  (2, 'seller ' || s.seller, s.commission + s.vat - s.amount),
  (3, 'income', -s.commission), (4, 'vat', -s.vat)) AS x (leg, place, amount)
JOIN loaded_account l ON l.place = x.place JOIN account a ON a.id = l.id"""

_JOURNALS = """INSERT INTO journal (id, kind, posting_key, posted_at, effective_at, period, legs,
  payment_id, actor, meta, content_hash)
SELECT id, 'capture', posting_key, at, at, to_char(at AT TIME ZONE 'UTC', 'YYYYMM')::bigint, 4, id,
  'core', '{"gateway": "loaded"}', sha256(uuid_send(id)) FROM loaded_sale ORDER BY n"""

_KEYS = """INSERT INTO idempotency (scope, key, fingerprint, outcome, subject_id, created_at)
SELECT 'journal', posting_key, sha256(uuid_send(id)), 'posted', id, at
FROM loaded_sale ORDER BY n"""

_ENTRIES = """INSERT INTO entry (journal_id, leg, account_id, stripe, currency, amount_minor,
  balance_after_minor, version)
SELECT journal_id, leg, account_id, stripe, 'EUR', amount, sum(amount) OVER before,
  row_number() OVER before
FROM loaded_leg
WINDOW before AS (PARTITION BY account_id, stripe ORDER BY journal_id ROWS UNBOUNDED PRECEDING)
ORDER BY journal_id, leg"""

_BALANCES = """UPDATE balance b
SET posted_minor = s.amount * a.normal_side, version = s.entries
FROM (SELECT account_id, stripe, sum(amount) AS amount, count(*) AS entries FROM loaded_leg
  GROUP BY account_id, stripe) s JOIN account a ON a.id = s.account_id
WHERE b.account_id = s.account_id AND b.stripe = s.stripe"""


def load(db: Database, entries: int, until: datetime) -> None:
    """Put *entries* entries, four a sale, into an empty book whose accounts are open.

    The sales are spread evenly over the year before *until*; each month gets its partition.
    """
    parameters = {
        "sales": entries // LEGS, "since": until - SPAN, "span": SPAN,
        "organisers": sales.ORGANISERS, "gateways": len(sales.GATEWAYS),
        "stripes": store.STRIPES,
    }  # fmt: skip
    with db.transaction() as tx:
        partitions.ensure(tx, until - SPAN, months_ahead=12)
        for setting in ("work_mem = '256MB'", "session_replication_role = replica"):
            tx.execute(sa.text(f"SET LOCAL {setting}"))
        _name_accounts(tx)
        tx.execute(sa.text(_SALES), parameters)
        for statement in (_LEGS, _JOURNALS, _KEYS, _ENTRIES, _BALANCES):
            tx.execute(sa.text(statement))
        tx.execute(sa.text("DROP TABLE loaded_sale, loaded_leg, loaded_account"))


def months(until: datetime) -> list[int]:
    """The months (yyyymm) that :func:`load` puts sales into, oldest first."""
    first = until - SPAN
    start, end = first.year * 12 + first.month - 1, until.year * 12 + until.month - 1
    return [number // 12 * 100 + number % 12 + 1 for number in range(start, end + 1)]


def _name_accounts(tx: sa.Connection) -> None:
    """The accounts of the sales, by their place in a sale."""
    places = {"income": sales.INCOME, "vat": sales.VAT}
    places |= {f"gateway {n}": accounts.collect(each) for n, each in enumerate(sales.GATEWAYS)}
    for number in range(sales.ORGANISERS):
        places[f"seller {number}"] = accounts.wallet(sales.organiser(number), "pending")
    tx.execute(sa.text("CREATE TEMP TABLE loaded_account (place text PRIMARY KEY, id uuid)"))
    tx.execute(
        sa.text(
            "INSERT INTO loaded_account SELECT p.place, a.id FROM"
            " unnest(CAST(:places AS text[]), CAST(:codes AS text[])) AS p (place, code)"
            " JOIN account a ON a.code = p.code AND a.currency = 'EUR'"
        ),
        {"places": list(places), "codes": list(places.values())},
    )
