DROP TABLE attempt_token
-- next
CREATE TABLE moved_refund AS SELECT * FROM refund
-- next
CREATE TABLE moved_attempt AS SELECT * FROM attempt
-- next
CREATE TABLE moved_provider_call AS SELECT * FROM provider_call
-- next
CREATE TABLE moved_webhook_event AS SELECT * FROM webhook_event
-- next
DROP TABLE provider_call
-- next
DROP TABLE attempt
-- next
DROP TABLE refund
-- next
DROP TABLE webhook_event
-- next
CREATE TABLE refund (
	id BLOB NOT NULL, 
	payment_id BLOB NOT NULL, 
	receipt_attempt_id BLOB NOT NULL, 
	gateway_account TEXT NOT NULL, 
	source TEXT NOT NULL, 
	amount_minor INTEGER NOT NULL, 
	currency TEXT NOT NULL, 
	state TEXT NOT NULL, 
	version INTEGER DEFAULT '0' NOT NULL, 
	reason TEXT NOT NULL, 
	keep_commission INTEGER NOT NULL, 
	failure_code TEXT, 
	approval_id BLOB, 
	pending_minor INTEGER DEFAULT '0' NOT NULL, 
	commission_minor INTEGER DEFAULT '0' NOT NULL, 
	vat_minor INTEGER DEFAULT '0' NOT NULL, 
	reserve_journal_id BLOB, 
	requested_by TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	updated_at INTEGER NOT NULL, 
	next_check_at INTEGER, 
	CONSTRAINT pk_refund PRIMARY KEY (id), 
	CONSTRAINT ck_refund_amount CHECK (amount_minor > 0), 
	CONSTRAINT ck_refund_source CHECK (source IN ('sale', 'unapplied')), 
	CONSTRAINT ck_refund_state CHECK (state IN ('approved', 'awaiting_approval', 'failed', 'pending', 'proposed', 'rejected', 'reversed', 'sending', 'succeeded', 'unknown')), 
	CONSTRAINT ck_refund_due CHECK (state IN ('awaiting_approval', 'failed', 'proposed', 'rejected', 'reversed', 'succeeded') OR next_check_at IS NOT NULL), 
	CONSTRAINT fk_refund_payment_id_payment FOREIGN KEY(payment_id) REFERENCES payment (id)
)
 STRICT
-- next
INSERT INTO refund (id, payment_id, receipt_attempt_id, gateway_account, source, amount_minor, currency, state, version, reason, keep_commission, failure_code, approval_id, pending_minor, commission_minor, vat_minor, reserve_journal_id, requested_by, created_at, updated_at, next_check_at) SELECT id, payment_id, receipt_attempt_id, gateway_account, source, amount_minor, currency, state, version, reason, keep_commission, failure_code, approval_id, pending_minor, commission_minor, vat_minor, reserve_journal_id, requested_by, created_at, updated_at, next_check_at FROM moved_refund
-- next
DROP TABLE moved_refund
-- next
CREATE INDEX ix_refund_payment ON refund (payment_id)
-- next
CREATE INDEX refund_due ON refund (next_check_at) WHERE next_check_at IS NOT NULL
-- next
CREATE TABLE attempt (
	id BLOB NOT NULL, 
	payment_id BLOB NOT NULL, 
	operation TEXT NOT NULL, 
	subject_id BLOB NOT NULL, 
	refund_id BLOB, 
	capture_id BLOB, 
	no INTEGER NOT NULL, 
	gateway_account TEXT NOT NULL, 
	our_reference TEXT NOT NULL, 
	idempotency_key TEXT NOT NULL, 
	request_hash BLOB NOT NULL, 
	amount_minor INTEGER NOT NULL, 
	currency TEXT NOT NULL, 
	state TEXT NOT NULL, 
	version INTEGER DEFAULT '0' NOT NULL, 
	provider_reference TEXT, 
	lease_owner TEXT, 
	lease_until INTEGER, 
	next_check_at INTEGER, 
	checks INTEGER DEFAULT '0' NOT NULL, 
	not_found INTEGER DEFAULT '0' NOT NULL, 
	quarantine_until INTEGER NOT NULL, 
	exposed_at INTEGER, 
	expires_at INTEGER, 
	code TEXT, 
	provider_code TEXT, 
	message TEXT, 
	next_action TEXT, 
	received_minor INTEGER, 
	received_currency TEXT, 
	receipt TEXT, 
	created_at INTEGER NOT NULL, 
	updated_at INTEGER NOT NULL, 
	CONSTRAINT pk_attempt PRIMARY KEY (id), 
	CONSTRAINT ck_attempt_operation CHECK (operation IN ('capture', 'collect', 'refund', 'void')), 
	CONSTRAINT ck_attempt_due CHECK (NOT (state IN ('authorized', 'pending', 'quarantined', 'requires_action', 'sending', 'unknown')) OR next_check_at IS NOT NULL), 
	CONSTRAINT ck_attempt_receipt CHECK (receipt IS NULL OR receipt IN ('order', 'unapplied')), 
	CONSTRAINT uq_attempt_gateway_account_our_reference UNIQUE (gateway_account, our_reference), 
	CONSTRAINT uq_attempt_gateway_account_idempotency_key UNIQUE (gateway_account, idempotency_key), 
	CONSTRAINT uq_attempt_subject_id_operation_no UNIQUE (subject_id, operation, no), 
	CONSTRAINT fk_attempt_payment_id_payment FOREIGN KEY(payment_id) REFERENCES payment (id), 
	CONSTRAINT fk_attempt_refund_id_refund FOREIGN KEY(refund_id) REFERENCES refund (id), 
	CONSTRAINT fk_attempt_capture_id_capture FOREIGN KEY(capture_id) REFERENCES capture (id)
)
 STRICT
-- next
INSERT INTO attempt (id, payment_id, operation, subject_id, refund_id, capture_id, no, gateway_account, our_reference, idempotency_key, request_hash, amount_minor, currency, state, version, provider_reference, lease_owner, lease_until, next_check_at, checks, not_found, quarantine_until, exposed_at, expires_at, code, provider_code, message, next_action, received_minor, received_currency, receipt, created_at, updated_at) SELECT id, payment_id, operation, subject_id, refund_id, capture_id, no, gateway_account, our_reference, idempotency_key, request_hash, amount_minor, currency, state, version, provider_reference, lease_owner, lease_until, next_check_at, checks, not_found, quarantine_until, exposed_at, expires_at, code, provider_code, message, next_action, received_minor, received_currency, receipt, created_at, updated_at FROM moved_attempt
-- next
DROP TABLE moved_attempt
-- next
CREATE INDEX attempt_due ON attempt (next_check_at) WHERE state IN ('authorized', 'pending', 'quarantined', 'requires_action', 'sending', 'unknown')
-- next
CREATE UNIQUE INDEX attempt_live ON attempt (subject_id, operation) WHERE state IN ('authorized', 'pending', 'quarantined', 'requires_action', 'sending', 'unknown')
-- next
CREATE UNIQUE INDEX attempt_provider_reference ON attempt (gateway_account, operation, provider_reference) WHERE operation IN ('collect', 'refund') AND provider_reference IS NOT NULL
-- next
CREATE INDEX ix_attempt_payment ON attempt (payment_id)
-- next
CREATE INDEX ix_attempt_reference ON attempt (provider_reference)
-- next
CREATE TABLE provider_call (
	id BLOB NOT NULL, 
	attempt_id BLOB NOT NULL, 
	call TEXT NOT NULL, 
	source TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	http_status INTEGER, 
	latency_ms INTEGER NOT NULL, 
	exchange TEXT NOT NULL, 
	at INTEGER NOT NULL, 
	CONSTRAINT pk_provider_call PRIMARY KEY (id), 
	CONSTRAINT fk_provider_call_attempt_id_attempt FOREIGN KEY(attempt_id) REFERENCES attempt (id)
)
 STRICT
-- next
INSERT INTO provider_call (id, attempt_id, call, source, outcome, http_status, latency_ms, exchange, at) SELECT id, attempt_id, call, source, outcome, http_status, latency_ms, exchange, at FROM moved_provider_call
-- next
DROP TABLE moved_provider_call
-- next
CREATE INDEX ix_provider_call_attempt ON provider_call (attempt_id)
-- next
CREATE TRIGGER provider_call_no_update BEFORE UPDATE ON provider_call BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on provider_call'); END
-- next
CREATE TRIGGER provider_call_no_delete BEFORE DELETE ON provider_call BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on provider_call'); END
-- next
CREATE TABLE webhook_event (
	id BLOB NOT NULL, 
	account TEXT NOT NULL, 
	dedupe TEXT NOT NULL, 
	event_id TEXT, 
	type TEXT, 
	object_kind TEXT, 
	our_reference TEXT, 
	provider_reference TEXT, 
	occurred_at INTEGER, 
	body BLOB NOT NULL, 
	headers TEXT NOT NULL, 
	received_at INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	tries INTEGER NOT NULL, 
	waits INTEGER NOT NULL, 
	next_try_at INTEGER, 
	worker BLOB, 
	reason TEXT, 
	settled_at INTEGER, 
	CONSTRAINT pk_webhook_event PRIMARY KEY (id), 
	CONSTRAINT uq_webhook_event_account_dedupe UNIQUE (account, dedupe), 
	CONSTRAINT ck_webhook_event_state CHECK (state IN ('received', 'waiting', 'applied', 'orphan', 'dead', 'dropped')), 
	CONSTRAINT ck_webhook_event_next_try_at CHECK ((state IN ('received', 'waiting')) = (next_try_at IS NOT NULL)), 
	CONSTRAINT ck_webhook_event_settled_at CHECK ((state IN ('received', 'waiting')) = (settled_at IS NULL)), 
	CONSTRAINT ck_webhook_event_reason CHECK (state IN ('received', 'applied') OR reason IS NOT NULL), 
	CONSTRAINT ck_webhook_event_body CHECK (length(body) <= 262144)
)
 STRICT
-- next
INSERT INTO webhook_event (id, account, dedupe, event_id, type, object_kind, our_reference, provider_reference, occurred_at, body, headers, received_at, state, tries, waits, next_try_at, worker, reason, settled_at) SELECT id, account, dedupe, event_id, type, object_kind, our_reference, provider_reference, occurred_at, body, headers, received_at, state, tries, waits, next_try_at, worker, reason, settled_at FROM moved_webhook_event
-- next
DROP TABLE moved_webhook_event
-- next
CREATE INDEX ix_webhook_event_due ON webhook_event (next_try_at) WHERE next_try_at IS NOT NULL
-- next
CREATE INDEX ix_webhook_event_our_reference ON webhook_event (our_reference)
-- next
CREATE INDEX ix_webhook_event_provider_reference ON webhook_event (provider_reference)
