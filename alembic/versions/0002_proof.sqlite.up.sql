CREATE TABLE anchor (
	destination TEXT NOT NULL, 
	block INTEGER NOT NULL, 
	written_at INTEGER NOT NULL, 
	CONSTRAINT pk_anchor PRIMARY KEY (destination)
)
 STRICT
-- next
CREATE TABLE block (
	number INTEGER NOT NULL, 
	prev_hash BLOB NOT NULL, 
	root BLOB NOT NULL, 
	journals INTEGER NOT NULL, 
	total_journals INTEGER NOT NULL, 
	watermark TEXT NOT NULL, 
	complete_until INTEGER NOT NULL, 
	sealed_at INTEGER NOT NULL, 
	hash BLOB NOT NULL, 
	CONSTRAINT pk_block PRIMARY KEY (number), 
	CONSTRAINT ck_block_number CHECK (number >= 1), 
	CONSTRAINT ck_block_journals CHECK (journals >= 1 AND total_journals >= journals), 
	CONSTRAINT ck_block_hashes CHECK (length(prev_hash) = 32 AND length(root) = 32 AND length(hash) = 32)
)
 STRICT
-- next
CREATE TABLE block_item (
	journal_id BLOB NOT NULL, 
	block INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	content_hash BLOB NOT NULL, 
	CONSTRAINT pk_block_item PRIMARY KEY (journal_id), 
	CONSTRAINT uq_block_item_block_position UNIQUE (block, position), 
	CONSTRAINT ck_block_item_position CHECK (position >= 0), 
	CONSTRAINT ck_block_item_content_hash CHECK (length(content_hash) = 32), 
	CONSTRAINT fk_block_item_block_block FOREIGN KEY(block) REFERENCES block (number)
)
 WITHOUT ROWID,
 STRICT
-- next
CREATE TRIGGER block_no_update BEFORE UPDATE ON block BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on block'); END
-- next
CREATE TRIGGER block_no_delete BEFORE DELETE ON block BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on block'); END
-- next
CREATE TRIGGER block_item_no_update BEFORE UPDATE ON block_item BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on block_item'); END
-- next
CREATE TRIGGER block_item_no_delete BEFORE DELETE ON block_item BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on block_item'); END
