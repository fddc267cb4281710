CREATE TABLE notification_delivery (
	endpoint TEXT NOT NULL, 
	notification_id UUID NOT NULL, 
	state TEXT NOT NULL, 
	tries BIGINT NOT NULL, 
	waits BIGINT NOT NULL, 
	next_try_at TIMESTAMP WITH TIME ZONE, 
	worker UUID, 
	tried_at TIMESTAMP WITH TIME ZONE, 
	reason TEXT, 
	settled_at TIMESTAMP WITH TIME ZONE, 
	CONSTRAINT pk_notification_delivery PRIMARY KEY (endpoint, notification_id), 
	CONSTRAINT ck_notification_delivery_state CHECK (state IN ('pending', 'delivered', 'dead', 'dropped')), 
	CONSTRAINT ck_notification_delivery_next_try_at CHECK (state = 'pending' OR next_try_at IS NULL), 
	CONSTRAINT ck_notification_delivery_settled_at CHECK ((state = 'pending') = (settled_at IS NULL)), 
	CONSTRAINT ck_notification_delivery_reason CHECK (state NOT IN ('dead', 'dropped') OR reason IS NOT NULL)
)
-- next
CREATE INDEX ix_notification_delivery_due ON notification_delivery (endpoint, next_try_at, notification_id) WHERE next_try_at IS NOT NULL
-- next
CREATE INDEX ix_notification_delivery_open ON notification_delivery (endpoint, state, notification_id) WHERE state IN ('pending', 'dead')
-- next
CREATE TABLE notification_endpoint (
	name TEXT NOT NULL, 
	state TEXT NOT NULL, 
	start UUID NOT NULL, 
	front UUID NOT NULL, 
	looked_to UUID NOT NULL, 
	looked_at TIMESTAMP WITH TIME ZONE, 
	looked_deep_at TIMESTAMP WITH TIME ZONE, 
	mark UUID, 
	mark_xmax BIGINT, 
	pauses BIGINT NOT NULL, 
	paused_until TIMESTAMP WITH TIME ZONE, 
	streak JSONB NOT NULL, 
	succeeded_at TIMESTAMP WITH TIME ZONE, 
	failed_at TIMESTAMP WITH TIME ZONE, 
	reason TEXT, 
	CONSTRAINT pk_notification_endpoint PRIMARY KEY (name), 
	CONSTRAINT ck_notification_endpoint_state CHECK (state IN ('enabled', 'disabled')), 
	CONSTRAINT ck_notification_endpoint_reason CHECK (state = 'enabled' OR reason IS NOT NULL), 
	CONSTRAINT ck_notification_endpoint_pauses CHECK (pauses >= 0), 
	CONSTRAINT ck_notification_endpoint_paused CHECK ((pauses = 0) = (paused_until IS NULL))
)
