-- Events that the sidecar refuses for good, such as one that the broker finds too large. Each stays here with its reason
-- until an operator requeues or skips it; the user's later events go on meanwhile.
create table parked_events (
    id           bigint      generated always as identity primary key,
    topic        text        not null,
    error        text        not null,
    parked_at    timestamptz not null default clock_timestamp(),
    requeued_at  timestamptz, -- null: waits for an operator. Otherwise it is published again as soon as it can be
    lease_until  timestamptz, -- until then somebody is publishing it, or it is not tried again yet
    like task_changes,
    unique (user_id, sequence, topic)
);

-- What a relay looks through: usually nothing at all.
create index parked_events_requeued on parked_events (requeued_at) where requeued_at is not null;
