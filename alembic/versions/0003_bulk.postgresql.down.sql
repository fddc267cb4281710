DROP FUNCTION payments_answered
-- next
DROP FUNCTION payments_begin
-- next
DROP FUNCTION ledger_post
-- next
DROP TRIGGER journals_complete ON journal
-- next
DROP FUNCTION ledger_journals_complete()
-- next
DROP INDEX ix_entry_stripe
-- next
DROP INDEX ix_journal_late
-- next
DROP INDEX ix_journal_early
-- next
CREATE INDEX ix_entry_account ON entry (account_id, journal_id)
-- next
CREATE INDEX ix_journal_effective ON journal (effective_at)
-- next
CREATE FUNCTION ledger_journal_complete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM entry WHERE journal_id = NEW.id AND leg = 1) THEN
    RAISE EXCEPTION 'ledger: journal without entries' USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$
-- next
CREATE CONSTRAINT TRIGGER journal_complete AFTER INSERT ON journal
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_journal_complete()
-- next
CREATE FUNCTION ledger_period_open() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM period WHERE yyyymm >= NEW.period AND state <> 'open') THEN
    RAISE EXCEPTION 'ledger: period % is closed', NEW.period USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$
-- next
CREATE TRIGGER period_open BEFORE INSERT ON journal
FOR EACH ROW EXECUTE FUNCTION ledger_period_open()
-- next
CREATE OR REPLACE FUNCTION ledger_entries_complete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM new_rows GROUP BY journal_id, currency HAVING sum(amount_minor) <> 0)
  THEN
    RAISE EXCEPTION 'ledger: unbalanced journal' USING ERRCODE = '23514';
  END IF;
  -- With the key (journal_id, leg), n rows whose last leg is n are exactly the legs 1..n, so a
  -- second batch for the same journal can never pass.
  IF EXISTS (
    SELECT 1 FROM (SELECT journal_id, count(*) AS n, max(leg) AS last FROM new_rows GROUP BY 1) x
    WHERE x.last <> x.n
      OR x.n IS DISTINCT FROM (SELECT j.legs FROM journal j WHERE j.id = x.journal_id)
  ) THEN
    RAISE EXCEPTION 'ledger: entries without journal, or not as many as it has legs'
      USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$
