DROP TABLE IF EXISTS "gateway_balance" CASCADE
-- next
DROP TABLE IF EXISTS "float_topup" CASCADE
-- next
DROP TABLE IF EXISTS "float_alarm" CASCADE
