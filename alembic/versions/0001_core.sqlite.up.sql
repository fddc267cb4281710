CREATE TABLE account_number (
	code TEXT NOT NULL, 
	"plan" TEXT NOT NULL, 
	number TEXT NOT NULL, 
	CONSTRAINT pk_account_number PRIMARY KEY (code, "plan"), 
	CONSTRAINT ck_account_number_plan CHECK (plan IN ('pcg', 'syscohada'))
)
 STRICT
-- next
CREATE TABLE approval (
	id BLOB NOT NULL, 
	kind TEXT NOT NULL, 
	subject_kind TEXT NOT NULL, 
	subject_id BLOB, 
	amount_minor INTEGER, 
	currency TEXT, 
	content TEXT NOT NULL, 
	content_hash BLOB NOT NULL, 
	reason TEXT NOT NULL, 
	state TEXT NOT NULL, 
	requested_by TEXT NOT NULL, 
	requested_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	decided_by TEXT, 
	decided_at INTEGER, 
	decision_reason TEXT, 
	CONSTRAINT pk_approval PRIMARY KEY (id), 
	CONSTRAINT ck_approval_state CHECK (state IN ('pending', 'approved', 'rejected', 'expired', 'used')), 
	CONSTRAINT ck_approval_four_eyes CHECK (state NOT IN ('approved', 'used') OR (decided_by IS NOT NULL AND decided_by <> requested_by)), 
	CONSTRAINT ck_approval_decided_at CHECK ((state = 'pending') = (decided_at IS NULL)), 
	CONSTRAINT ck_approval_reason CHECK (length(trim(reason)) > 0), 
	CONSTRAINT ck_approval_decision_reason CHECK (state NOT IN ('approved', 'used', 'rejected') OR length(trim(decision_reason)) > 0), 
	CONSTRAINT ck_approval_money CHECK ((amount_minor IS NULL) = (currency IS NULL)), 
	CONSTRAINT ck_approval_content_hash CHECK (length(content_hash) = 32)
)
 STRICT
-- next
CREATE INDEX ix_approval_pending ON approval (expires_at) WHERE state = 'pending'
-- next
CREATE INDEX ix_approval_subject ON approval (subject_id)
-- next
CREATE TABLE approval_spend (
	id BLOB NOT NULL, 
	actor TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	amount_minor INTEGER NOT NULL, 
	at INTEGER NOT NULL, 
	CONSTRAINT pk_approval_spend PRIMARY KEY (id)
)
 STRICT
-- next
CREATE INDEX ix_approval_spend_actor ON approval_spend (actor, kind, currency, at)
-- next
CREATE TABLE approval_threshold (
	kind TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	limit_minor INTEGER NOT NULL, 
	daily_limit_minor INTEGER NOT NULL, 
	set_at INTEGER NOT NULL, 
	set_by TEXT NOT NULL, 
	approval_id BLOB, 
	reason TEXT NOT NULL, 
	CONSTRAINT pk_approval_threshold PRIMARY KEY (kind, currency, version), 
	CONSTRAINT ck_approval_threshold_limits CHECK (limit_minor >= 0 AND daily_limit_minor >= limit_minor)
)
 STRICT
-- next
CREATE TABLE audit (
	id BLOB NOT NULL, 
	chain INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	prev_hash BLOB NOT NULL, 
	hash BLOB NOT NULL, 
	at INTEGER NOT NULL, 
	actor TEXT NOT NULL, 
	actor_kind TEXT NOT NULL, 
	host TEXT NOT NULL, 
	session TEXT NOT NULL, 
	command TEXT NOT NULL, 
	action TEXT NOT NULL, 
	subject_kind TEXT NOT NULL, 
	subject_id BLOB, 
	reason TEXT, 
	data TEXT NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (id), 
	CONSTRAINT uq_audit_chain_seq UNIQUE (chain, seq), 
	CONSTRAINT ck_audit_hashes CHECK (length(prev_hash) = 32 AND length(hash) = 32)
)
 STRICT
-- next
CREATE INDEX ix_audit_subject ON audit (subject_id)
-- next
CREATE TABLE audit_head (
	chain INTEGER NOT NULL, 
	seq INTEGER NOT NULL, 
	hash BLOB NOT NULL, 
	CONSTRAINT pk_audit_head PRIMARY KEY (chain)
)
 STRICT
-- next
CREATE TABLE breaker (
	account TEXT NOT NULL, 
	op_class TEXT NOT NULL, 
	state TEXT DEFAULT 'closed' NOT NULL, 
	reason TEXT, 
	since INTEGER NOT NULL, 
	next_probe_at INTEGER, 
	open_count INTEGER DEFAULT '0' NOT NULL, 
	probe_owner TEXT, 
	probe_lease_until INTEGER, 
	probes_ok INTEGER DEFAULT '0' NOT NULL, 
	failed_in_row INTEGER DEFAULT '0' NOT NULL, 
	failed_minute INTEGER DEFAULT '0' NOT NULL, 
	ok_mark INTEGER DEFAULT '0' NOT NULL, 
	counted_after INTEGER DEFAULT '0' NOT NULL, 
	paused_until INTEGER, 
	forced_by TEXT, 
	forced_until INTEGER, 
	version INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_breaker PRIMARY KEY (account, op_class), 
	CONSTRAINT ck_breaker_op_class CHECK (op_class IN ('collect', 'refund', 'payout', 'read')), 
	CONSTRAINT ck_breaker_state CHECK (state IN ('closed', 'open', 'half_open')), 
	CONSTRAINT ck_breaker_probe CHECK (state = 'half_open' OR probe_owner IS NULL), 
	CONSTRAINT ck_breaker_probe_lease CHECK ((probe_owner IS NULL) = (probe_lease_until IS NULL)), 
	CONSTRAINT ck_breaker_reopens CHECK (state <> 'open' OR next_probe_at IS NOT NULL OR reason IN ('auth', 'forced'))
)
 STRICT
-- next
CREATE TABLE breaker_change (
	id BLOB NOT NULL, 
	account TEXT NOT NULL, 
	op_class TEXT NOT NULL, 
	from_state TEXT NOT NULL, 
	to_state TEXT NOT NULL, 
	reason TEXT, 
	detail TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	at INTEGER NOT NULL, 
	CONSTRAINT pk_breaker_change PRIMARY KEY (id)
)
 STRICT
-- next
CREATE INDEX ix_breaker_change_account ON breaker_change (account, op_class, id)
-- next
CREATE TABLE breaker_sample (
	account TEXT NOT NULL, 
	op_class TEXT NOT NULL, 
	minute INTEGER NOT NULL, 
	stripe INTEGER NOT NULL, 
	ok INTEGER DEFAULT '0' NOT NULL, 
	refused INTEGER DEFAULT '0' NOT NULL, 
	tech_fail INTEGER DEFAULT '0' NOT NULL, 
	not_sent INTEGER DEFAULT '0' NOT NULL, 
	slow INTEGER DEFAULT '0' NOT NULL, 
	limited INTEGER DEFAULT '0' NOT NULL, 
	retries INTEGER DEFAULT '0' NOT NULL, 
	won INTEGER DEFAULT '0' NOT NULL, 
	lost INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_breaker_sample PRIMARY KEY (account, op_class, minute, stripe), 
	CONSTRAINT ck_breaker_sample_op_class CHECK (op_class IN ('collect', 'refund', 'payout', 'read'))
)
 STRICT
-- next
CREATE TABLE case_record (
	id BLOB NOT NULL, 
	kind TEXT NOT NULL, 
	state TEXT NOT NULL, 
	dedupe_key TEXT NOT NULL, 
	subject_kind TEXT NOT NULL, 
	subject_id BLOB, 
	gateway TEXT, 
	amount_minor INTEGER, 
	currency TEXT, 
	detail TEXT NOT NULL, 
	opened_at INTEGER NOT NULL, 
	opened_by TEXT NOT NULL, 
	due_at INTEGER NOT NULL, 
	assigned_to TEXT, 
	approval_id BLOB, 
	resolution TEXT, 
	evidence TEXT, 
	resolved_by TEXT, 
	resolved_at INTEGER, 
	CONSTRAINT pk_case_record PRIMARY KEY (id), 
	CONSTRAINT ck_case_record_state CHECK (state IN ('open', 'assigned', 'resolved')), 
	CONSTRAINT ck_case_record_amount CHECK ((amount_minor IS NULL) = (currency IS NULL)), 
	CONSTRAINT ck_case_record_amount_sign CHECK (amount_minor IS NULL OR amount_minor >= 0), 
	CONSTRAINT ck_case_record_open CHECK (state <> 'open' OR assigned_to IS NULL), 
	CONSTRAINT ck_case_record_assigned CHECK (state <> 'assigned' OR assigned_to IS NOT NULL), 
	CONSTRAINT ck_case_record_resolved CHECK ((state = 'resolved') = (resolution IS NOT NULL AND evidence IS NOT NULL AND resolved_by IS NOT NULL AND resolved_at IS NOT NULL)), 
	CONSTRAINT ck_case_record_evidence CHECK (evidence IS NULL OR length(evidence) > 0)
)
 STRICT
-- next
CREATE INDEX ix_case_record_subject ON case_record (subject_id)
-- next
CREATE UNIQUE INDEX uq_case_record_open ON case_record (dedupe_key) WHERE state != 'resolved'
-- next
CREATE TABLE commission_rate (
	id BLOB NOT NULL, 
	sale_type TEXT NOT NULL, 
	organiser TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	country TEXT NOT NULL, 
	valid_from INTEGER NOT NULL, 
	rate_ppm INTEGER NOT NULL, 
	minimum_minor INTEGER, 
	maximum_minor INTEGER, 
	vat_country TEXT, 
	vat_ppm INTEGER NOT NULL, 
	withdrawn INTEGER NOT NULL, 
	set_by TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	CONSTRAINT pk_commission_rate PRIMARY KEY (id), 
	CONSTRAINT uq_commission_rate_sale_type_organiser_currency_country_valid_from UNIQUE (sale_type, organiser, currency, country, valid_from), 
	CONSTRAINT ck_commission_rate_sale_type CHECK (sale_type IN ('ticket_sale', 'template_sale')), 
	CONSTRAINT ck_commission_rate_rate CHECK (rate_ppm BETWEEN 0 AND 1000000), 
	CONSTRAINT ck_commission_rate_vat CHECK (vat_ppm BETWEEN 0 AND 1000000), 
	CONSTRAINT ck_commission_rate_vat_country CHECK (vat_ppm = 0 OR vat_country IS NOT NULL), 
	CONSTRAINT ck_commission_rate_bounds_currency CHECK ((minimum_minor IS NULL AND maximum_minor IS NULL) OR currency <> ''), 
	CONSTRAINT ck_commission_rate_minimum CHECK (minimum_minor IS NULL OR minimum_minor >= 0), 
	CONSTRAINT ck_commission_rate_maximum CHECK (maximum_minor IS NULL OR maximum_minor >= COALESCE(minimum_minor, 0))
)
 STRICT
-- next
CREATE TABLE commission_role (
	id BLOB NOT NULL, 
	sale_type TEXT NOT NULL, 
	valid_from INTEGER NOT NULL, 
	role TEXT NOT NULL, 
	set_by TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	CONSTRAINT pk_commission_role PRIMARY KEY (id), 
	CONSTRAINT uq_commission_role_sale_type_valid_from UNIQUE (sale_type, valid_from), 
	CONSTRAINT ck_commission_role_sale_type CHECK (sale_type IN ('ticket_sale', 'template_sale')), 
	CONSTRAINT ck_commission_role_role CHECK (role IN ('agent', 'principal'))
)
 STRICT
-- next
CREATE TABLE currency (
	code TEXT NOT NULL, 
	exponent INTEGER NOT NULL, 
	CONSTRAINT pk_currency PRIMARY KEY (code), 
	CONSTRAINT ck_currency_exponent CHECK (exponent BETWEEN 0 AND 4)
)
 STRICT
-- next
CREATE TABLE gateway_fee (
	id BLOB NOT NULL, 
	account TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	method TEXT DEFAULT '' NOT NULL, 
	ppm INTEGER NOT NULL, 
	fixed_minor INTEGER NOT NULL, 
	valid_from INTEGER NOT NULL, 
	actor TEXT NOT NULL, 
	at INTEGER NOT NULL, 
	CONSTRAINT pk_gateway_fee PRIMARY KEY (id), 
	CONSTRAINT ck_gateway_fee_ppm CHECK (ppm >= 0 AND ppm <= 1000000), 
	CONSTRAINT ck_gateway_fee_fixed CHECK (fixed_minor >= 0)
)
 STRICT
-- next
CREATE INDEX ix_gateway_fee_account ON gateway_fee (account, currency, method, valid_from, id)
-- next
CREATE TABLE gateway_limit (
	id BLOB NOT NULL, 
	account TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	min_minor INTEGER, 
	max_minor INTEGER, 
	valid_from INTEGER NOT NULL, 
	actor TEXT NOT NULL, 
	at INTEGER NOT NULL, 
	CONSTRAINT pk_gateway_limit PRIMARY KEY (id), 
	CONSTRAINT ck_gateway_limit_min CHECK (min_minor IS NULL OR min_minor > 0), 
	CONSTRAINT ck_gateway_limit_max CHECK (max_minor IS NULL OR max_minor >= COALESCE(min_minor, 1))
)
 STRICT
-- next
CREATE INDEX ix_gateway_limit_account ON gateway_limit (account, currency, valid_from, id)
-- next
CREATE TABLE gateway_setting (
	id BLOB NOT NULL, 
	account TEXT NOT NULL, 
	state TEXT NOT NULL, 
	until INTEGER, 
	reason TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	at INTEGER NOT NULL, 
	CONSTRAINT pk_gateway_setting PRIMARY KEY (id), 
	CONSTRAINT ck_gateway_setting_state CHECK (state IN ('enabled', 'disabled', 'draining')), 
	CONSTRAINT ck_gateway_setting_until CHECK (state <> 'enabled' OR until IS NULL), 
	CONSTRAINT ck_gateway_setting_reason CHECK (length(trim(reason)) > 0)
)
 STRICT
-- next
CREATE INDEX ix_gateway_setting_account ON gateway_setting (account, id)
-- next
CREATE TABLE idempotency (
	scope TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	fingerprint BLOB NOT NULL, 
	outcome TEXT, 
	subject_id BLOB, 
	response TEXT, 
	created_at INTEGER NOT NULL, 
	CONSTRAINT pk_idempotency PRIMARY KEY (scope, "key"), 
	CONSTRAINT ck_idempotency_key_length CHECK (length(key) BETWEEN 1 AND 200)
)
 STRICT
-- next
CREATE TABLE job_run (
	id BLOB NOT NULL, 
	job TEXT NOT NULL, 
	state TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	host TEXT NOT NULL, 
	started_at INTEGER NOT NULL, 
	finished_at INTEGER, 
	counts TEXT NOT NULL, 
	error TEXT, 
	CONSTRAINT pk_job_run PRIMARY KEY (id), 
	CONSTRAINT ck_job_run_state CHECK (state IN ('running', 'done', 'failed', 'lost')), 
	CONSTRAINT ck_job_run_finished_at CHECK ((state = 'running') = (finished_at IS NULL))
)
 STRICT
-- next
CREATE INDEX ix_job_run_job ON job_run (job, started_at)
-- next
CREATE TABLE journal (
	id BLOB NOT NULL, 
	kind TEXT NOT NULL, 
	posting_key TEXT NOT NULL, 
	posted_at INTEGER NOT NULL, 
	effective_at INTEGER NOT NULL, 
	period INTEGER NOT NULL, 
	legs INTEGER NOT NULL, 
	reverses_id BLOB, 
	payment_id BLOB, 
	actor TEXT NOT NULL, 
	reason TEXT, 
	meta TEXT NOT NULL, 
	content_hash BLOB NOT NULL, 
	CONSTRAINT pk_journal PRIMARY KEY (id), 
	CONSTRAINT ck_journal_legs CHECK (legs >= 2), 
	CONSTRAINT ck_journal_period CHECK (period BETWEEN 190001 AND 999912), 
	CONSTRAINT ck_journal_content_hash CHECK (length(content_hash) = 32)
)
 STRICT
-- next
CREATE INDEX ix_journal_effective ON journal (effective_at)
-- next
CREATE INDEX ix_journal_payment ON journal (payment_id) WHERE payment_id IS NOT NULL
-- next
CREATE INDEX ix_journal_reverses ON journal (reverses_id) WHERE reverses_id IS NOT NULL
-- next
CREATE TABLE journal_meta (
	journal_id BLOB NOT NULL, 
	rev INTEGER NOT NULL, 
	meta TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	at INTEGER NOT NULL, 
	CONSTRAINT pk_journal_meta PRIMARY KEY (journal_id, rev), 
	CONSTRAINT ck_journal_meta_rev CHECK (rev >= 1)
)
 STRICT
-- next
CREATE TABLE lease (
	name TEXT NOT NULL, 
	token INTEGER NOT NULL, 
	holder TEXT NOT NULL, 
	acquired_at INTEGER NOT NULL, 
	expires_at INTEGER NOT NULL, 
	CONSTRAINT pk_lease PRIMARY KEY (name)
)
 STRICT
-- next
CREATE TABLE notification (
	id BLOB NOT NULL, 
	type TEXT NOT NULL, 
	object_kind TEXT NOT NULL, 
	object_id BLOB NOT NULL, 
	sequence INTEGER NOT NULL, 
	data TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	CONSTRAINT pk_notification PRIMARY KEY (id), 
	CONSTRAINT uq_notification_object_kind_object_id_sequence UNIQUE (object_kind, object_id, sequence), 
	CONSTRAINT ck_notification_sequence CHECK (sequence >= 1)
)
 STRICT
-- next
CREATE TABLE operator (
	id BLOB NOT NULL, 
	name TEXT NOT NULL, 
	roles TEXT NOT NULL, 
	state TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	created_by TEXT NOT NULL, 
	disabled_at INTEGER, 
	CONSTRAINT pk_operator PRIMARY KEY (id), 
	CONSTRAINT ck_operator_name_length CHECK (length(name) BETWEEN 1 AND 60), 
	CONSTRAINT ck_operator_state CHECK (state IN ('active', 'disabled')), 
	CONSTRAINT ck_operator_disabled_at CHECK ((state = 'disabled') = (disabled_at IS NOT NULL)), 
	CONSTRAINT ck_operator_admin_cannot_approve CHECK (NOT (CAST(roles AS text) LIKE '%"admin"%' AND CAST(roles AS text) LIKE '%"approver"%')), 
	CONSTRAINT uq_operator_name UNIQUE (name)
)
 STRICT
-- next
CREATE TABLE party (
	id BLOB NOT NULL, 
	kind TEXT NOT NULL, 
	ref TEXT NOT NULL, 
	name TEXT NOT NULL, 
	country TEXT NOT NULL, 
	status TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	CONSTRAINT pk_party PRIMARY KEY (id), 
	CONSTRAINT ck_party_kind CHECK (kind IN ('organiser', 'designer')), 
	CONSTRAINT ck_party_status CHECK (status IN ('active', 'blocked')), 
	CONSTRAINT ck_party_ref CHECK (ref <> ''), 
	CONSTRAINT ck_party_country CHECK (length(country) = 2), 
	CONSTRAINT uq_party_ref UNIQUE (ref)
)
 STRICT
-- next
CREATE TABLE payment (
	id BLOB NOT NULL, 
	status TEXT NOT NULL, 
	version INTEGER DEFAULT '0' NOT NULL, 
	amount_minor INTEGER NOT NULL, 
	currency TEXT NOT NULL, 
	method TEXT NOT NULL, 
	country TEXT, 
	sale_type TEXT NOT NULL, 
	manual_capture INTEGER NOT NULL, 
	order_ref TEXT, 
	event_ref TEXT, 
	organiser TEXT NOT NULL, 
	user_ref TEXT, 
	email TEXT, 
	phone TEXT, 
	description TEXT NOT NULL, 
	metadata TEXT NOT NULL, 
	return_url TEXT, 
	cancel_url TEXT, 
	preferred TEXT NOT NULL, 
	payment_token TEXT, 
	expires_at INTEGER, 
	gateway_account TEXT, 
	attempt_id BLOB, 
	failure_code TEXT, 
	needs_review INTEGER NOT NULL, 
	late INTEGER NOT NULL, 
	route TEXT, 
	authorized_minor INTEGER DEFAULT '0' NOT NULL, 
	captured_minor INTEGER DEFAULT '0' NOT NULL, 
	refund_reserved_minor INTEGER DEFAULT '0' NOT NULL, 
	refunded_minor INTEGER DEFAULT '0' NOT NULL, 
	rate TEXT, 
	commission_minor INTEGER DEFAULT '0' NOT NULL, 
	vat_minor INTEGER DEFAULT '0' NOT NULL, 
	pending_minor INTEGER DEFAULT '0' NOT NULL, 
	commission_returned_minor INTEGER DEFAULT '0' NOT NULL, 
	vat_returned_minor INTEGER DEFAULT '0' NOT NULL, 
	created_by TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	updated_at INTEGER NOT NULL, 
	next_check_at INTEGER, 
	CONSTRAINT pk_payment PRIMARY KEY (id), 
	CONSTRAINT ck_payment_status CHECK (status IN ('authorized', 'canceled', 'created', 'expired', 'failed', 'pending', 'processing', 'requires_action', 'succeeded', 'unknown')), 
	CONSTRAINT ck_payment_amount CHECK (amount_minor > 0), 
	CONSTRAINT ck_payment_due CHECK (status IN ('canceled', 'expired', 'failed', 'succeeded') OR next_check_at IS NOT NULL), 
	CONSTRAINT ck_payment_captured CHECK (captured_minor >= 0 AND captured_minor <= amount_minor AND authorized_minor >= 0 AND authorized_minor <= amount_minor), 
	CONSTRAINT ck_payment_refunded CHECK (refund_reserved_minor >= 0 AND refunded_minor >= 0 AND refund_reserved_minor + refunded_minor <= captured_minor), 
	CONSTRAINT ck_payment_sale CHECK (pending_minor >= 0 AND commission_returned_minor <= commission_minor AND vat_returned_minor <= vat_minor)
)
 STRICT
-- next
CREATE INDEX ix_payment_order ON payment (order_ref)
-- next
CREATE INDEX ix_payment_organiser ON payment (organiser, id)
-- next
CREATE INDEX ix_payment_phone ON payment (phone)
-- next
CREATE INDEX payment_due ON payment (next_check_at) WHERE next_check_at IS NOT NULL
-- next
CREATE TABLE period (
	yyyymm INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	closed_by TEXT, 
	closed_at INTEGER, 
	totals_hash BLOB, 
	CONSTRAINT pk_period PRIMARY KEY (yyyymm), 
	CONSTRAINT ck_period_month CHECK (yyyymm % 100 BETWEEN 1 AND 12), 
	CONSTRAINT ck_period_state CHECK (state IN ('open', 'closing', 'closed')), 
	CONSTRAINT ck_period_closed CHECK ((state = 'closed') = (closed_at IS NOT NULL AND closed_by IS NOT NULL AND totals_hash IS NOT NULL))
)
 STRICT
-- next
CREATE TABLE reversal_cap (
	journal_id BLOB NOT NULL, 
	currency TEXT NOT NULL, 
	amount_minor INTEGER NOT NULL, 
	reversed_minor INTEGER NOT NULL, 
	CONSTRAINT pk_reversal_cap PRIMARY KEY (journal_id, currency), 
	CONSTRAINT ck_reversal_cap_at_most_once CHECK (reversed_minor BETWEEN 0 AND amount_minor)
)
 STRICT
-- next
CREATE TABLE route_rules (
	version INTEGER NOT NULL, 
	rules TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	at INTEGER NOT NULL, 
	CONSTRAINT pk_route_rules PRIMARY KEY (version), 
	CONSTRAINT ck_route_rules_version CHECK (version > 0), 
	CONSTRAINT ck_route_rules_reason CHECK (length(trim(reason)) > 0)
)
 STRICT
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
CREATE INDEX ix_webhook_event_due ON webhook_event (next_try_at) WHERE next_try_at IS NOT NULL
-- next
CREATE INDEX ix_webhook_event_our_reference ON webhook_event (our_reference)
-- next
CREATE INDEX ix_webhook_event_provider_reference ON webhook_event (provider_reference)
-- next
CREATE TABLE account (
	id BLOB NOT NULL, 
	code TEXT NOT NULL, 
	currency TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	normal_side INTEGER NOT NULL, 
	owner TEXT, 
	mode TEXT NOT NULL, 
	stripes INTEGER NOT NULL, 
	status TEXT DEFAULT 'open' NOT NULL, 
	opened_at INTEGER NOT NULL, 
	closed_at INTEGER, 
	CONSTRAINT pk_account PRIMARY KEY (id), 
	CONSTRAINT uq_account_code_currency UNIQUE (code, currency), 
	CONSTRAINT uq_account_id_currency UNIQUE (id, currency), 
	CONSTRAINT ck_account_kind CHECK (kind IN ('asset', 'liability', 'equity', 'income', 'expense')), 
	CONSTRAINT ck_account_side CHECK (normal_side = CASE WHEN kind IN ('asset', 'expense') THEN 1 ELSE -1 END), 
	CONSTRAINT ck_account_mode CHECK (mode IN ('guarded', 'striped')), 
	CONSTRAINT ck_account_stripes CHECK (stripes BETWEEN 1 AND 256), 
	CONSTRAINT ck_account_guarded_is_single CHECK (mode = 'striped' OR stripes = 1), 
	CONSTRAINT ck_account_status CHECK (status IN ('open', 'closed')), 
	CONSTRAINT ck_account_closed_at CHECK ((status = 'closed') = (closed_at IS NOT NULL)), 
	CONSTRAINT fk_account_currency_currency FOREIGN KEY(currency) REFERENCES currency (code)
)
 STRICT
-- next
CREATE INDEX ix_account_owner ON account (owner)
-- next
CREATE TABLE capture (
	id BLOB NOT NULL, 
	payment_id BLOB NOT NULL, 
	no INTEGER NOT NULL, 
	amount_minor INTEGER NOT NULL, 
	final INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	captured_before_minor INTEGER NOT NULL, 
	created_by TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	updated_at INTEGER NOT NULL, 
	CONSTRAINT pk_capture PRIMARY KEY (id), 
	CONSTRAINT ck_capture_amount CHECK (amount_minor > 0), 
	CONSTRAINT ck_capture_state CHECK (state IN ('failed', 'open', 'succeeded')), 
	CONSTRAINT uq_capture_payment_id_no UNIQUE (payment_id, no), 
	CONSTRAINT fk_capture_payment_id_payment FOREIGN KEY(payment_id) REFERENCES payment (id)
)
 STRICT
-- next
CREATE TABLE case_event (
	id BLOB NOT NULL, 
	case_id BLOB NOT NULL, 
	at INTEGER NOT NULL, 
	actor TEXT NOT NULL, 
	action TEXT NOT NULL, 
	data TEXT NOT NULL, 
	CONSTRAINT pk_case_event PRIMARY KEY (id), 
	CONSTRAINT ck_case_event_action CHECK (action IN ('opened', 'assigned', 'approval_requested', 'resolved', 'closed')), 
	CONSTRAINT fk_case_event_case_id_case_record FOREIGN KEY(case_id) REFERENCES case_record (id)
)
 STRICT
-- next
CREATE INDEX ix_case_event_case_id ON case_event (case_id, id)
-- next
CREATE TABLE operator_token (
	id BLOB NOT NULL, 
	operator_id BLOB NOT NULL, 
	hash BLOB NOT NULL, 
	created_at INTEGER NOT NULL, 
	created_by TEXT NOT NULL, 
	expires_at INTEGER, 
	revoked_at INTEGER, 
	CONSTRAINT pk_operator_token PRIMARY KEY (id), 
	CONSTRAINT fk_operator_token_operator_id_operator FOREIGN KEY(operator_id) REFERENCES operator (id), 
	CONSTRAINT uq_operator_token_hash UNIQUE (hash)
)
 STRICT
-- next
CREATE INDEX ix_operator_token_operator_id ON operator_token (operator_id)
-- next
CREATE TABLE payment_line (
	payment_id BLOB NOT NULL, 
	no INTEGER NOT NULL, 
	description TEXT NOT NULL, 
	quantity INTEGER NOT NULL, 
	unit_price_minor INTEGER NOT NULL, 
	vat_ppm INTEGER NOT NULL, 
	CONSTRAINT pk_payment_line PRIMARY KEY (payment_id, no), 
	CONSTRAINT ck_payment_line_quantity CHECK (quantity > 0), 
	CONSTRAINT ck_payment_line_vat CHECK (vat_ppm >= 0 AND vat_ppm <= 1000000), 
	CONSTRAINT fk_payment_line_payment_id_payment FOREIGN KEY(payment_id) REFERENCES payment (id)
)
 STRICT
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
CREATE TABLE balance (
	account_id BLOB NOT NULL, 
	stripe INTEGER NOT NULL, 
	posted_minor INTEGER DEFAULT '0' NOT NULL, 
	held_minor INTEGER DEFAULT '0' NOT NULL, 
	floor_minor INTEGER, 
	version INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_balance PRIMARY KEY (account_id, stripe), 
	CONSTRAINT ck_balance_held CHECK (held_minor >= 0), 
	CONSTRAINT ck_balance_no_overdraft CHECK (floor_minor IS NULL OR posted_minor - held_minor >= floor_minor), 
	CONSTRAINT ck_balance_guarded_single CHECK (floor_minor IS NULL OR stripe = 0), 
	CONSTRAINT fk_balance_account_id_account FOREIGN KEY(account_id) REFERENCES account (id)
)
 WITHOUT ROWID,
 STRICT
-- next
CREATE TABLE entry (
	journal_id BLOB NOT NULL, 
	leg INTEGER NOT NULL, 
	account_id BLOB NOT NULL, 
	stripe INTEGER NOT NULL, 
	currency TEXT NOT NULL, 
	amount_minor INTEGER NOT NULL, 
	balance_after_minor INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	CONSTRAINT pk_entry PRIMARY KEY (journal_id, leg), 
	CONSTRAINT ck_entry_leg CHECK (leg >= 1), 
	CONSTRAINT ck_entry_amount CHECK (amount_minor <> 0), 
	CONSTRAINT ck_entry_version CHECK (version >= 1), 
	CONSTRAINT fk_entry_account_id_currency_account FOREIGN KEY(account_id, currency) REFERENCES account (id, currency), 
	CONSTRAINT fk_entry_journal_id_journal FOREIGN KEY(journal_id) REFERENCES journal (id) DEFERRABLE INITIALLY DEFERRED
)
 WITHOUT ROWID,
 STRICT
-- next
CREATE INDEX ix_entry_account ON entry (account_id, journal_id)
-- next
CREATE TABLE hold (
	id BLOB NOT NULL, 
	account_id BLOB NOT NULL, 
	amount_minor INTEGER NOT NULL, 
	captured_minor INTEGER DEFAULT '0' NOT NULL, 
	voided_minor INTEGER DEFAULT '0' NOT NULL, 
	state TEXT NOT NULL, 
	expires_at INTEGER, 
	payment_id BLOB, 
	reason TEXT NOT NULL, 
	actor TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	CONSTRAINT pk_hold PRIMARY KEY (id), 
	CONSTRAINT ck_hold_amount CHECK (amount_minor > 0), 
	CONSTRAINT ck_hold_parts CHECK (captured_minor >= 0 AND voided_minor >= 0), 
	CONSTRAINT ck_hold_not_beyond CHECK (captured_minor + voided_minor <= amount_minor), 
	CONSTRAINT ck_hold_state CHECK (state IN ('open', 'captured', 'voided', 'expired')), 
	CONSTRAINT ck_hold_open CHECK ((state = 'open') = (captured_minor + voided_minor < amount_minor)), 
	CONSTRAINT fk_hold_account_id_account FOREIGN KEY(account_id) REFERENCES account (id)
)
 STRICT
-- next
CREATE INDEX ix_hold_account_id ON hold (account_id)
-- next
CREATE INDEX ix_hold_due ON hold (expires_at) WHERE state = 'open'
-- next
CREATE TABLE period_balance (
	yyyymm INTEGER NOT NULL, 
	account_id BLOB NOT NULL, 
	debit_minor INTEGER NOT NULL, 
	credit_minor INTEGER NOT NULL, 
	closing_minor INTEGER NOT NULL, 
	CONSTRAINT pk_period_balance PRIMARY KEY (yyyymm, account_id), 
	CONSTRAINT ck_period_balance_sides CHECK (debit_minor >= 0 AND credit_minor >= 0), 
	CONSTRAINT fk_period_balance_yyyymm_period FOREIGN KEY(yyyymm) REFERENCES period (yyyymm), 
	CONSTRAINT fk_period_balance_account_id_account FOREIGN KEY(account_id) REFERENCES account (id)
)
 STRICT
-- next
CREATE TABLE hold_event (
	id BLOB NOT NULL, 
	hold_id BLOB NOT NULL, 
	kind TEXT NOT NULL, 
	amount_minor INTEGER NOT NULL, 
	journal_id BLOB, 
	at INTEGER NOT NULL, 
	actor TEXT NOT NULL, 
	reason TEXT, 
	CONSTRAINT pk_hold_event PRIMARY KEY (id), 
	CONSTRAINT ck_hold_event_kind CHECK (kind IN ('placed', 'captured', 'voided', 'expired')), 
	CONSTRAINT ck_hold_event_amount CHECK (amount_minor > 0), 
	CONSTRAINT ck_hold_event_journal CHECK ((kind = 'captured') = (journal_id IS NOT NULL)), 
	CONSTRAINT fk_hold_event_hold_id_hold FOREIGN KEY(hold_id) REFERENCES hold (id)
)
 STRICT
-- next
CREATE INDEX ix_hold_event_hold_id ON hold_event (hold_id)
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
CREATE INDEX ix_provider_call_attempt ON provider_call (attempt_id)
-- next
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on audit'); END
-- next
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on audit'); END
-- next
CREATE TRIGGER approval_threshold_no_update BEFORE UPDATE ON approval_threshold BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on approval_threshold'); END
-- next
CREATE TRIGGER approval_threshold_no_delete BEFORE DELETE ON approval_threshold BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on approval_threshold'); END
-- next
CREATE TRIGGER approval_spend_no_update BEFORE UPDATE ON approval_spend BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on approval_spend'); END
-- next
CREATE TRIGGER approval_spend_no_delete BEFORE DELETE ON approval_spend BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on approval_spend'); END
-- next
CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head WHEN NEW.chain <> OLD.chain OR NEW.seq <= OLD.seq BEGIN SELECT RAISE(ABORT, 'audit_head only moves forward'); END
-- next
CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head BEGIN SELECT RAISE(ABORT, 'audit_head: DELETE refused'); END
-- next
CREATE TRIGGER approval_guard BEFORE UPDATE ON approval WHEN OLD.id IS NOT NEW.id OR OLD.kind IS NOT NEW.kind OR OLD.subject_kind IS NOT NEW.subject_kind OR OLD.subject_id IS NOT NEW.subject_id OR OLD.amount_minor IS NOT NEW.amount_minor OR OLD.currency IS NOT NEW.currency OR OLD.content_hash IS NOT NEW.content_hash OR OLD.content IS NOT NEW.content OR OLD.reason IS NOT NEW.reason OR OLD.requested_by IS NOT NEW.requested_by OR OLD.requested_at IS NOT NEW.requested_at OR OLD.expires_at IS NOT NEW.expires_at OR NOT ((OLD.state = 'pending' AND NEW.state IN ('approved', 'rejected', 'expired')) OR (OLD.state = 'approved' AND NEW.state = 'used' AND NEW.decided_by = OLD.decided_by)) BEGIN SELECT RAISE(ABORT, 'approval: this change is refused'); END
-- next
CREATE TRIGGER approval_no_delete BEFORE DELETE ON approval BEGIN SELECT RAISE(ABORT, 'approval: DELETE refused'); END
-- next
INSERT INTO approval_threshold (kind, currency, version, limit_minor, daily_limit_minor, set_at, set_by, reason) VALUES ('refund', 'EUR', 1, 20000, 200000, 1767225600000000, 'payctl', 'default'), ('refund', 'USD', 1, 20000, 200000, 1767225600000000, 'payctl', 'default'), ('refund', 'GBP', 1, 17000, 170000, 1767225600000000, 'payctl', 'default'), ('refund', 'CHF', 1, 20000, 200000, 1767225600000000, 'payctl', 'default'), ('refund', 'CAD', 1, 30000, 300000, 1767225600000000, 'payctl', 'default'), ('refund', 'XOF', 1, 130000, 1300000, 1767225600000000, 'payctl', 'default'), ('refund', 'XAF', 1, 130000, 1300000, 1767225600000000, 'payctl', 'default'), ('withdrawal', 'EUR', 1, 50000, 500000, 1767225600000000, 'payctl', 'default'), ('withdrawal', 'USD', 1, 50000, 500000, 1767225600000000, 'payctl', 'default'), ('withdrawal', 'GBP', 1, 43000, 430000, 1767225600000000, 'payctl', 'default'), ('withdrawal', 'CHF', 1, 50000, 500000, 1767225600000000, 'payctl', 'default'), ('withdrawal', 'CAD', 1, 75000, 750000, 1767225600000000, 'payctl', 'default'), ('withdrawal', 'XOF', 1, 330000, 3300000, 1767225600000000, 'payctl', 'default'), ('withdrawal', 'XAF', 1, 330000, 3300000, 1767225600000000, 'payctl', 'default'), ('refund_late', '*', 1, 0, 0, 1767225600000000, 'payctl', 'default'), ('destination_new', '*', 1, 0, 0, 1767225600000000, 'payctl', 'default'), ('case_resolve', '*', 1, 0, 0, 1767225600000000, 'payctl', 'default'), ('ledger_adjustment', '*', 1, 0, 0, 1767225600000000, 'payctl', 'default'), ('write_off', '*', 1, 0, 0, 1767225600000000, 'payctl', 'default'), ('routing_change', '*', 1, 0, 0, 1767225600000000, 'payctl', 'default'), ('threshold_change', '*', 1, 0, 0, 1767225600000000, 'payctl', 'default'), ('breaker_force', '*', 1, 0, 0, 1767225600000000, 'payctl', 'default')
-- next
INSERT INTO currency (code, exponent) VALUES ('AUD', 2), ('BIF', 0), ('BRL', 2), ('CAD', 2), ('CDF', 2), ('CHF', 2), ('CNY', 2), ('CZK', 2), ('DJF', 0), ('DKK', 2), ('DZD', 2), ('EUR', 2), ('GBP', 2), ('GHS', 2), ('GNF', 0), ('HKD', 2), ('HUF', 2), ('ILS', 2), ('JPY', 0), ('KES', 2), ('KMF', 0), ('LRD', 2), ('MAD', 2), ('MGA', 2), ('MRU', 2), ('MXN', 2), ('MYR', 2), ('NGN', 2), ('NOK', 2), ('NZD', 2), ('PHP', 2), ('PLN', 2), ('RWF', 0), ('SEK', 2), ('SGD', 2), ('SLE', 2), ('SSP', 2), ('SZL', 2), ('THB', 2), ('TND', 3), ('TWD', 2), ('UGX', 0), ('USD', 2), ('XAF', 0), ('XOF', 0), ('ZAR', 2), ('ZMW', 2)
-- next
INSERT INTO account_number (code, plan, number) VALUES ('gateway:{g}:collect', 'pcg', '5115'), ('gateway:{g}:float', 'pcg', '5115'), ('transit:{g}', 'pcg', '580'), ('bank:{bank}', 'pcg', '512'), ('dispute:{g}', 'pcg', '4686'), ('owed:{o}', 'pcg', '4671'), ('suspense:{g}', 'pcg', '471'), ('fx', 'pcg', '4781'), ('wallet:{o}:{part}', 'pcg', '4672'), ('refund:{g}:outgoing', 'pcg', '4673'), ('unapplied:{g}', 'pcg', '4674'), ('vat:{c}', 'pcg', '44571'), ('income:commission:{type}', 'pcg', '706'), ('income:fee_recharge', 'pcg', '708'), ('income:template_sales', 'pcg', '707'), ('income:fx_gain', 'pcg', '756'), ('income:difference', 'pcg', '758'), ('expense:gateway_fee:{g}', 'pcg', '627'), ('expense:payout_fee:{g}', 'pcg', '627'), ('expense:dispute_fee:{g}', 'pcg', '627'), ('expense:bank_fee', 'pcg', '627'), ('expense:designer_share', 'pcg', '604'), ('expense:fx_loss', 'pcg', '656'), ('expense:write_off', 'pcg', '658'), ('expense:bad_debt', 'pcg', '654'), ('expense:goodwill', 'pcg', '658'), ('opening:migration', 'pcg', '890'), ('gateway:{g}:collect', 'syscohada', '552'), ('gateway:{g}:float', 'syscohada', '552'), ('transit:{g}', 'syscohada', '585'), ('bank:{bank}', 'syscohada', '521'), ('dispute:{g}', 'syscohada', '4711'), ('owed:{o}', 'syscohada', '4711'), ('suspense:{g}', 'syscohada', '471'), ('fx', 'syscohada', '4781'), ('wallet:{o}:{part}', 'syscohada', '4712'), ('refund:{g}:outgoing', 'syscohada', '4713'), ('unapplied:{g}', 'syscohada', '4714'), ('vat:{c}', 'syscohada', '4431'), ('income:commission:{type}', 'syscohada', '706'), ('income:fee_recharge', 'syscohada', '707'), ('income:template_sales', 'syscohada', '701'), ('income:fx_gain', 'syscohada', '756'), ('income:difference', 'syscohada', '758'), ('expense:gateway_fee:{g}', 'syscohada', '631'), ('expense:payout_fee:{g}', 'syscohada', '631'), ('expense:dispute_fee:{g}', 'syscohada', '631'), ('expense:bank_fee', 'syscohada', '631'), ('expense:designer_share', 'syscohada', '604'), ('expense:fx_loss', 'syscohada', '656'), ('expense:write_off', 'syscohada', '658'), ('expense:bad_debt', 'syscohada', '654'), ('expense:goodwill', 'syscohada', '658'), ('opening:migration', 'syscohada', '890'), ('gateway:stripe:collect', 'syscohada', '515'), ('gateway:paypal:collect', 'syscohada', '515')
-- next
CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on journal'); END
-- next
CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on journal'); END
-- next
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on entry'); END
-- next
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on entry'); END
-- next
CREATE TRIGGER journal_meta_no_update BEFORE UPDATE ON journal_meta BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on journal_meta'); END
-- next
CREATE TRIGGER journal_meta_no_delete BEFORE DELETE ON journal_meta BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on journal_meta'); END
-- next
CREATE TRIGGER hold_event_no_update BEFORE UPDATE ON hold_event BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on hold_event'); END
-- next
CREATE TRIGGER hold_event_no_delete BEFORE DELETE ON hold_event BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on hold_event'); END
-- next
CREATE TRIGGER journal_seal BEFORE INSERT ON journal BEGIN
  SELECT RAISE(ABORT, 'append-only: REPLACE on journal')
    WHERE EXISTS (SELECT 1 FROM journal WHERE id = NEW.id);
  SELECT RAISE(ABORT, 'ledger: unbalanced journal') WHERE EXISTS (
    SELECT 1 FROM entry WHERE journal_id = NEW.id GROUP BY currency HAVING sum(amount_minor) <> 0);
  SELECT RAISE(ABORT, 'ledger: entries without journal, or not as many as it has legs') WHERE
    (SELECT count(*) <> NEW.legs OR max(leg) <> NEW.legs FROM entry WHERE journal_id = NEW.id);
END
-- next
CREATE TRIGGER entry_late BEFORE INSERT ON entry
WHEN EXISTS (SELECT 1 FROM journal WHERE id = NEW.journal_id) BEGIN
  SELECT RAISE(ABORT, 'ledger: journal is sealed'); END
-- next
CREATE TRIGGER journal_period_open BEFORE INSERT ON journal
WHEN EXISTS (SELECT 1 FROM period WHERE yyyymm >= NEW.period AND state <> 'open') BEGIN
  SELECT RAISE(ABORT, 'ledger: period is closed'); END
-- next
CREATE TRIGGER commission_rate_no_update BEFORE UPDATE ON commission_rate BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on commission_rate'); END
-- next
CREATE TRIGGER commission_rate_no_delete BEFORE DELETE ON commission_rate BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on commission_rate'); END
-- next
CREATE TRIGGER commission_role_no_update BEFORE UPDATE ON commission_role BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on commission_role'); END
-- next
CREATE TRIGGER commission_role_no_delete BEFORE DELETE ON commission_role BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on commission_role'); END
-- next
INSERT INTO commission_rate (id, sale_type, organiser, currency, country, valid_from, rate_ppm, vat_country, vat_ppm, withdrawn, set_by, reason, created_at) VALUES (X'00000000000000000000000000000001', 'ticket_sale', '', 'EUR', '', 946684800000000, 50000, 'FR', 200000, 0, 'payctl', 'default', 946684800000000)
-- next
INSERT INTO commission_rate (id, sale_type, organiser, currency, country, valid_from, rate_ppm, vat_country, vat_ppm, withdrawn, set_by, reason, created_at) VALUES (X'00000000000000000000000000000002', 'ticket_sale', '', 'XOF', '', 946684800000000, 50000, 'CI', 180000, 0, 'payctl', 'default', 946684800000000)
-- next
INSERT INTO commission_rate (id, sale_type, organiser, currency, country, valid_from, rate_ppm, vat_country, vat_ppm, withdrawn, set_by, reason, created_at) VALUES (X'00000000000000000000000000000003', 'ticket_sale', '', 'XAF', '', 946684800000000, 50000, 'CM', 192500, 0, 'payctl', 'default', 946684800000000)
-- next
INSERT INTO commission_rate (id, sale_type, organiser, currency, country, valid_from, rate_ppm, vat_country, vat_ppm, withdrawn, set_by, reason, created_at) VALUES (X'00000000000000000000000000000004', 'template_sale', '', 'EUR', '', 946684800000000, 300000, 'FR', 200000, 0, 'payctl', 'default', 946684800000000)
-- next
INSERT INTO commission_rate (id, sale_type, organiser, currency, country, valid_from, rate_ppm, vat_country, vat_ppm, withdrawn, set_by, reason, created_at) VALUES (X'00000000000000000000000000000005', 'template_sale', '', 'XOF', '', 946684800000000, 300000, 'CI', 180000, 0, 'payctl', 'default', 946684800000000)
-- next
INSERT INTO commission_rate (id, sale_type, organiser, currency, country, valid_from, rate_ppm, vat_country, vat_ppm, withdrawn, set_by, reason, created_at) VALUES (X'00000000000000000000000000000006', 'template_sale', '', 'XAF', '', 946684800000000, 300000, 'CM', 192500, 0, 'payctl', 'default', 946684800000000)
-- next
INSERT INTO commission_role (id, sale_type, valid_from, role, set_by, reason, created_at) VALUES (X'00000000000000000000000000000007', 'ticket_sale', 946684800000000, 'agent', 'payctl', 'default', 946684800000000)
-- next
INSERT INTO commission_role (id, sale_type, valid_from, role, set_by, reason, created_at) VALUES (X'00000000000000000000000000000008', 'template_sale', 946684800000000, 'agent', 'payctl', 'default', 946684800000000)
-- next
CREATE TRIGGER case_event_no_update BEFORE UPDATE ON case_event BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on case_event'); END
-- next
CREATE TRIGGER case_event_no_delete BEFORE DELETE ON case_event BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on case_event'); END
-- next
CREATE TRIGGER notification_no_update BEFORE UPDATE ON notification BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on notification'); END
-- next
CREATE TRIGGER notification_no_delete BEFORE DELETE ON notification BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on notification'); END
-- next
CREATE TRIGGER provider_call_no_update BEFORE UPDATE ON provider_call BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on provider_call'); END
-- next
CREATE TRIGGER provider_call_no_delete BEFORE DELETE ON provider_call BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on provider_call'); END
-- next
CREATE TRIGGER gateway_setting_no_update BEFORE UPDATE ON gateway_setting BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on gateway_setting'); END
-- next
CREATE TRIGGER gateway_setting_no_delete BEFORE DELETE ON gateway_setting BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on gateway_setting'); END
-- next
CREATE TRIGGER gateway_limit_no_update BEFORE UPDATE ON gateway_limit BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on gateway_limit'); END
-- next
CREATE TRIGGER gateway_limit_no_delete BEFORE DELETE ON gateway_limit BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on gateway_limit'); END
-- next
CREATE TRIGGER gateway_fee_no_update BEFORE UPDATE ON gateway_fee BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on gateway_fee'); END
-- next
CREATE TRIGGER gateway_fee_no_delete BEFORE DELETE ON gateway_fee BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on gateway_fee'); END
-- next
CREATE TRIGGER route_rules_no_update BEFORE UPDATE ON route_rules BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on route_rules'); END
-- next
CREATE TRIGGER route_rules_no_delete BEFORE DELETE ON route_rules BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on route_rules'); END
-- next
CREATE TRIGGER breaker_change_no_update BEFORE UPDATE ON breaker_change BEGIN SELECT RAISE(ABORT, 'append-only: UPDATE on breaker_change'); END
-- next
CREATE TRIGGER breaker_change_no_delete BEFORE DELETE ON breaker_change BEGIN SELECT RAISE(ABORT, 'append-only: DELETE on breaker_change'); END
