CREATE TABLE alert (
	finding TEXT NOT NULL, 
	id BLOB NOT NULL, 
	state TEXT NOT NULL, 
	since INTEGER NOT NULL, 
	told INTEGER NOT NULL, 
	content TEXT NOT NULL, 
	CONSTRAINT pk_alert PRIMARY KEY (finding), 
	CONSTRAINT ck_alert_state CHECK (state IN ('failing', 'recovered'))
)
 STRICT
-- next
CREATE TABLE metric_delta (
	id INTEGER NOT NULL, 
	cells TEXT NOT NULL, 
	CONSTRAINT pk_metric_delta PRIMARY KEY (id)
)
 STRICT
-- next
CREATE TABLE metric_total (
	family TEXT NOT NULL, 
	provider TEXT NOT NULL, 
	what TEXT NOT NULL, 
	detail TEXT NOT NULL, 
	bound INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	total INTEGER NOT NULL, 
	CONSTRAINT pk_metric_total PRIMARY KEY (family, provider, what, detail, bound), 
	CONSTRAINT ck_metric_total_number CHECK (number > 0)
)
 STRICT
-- next
CREATE INDEX ix_webhook_event_account ON webhook_event (account, received_at)
-- next
CREATE INDEX ix_webhook_event_dead ON webhook_event (account) WHERE state IN ('dead', 'orphan')
