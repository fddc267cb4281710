DROP INDEX IF EXISTS ix_webhook_event_dead
-- next
DROP INDEX IF EXISTS ix_webhook_event_account
-- next
DROP TABLE IF EXISTS "metric_total"
-- next
DROP TABLE IF EXISTS "metric_delta"
-- next
DROP TABLE IF EXISTS "alert"
