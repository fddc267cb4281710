DROP INDEX IF EXISTS ix_webhook_event_dead
-- next
DROP TABLE IF EXISTS "metric_total"
-- next
DROP TABLE IF EXISTS "metric_delta"
-- next
DROP TABLE IF EXISTS "alert"
