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
