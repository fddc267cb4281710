ALTER TABLE notification ADD COLUMN correlation_id TEXT
