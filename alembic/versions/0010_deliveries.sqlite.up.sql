CREATE TABLE notification_delivery (
	endpoint TEXT NOT NULL, 
	notification_id BLOB NOT NULL, 
	state TEXT NOT NULL, 
	tries INTEGER NOT NULL, 
	waits INTEGER NOT NULL, 
	next_try_at INTEGER, 
	worker BLOB, 
	tried_at INTEGER, 
	reason TEXT, 
	settled_at INTEGER, 
	CONSTRAINT pk_notification_delivery PRIMARY KEY (endpoint, notification_id), 
	CONSTRAINT ck_notification_delivery_state CHECK (state IN ('pending', 'delivered', 'dead', 'dropped')), 
	CONSTRAINT ck_notification_delivery_next_try_at CHECK (state = 'pending' OR next_try_at IS NULL), 
	CONSTRAINT ck_notification_delivery_settled_at CHECK ((state = 'pending') = (settled_at IS NULL)), 
	CONSTRAINT ck_notification_delivery_reason CHECK (state NOT IN ('dead', 'dropped') OR reason IS NOT NULL)
)
 STRICT
-- next
CREATE INDEX ix_notification_delivery_due ON notification_delivery (endpoint, next_try_at, notification_id) WHERE next_try_at IS NOT NULL
-- next
CREATE INDEX ix_notification_delivery_open ON notification_delivery (endpoint, state, notification_id) WHERE state IN ('pending', 'dead')
-- next
CREATE TABLE notification_endpoint (
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	start BLOB NOT NULL, 
	front BLOB NOT NULL, 
	looked_to BLOB NOT NULL, 
	looked_at INTEGER, 
	looked_deep_at INTEGER, 
	mark BLOB, 
	mark_xmax INTEGER, 
	pauses INTEGER NOT NULL, 
	paused_until INTEGER, 
	streak TEXT NOT NULL, 
	succeeded_at INTEGER, 
	failed_at INTEGER, 
	reason TEXT, 
	CONSTRAINT pk_notification_endpoint PRIMARY KEY (name), 
	CONSTRAINT ck_notification_endpoint_state CHECK (state IN ('enabled', 'disabled')), 
	CONSTRAINT ck_notification_endpoint_reason CHECK (state = 'enabled' OR reason IS NOT NULL), 
	CONSTRAINT ck_notification_endpoint_pauses CHECK (pauses >= 0), 
	CONSTRAINT ck_notification_endpoint_paused CHECK ((pauses = 0) = (paused_until IS NULL))
)
 STRICT
