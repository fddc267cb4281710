"""The database function that posts: one call for one journal or for many.

PostgreSQL only; SQLite has no functions, and :mod:`payctl.ledger.posting` does the same there in
single statements. The caller decides and sorts: it has checked the drafts, locked what may be
refused, and gives balances in the one order of locks. The function keeps what only the database
can: each key is posted once, running balances are those under the lock, and the content hash covers
them (:mod:`payctl.ledger.content` has its format).

It says ``taken``, and has written nothing, when one of the keys is taken; ``stale`` when an account
or a month is closed that the caller believed open. Accounts are looked at again once their balances
are locked, because one may have been closed meanwhile: then it raises a serialization failure, and
the caller's next try finds the account closed. Sequential scans are switched off in it: a plan that
was made while a table was small is kept for as long as its connection lasts.
"""

from __future__ import annotations

from payctl.db.metadata import ddl

ddl(
    "ledger_post",
    postgresql=(
        """CREATE FUNCTION ledger_post(
  j_id uuid[], j_kind text[], j_key text[], j_print bytea[], j_at timestamptz[],
  j_effective timestamptz[], j_period bigint[], j_payment uuid[], j_reverses uuid[], j_actor text[],
  j_reason text[], j_meta jsonb[], j_legs smallint[], j_head bytea[],
  b_account uuid[], b_stripe smallint[], b_side smallint[], b_delta bigint[], b_count bigint[],
  l_journal integer[], l_leg smallint[], l_balance integer[], l_currency text[], l_amount bigint[],
  l_head bytea[])
RETURNS TABLE (state text, balances bigint[], versions bigint[])
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  journals integer := cardinality(j_id);
  taken integer;
  now_minor bigint[]; now_version bigint[];
  one_minor bigint; one_version bigint;
  place integer; leg integer := 0;
  content bytea; minor_text text; version_text text; hashes bytea[];
BEGIN
  state := 'stale';
  IF EXISTS (SELECT 1 FROM account WHERE id = ANY (b_account) AND status = 'closed')
    OR EXISTS (SELECT 1 FROM period p
               WHERE p.state <> 'open' AND p.yyyymm >= (SELECT min(x) FROM unnest(j_period) x)) THEN
    RETURN NEXT;
    RETURN;
  END IF;

  INSERT INTO idempotency (scope, key, fingerprint, outcome, subject_id, created_at)
    SELECT 'journal', x.key, x.print, 'posted', x.id, x.at
      FROM unnest(j_key, j_print, j_id, j_at) AS x(key, print, id, at)
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS taken = ROW_COUNT;
  IF taken <> journals THEN
    DELETE FROM idempotency
      WHERE scope = 'journal' AND key = ANY (j_key) AND subject_id = ANY (j_id);
    state := 'taken';
    RETURN NEXT;
    RETURN;
  END IF;

  FOR i IN 1..cardinality(b_account) LOOP
    UPDATE balance SET posted_minor = posted_minor + b_side[i] * b_delta[i],
                       version = balance.version + b_count[i]
      WHERE account_id = b_account[i] AND stripe = b_stripe[i]
      RETURNING b_side[i] * posted_minor - b_delta[i], balance.version - b_count[i]
      INTO STRICT one_minor, one_version;
    now_minor[i] := one_minor;
    now_version[i] := one_version;
  END LOOP;
  IF EXISTS (SELECT 1 FROM account WHERE id = ANY (b_account) AND status = 'closed') THEN
    RAISE EXCEPTION 'ledger: an account was closed meanwhile' USING ERRCODE = '40001';
  END IF;

  FOR j IN 1..journals LOOP
    content := j_head[j];
    FOR _ IN 1..j_legs[j] LOOP
      leg := leg + 1;
      place := l_balance[leg];
      now_minor[place] := now_minor[place] + l_amount[leg];
      now_version[place] := now_version[place] + 1;
      balances[leg] := now_minor[place];
      versions[leg] := now_version[place];
      minor_text := now_minor[place]::text;
      version_text := now_version[place]::text;
      content := content || l_head[leg]
        || int4send(length(minor_text)) || minor_text::bytea
        || int4send(length(version_text)) || version_text::bytea;
    END LOOP;
    hashes[j] := sha256(content);
  END LOOP;

  WITH journals AS (
    INSERT INTO journal (id, kind, posting_key, posted_at, effective_at, period, payment_id,
                         reverses_id, actor, reason, meta, legs, content_hash)
      SELECT * FROM unnest(j_id, j_kind, j_key, j_at, j_effective, j_period, j_payment,
                           j_reverses, j_actor, j_reason, j_meta, j_legs, hashes))
  INSERT INTO entry (journal_id, leg, account_id, stripe, currency, amount_minor,
                     balance_after_minor, version)
    SELECT j_id[x.journal], x.leg, b_account[x.place], b_stripe[x.place], x.currency, x.amount,
           x.after_minor, x.version
      FROM unnest(l_journal, l_leg, l_balance, l_currency, l_amount, balances, versions)
        AS x(journal, leg, place, currency, amount, after_minor, version);
  state := 'posted';
  RETURN NEXT;
END $$""",
    ),
)
