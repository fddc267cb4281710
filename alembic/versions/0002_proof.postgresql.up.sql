CREATE TABLE anchor (
	destination TEXT NOT NULL, 
	block BIGINT NOT NULL, 
	written_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT pk_anchor PRIMARY KEY (destination)
)
-- next
CREATE TABLE block (
	number BIGINT NOT NULL, 
	prev_hash BYTEA NOT NULL, 
	root BYTEA NOT NULL, 
	journals BIGINT NOT NULL, 
	total_journals BIGINT NOT NULL, 
	watermark TEXT NOT NULL, 
	complete_until TIMESTAMP WITH TIME ZONE NOT NULL, 
	sealed_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	hash BYTEA NOT NULL, 
	CONSTRAINT pk_block PRIMARY KEY (number), 
	CONSTRAINT ck_block_number CHECK (number >= 1), 
	CONSTRAINT ck_block_journals CHECK (journals >= 1 AND total_journals >= journals), 
	CONSTRAINT ck_block_hashes CHECK (length(prev_hash) = 32 AND length(root) = 32 AND length(hash) = 32)
)
-- next
CREATE TABLE block_item (
	journal_id UUID NOT NULL, 
	block BIGINT NOT NULL, 
	position SMALLINT NOT NULL, 
	content_hash BYTEA NOT NULL, 
	CONSTRAINT pk_block_item PRIMARY KEY (journal_id), 
	CONSTRAINT uq_block_item_block_position UNIQUE (block, position), 
	CONSTRAINT ck_block_item_position CHECK (position >= 0), 
	CONSTRAINT ck_block_item_content_hash CHECK (length(content_hash) = 32), 
	CONSTRAINT fk_block_item_block_block FOREIGN KEY(block) REFERENCES block (number)
)
-- next
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON block FOR EACH ROW EXECUTE FUNCTION refuse_change()
-- next
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON block EXECUTE FUNCTION refuse_change()
-- next
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON block_item FOR EACH ROW EXECUTE FUNCTION refuse_change()
-- next
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON block_item EXECUTE FUNCTION refuse_change()
-- next
ALTER TABLE journal ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()
-- next
CREATE INDEX ix_journal_xid ON journal (xid, id)
