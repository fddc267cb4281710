ALTER TABLE notification DROP COLUMN correlation_id
