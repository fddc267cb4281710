DROP FUNCTION IF EXISTS "ledger_make_month" CASCADE
-- next
DROP FUNCTION IF EXISTS "ledger_floor_of" CASCADE
-- next
DROP FUNCTION IF EXISTS "ledger_guard_partition" CASCADE
-- next
DROP FUNCTION IF EXISTS "ledger_refuse_direct" CASCADE
-- next
DROP FUNCTION IF EXISTS "ledger_period_open" CASCADE
-- next
DROP FUNCTION IF EXISTS "ledger_journal_complete" CASCADE
-- next
DROP FUNCTION IF EXISTS "ledger_entries_complete" CASCADE
-- next
DROP FUNCTION IF EXISTS "approval_guard" CASCADE
-- next
DROP FUNCTION IF EXISTS "audit_append" CASCADE
-- next
DROP FUNCTION IF EXISTS "audit_head_forward" CASCADE
-- next
DROP FUNCTION IF EXISTS "refuse_change" CASCADE
-- next
DROP TABLE IF EXISTS "provider_call" CASCADE
-- next
DROP TABLE IF EXISTS "hold_event" CASCADE
-- next
DROP TABLE IF EXISTS "period_balance" CASCADE
-- next
DROP TABLE IF EXISTS "hold" CASCADE
-- next
DROP TABLE IF EXISTS "entry" CASCADE
-- next
DROP TABLE IF EXISTS "balance" CASCADE
-- next
DROP TABLE IF EXISTS "attempt" CASCADE
-- next
DROP TABLE IF EXISTS "refund" CASCADE
-- next
DROP TABLE IF EXISTS "payment_line" CASCADE
-- next
DROP TABLE IF EXISTS "operator_token" CASCADE
-- next
DROP TABLE IF EXISTS "case_event" CASCADE
-- next
DROP TABLE IF EXISTS "capture" CASCADE
-- next
DROP TABLE IF EXISTS "account" CASCADE
-- next
DROP TABLE IF EXISTS "webhook_event" CASCADE
-- next
DROP TABLE IF EXISTS "route_rules" CASCADE
-- next
DROP TABLE IF EXISTS "reversal_cap" CASCADE
-- next
DROP TABLE IF EXISTS "period" CASCADE
-- next
DROP TABLE IF EXISTS "payment" CASCADE
-- next
DROP TABLE IF EXISTS "party" CASCADE
-- next
DROP TABLE IF EXISTS "operator" CASCADE
-- next
DROP TABLE IF EXISTS "notification" CASCADE
-- next
DROP TABLE IF EXISTS "lease" CASCADE
-- next
DROP TABLE IF EXISTS "journal_meta" CASCADE
-- next
DROP TABLE IF EXISTS "journal" CASCADE
-- next
DROP TABLE IF EXISTS "job_run" CASCADE
-- next
DROP TABLE IF EXISTS "idempotency" CASCADE
-- next
DROP TABLE IF EXISTS "gateway_setting" CASCADE
-- next
DROP TABLE IF EXISTS "gateway_limit" CASCADE
-- next
DROP TABLE IF EXISTS "gateway_fee" CASCADE
-- next
DROP TABLE IF EXISTS "currency" CASCADE
-- next
DROP TABLE IF EXISTS "commission_role" CASCADE
-- next
DROP TABLE IF EXISTS "commission_rate" CASCADE
-- next
DROP TABLE IF EXISTS "case_record" CASCADE
-- next
DROP TABLE IF EXISTS "breaker_sample" CASCADE
-- next
DROP TABLE IF EXISTS "breaker_change" CASCADE
-- next
DROP TABLE IF EXISTS "breaker" CASCADE
-- next
DROP TABLE IF EXISTS "audit_head" CASCADE
-- next
DROP TABLE IF EXISTS "audit" CASCADE
-- next
DROP TABLE IF EXISTS "approval_threshold" CASCADE
-- next
DROP TABLE IF EXISTS "approval_spend" CASCADE
-- next
DROP TABLE IF EXISTS "approval" CASCADE
-- next
DROP TABLE IF EXISTS "account_number" CASCADE
