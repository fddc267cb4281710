DROP TABLE IF EXISTS "gateway_balance"
-- next
DROP TABLE IF EXISTS "float_topup"
-- next
DROP TABLE IF EXISTS "float_alarm"
