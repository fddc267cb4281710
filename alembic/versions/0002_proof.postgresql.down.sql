DROP INDEX ix_journal_xid
-- next
ALTER TABLE journal DROP COLUMN xid
-- next
DROP TABLE "block_item"
-- next
DROP TABLE "block"
-- next
DROP TABLE "anchor"
