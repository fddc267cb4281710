DROP TABLE IF EXISTS "notification_endpoint"
-- next
DROP TABLE IF EXISTS "notification_delivery"
