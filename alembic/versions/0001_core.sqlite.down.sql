DROP TABLE IF EXISTS "provider_call"
-- next
DROP TABLE IF EXISTS "hold_event"
-- next
DROP TABLE IF EXISTS "period_balance"
-- next
DROP TABLE IF EXISTS "hold"
-- next
DROP TABLE IF EXISTS "entry"
-- next
DROP TABLE IF EXISTS "balance"
-- next
DROP TABLE IF EXISTS "attempt"
-- next
DROP TABLE IF EXISTS "refund"
-- next
DROP TABLE IF EXISTS "payment_line"
-- next
DROP TABLE IF EXISTS "operator_token"
-- next
DROP TABLE IF EXISTS "case_event"
-- next
DROP TABLE IF EXISTS "capture"
-- next
DROP TABLE IF EXISTS "account"
-- next
DROP TABLE IF EXISTS "webhook_event"
-- next
DROP TABLE IF EXISTS "route_rules"
-- next
DROP TABLE IF EXISTS "reversal_cap"
-- next
DROP TABLE IF EXISTS "period"
-- next
DROP TABLE IF EXISTS "payment"
-- next
DROP TABLE IF EXISTS "party"
-- next
DROP TABLE IF EXISTS "operator"
-- next
DROP TABLE IF EXISTS "notification"
-- next
DROP TABLE IF EXISTS "lease"
-- next
DROP TABLE IF EXISTS "journal_meta"
-- next
DROP TABLE IF EXISTS "journal"
-- next
DROP TABLE IF EXISTS "job_run"
-- next
DROP TABLE IF EXISTS "idempotency"
-- next
DROP TABLE IF EXISTS "gateway_setting"
-- next
DROP TABLE IF EXISTS "gateway_limit"
-- next
DROP TABLE IF EXISTS "gateway_fee"
-- next
DROP TABLE IF EXISTS "currency"
-- next
DROP TABLE IF EXISTS "commission_role"
-- next
DROP TABLE IF EXISTS "commission_rate"
-- next
DROP TABLE IF EXISTS "case_record"
-- next
DROP TABLE IF EXISTS "breaker_sample"
-- next
DROP TABLE IF EXISTS "breaker_change"
-- next
DROP TABLE IF EXISTS "breaker"
-- next
DROP TABLE IF EXISTS "audit_head"
-- next
DROP TABLE IF EXISTS "audit"
-- next
DROP TABLE IF EXISTS "approval_threshold"
-- next
DROP TABLE IF EXISTS "approval_spend"
-- next
DROP TABLE IF EXISTS "approval"
-- next
DROP TABLE IF EXISTS "account_number"
