CREATE TABLE dispute (
	id UUID NOT NULL, 
	payment_id UUID NOT NULL, 
	attempt_id UUID NOT NULL, 
	gateway_account TEXT NOT NULL, 
	provider_reference TEXT NOT NULL, 
	amount_minor BIGINT NOT NULL, 
	currency TEXT NOT NULL, 
	status TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	respond_by TIMESTAMP WITH TIME ZONE, 
	version BIGINT DEFAULT '0' NOT NULL, 
	withdrawn_minor BIGINT DEFAULT '0' NOT NULL, 
	frozen_minor BIGINT DEFAULT '0' NOT NULL, 
	commission_minor BIGINT DEFAULT '0' NOT NULL, 
	vat_minor BIGINT DEFAULT '0' NOT NULL, 
	lost_minor BIGINT DEFAULT '0' NOT NULL, 
	settled BOOLEAN NOT NULL, 
	response TEXT, 
	response_key TEXT, 
	responded_by TEXT, 
	responded_at TIMESTAMP WITH TIME ZONE, 
	created_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	updated_at TIMESTAMP WITH TIME ZONE NOT NULL, 
	next_check_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT pk_dispute PRIMARY KEY (id), 
	CONSTRAINT ck_dispute_amount CHECK (amount_minor > 0), 
	CONSTRAINT ck_dispute_status CHECK (status IN ('closed', 'inquiry', 'lost', 'needs_response', 'under_review', 'won')), 
	CONSTRAINT ck_dispute_response CHECK (response IS NULL OR response IN ('accept', 'contest')), 
	CONSTRAINT ck_dispute_money CHECK (withdrawn_minor >= 0 AND frozen_minor >= 0 AND lost_minor >= 0), 
	CONSTRAINT ck_dispute_due CHECK (settled OR next_check_at IS NOT NULL), 
	CONSTRAINT uq_dispute_gateway_account_provider_reference UNIQUE (gateway_account, provider_reference), 
	CONSTRAINT fk_dispute_payment_id_payment FOREIGN KEY(payment_id) REFERENCES payment (id)
)
-- next
CREATE INDEX dispute_due ON dispute (next_check_at) WHERE next_check_at IS NOT NULL
-- next
CREATE INDEX ix_dispute_payment ON dispute (payment_id)
