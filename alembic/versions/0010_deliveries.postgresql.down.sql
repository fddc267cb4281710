DROP TABLE IF EXISTS "notification_endpoint" CASCADE
-- next
DROP TABLE IF EXISTS "notification_delivery" CASCADE
