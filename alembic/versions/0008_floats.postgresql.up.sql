CREATE TABLE float_alarm (
	id UUID NOT NULL, 
	account TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	below_minor BIGINT, 
	reason TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT pk_float_alarm PRIMARY KEY (id), 
	CONSTRAINT ck_float_alarm_below CHECK (below_minor IS NULL OR below_minor > 0), 
	CONSTRAINT ck_float_alarm_reason CHECK (length(trim(reason)) > 0)
)
-- next
CREATE INDEX ix_float_alarm_account ON float_alarm (account, currency, id)
-- next
CREATE TABLE float_topup (
	id UUID NOT NULL, 
	account TEXT NOT NULL, 
	amount_minor BIGINT NOT NULL, 
	currency TEXT NOT NULL, 
	bank TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	requested_by TEXT NOT NULL, 
	requested_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	approval_id UUID, 
	sent_journal_id UUID, 
	sent_at TIMESTAMP WITH TIME ZONE, 
	ended_journal_id UUID, 
	ended_at TIMESTAMP WITH TIME ZONE, 
	arrived_minor BIGINT, 
	reference TEXT, 
	CONSTRAINT pk_float_topup PRIMARY KEY (id), 
	CONSTRAINT ck_float_topup_state CHECK (state IN ('awaiting_approval', 'sent', 'arrived', 'returned', 'canceled')), 
	CONSTRAINT ck_float_topup_amount CHECK (amount_minor > 0), 
	CONSTRAINT ck_float_topup_arrived CHECK (arrived_minor > 0 AND arrived_minor <= amount_minor), 
	CONSTRAINT ck_float_topup_arrived_state CHECK ((state = 'arrived') = (arrived_minor IS NOT NULL)), 
	CONSTRAINT ck_float_topup_sent CHECK ((state IN ('sent', 'arrived', 'returned')) = (sent_journal_id IS NOT NULL)), 
	CONSTRAINT ck_float_topup_ended CHECK ((state IN ('arrived', 'returned')) = (ended_journal_id IS NOT NULL))
)
-- next
CREATE INDEX ix_float_topup_state ON float_topup (state, account)
-- next
CREATE TABLE gateway_balance (
	account TEXT NOT NULL, 
	part TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	available_minor BIGINT NOT NULL, 
	pending_minor BIGINT NOT NULL, 
	read_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	CONSTRAINT pk_gateway_balance PRIMARY KEY (account, part, currency), 
	CONSTRAINT ck_gateway_balance_part CHECK (part IN ('collect', 'float'))
)
-- next
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON float_alarm FOR EACH ROW EXECUTE FUNCTION refuse_change()
-- next
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON float_alarm EXECUTE FUNCTION refuse_change()
-- next
INSERT INTO approval_threshold (kind, currency, version, limit_minor, daily_limit_minor, set_at, set_by, reason) VALUES ('float_topup', 'EUR', 1, 500000, 2000000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('float_topup', 'USD', 1, 500000, 2000000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('float_topup', 'GBP', 1, 430000, 1720000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('float_topup', 'CHF', 1, 500000, 2000000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('float_topup', 'CAD', 1, 750000, 3000000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('float_topup', 'XOF', 1, 3300000, 13200000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default'), ('float_topup', 'XAF', 1, 3300000, 13200000, TIMESTAMPTZ '2026-01-01 00:00:00+00', 'payctl', 'default') ON CONFLICT DO NOTHING
