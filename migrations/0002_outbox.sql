-- The transactional outbox: what happened to a user's tasks and has not reached every topic yet.

-- One row per mutation that still has something to deliver. The two or three events of a change are derived from this
-- row, always to the same bytes. `title`, `completed` and `due_date` are the values right after the change; those of
-- a deleted task are its last ones.
create table task_changes (
    user_id           uuid        not null,
    sequence          bigint      not null,
    task_id           uuid        not null,
    action            text        not null
        check (action in ('created', 'updated', 'completed', 'uncompleted', 'deleted')),
    title             text        not null,
    completed         boolean     not null,
    due_date          timestamptz,
    title_changed     boolean     not null,
    completed_changed boolean     not null,
    due_date_changed  boolean     not null,
    changed_at        timestamptz not null,
    correlation_id    text        not null,
    traceparent       text,
    tracestate        text,
    primary key (user_id, sequence)
);

-- One row per user: the last sequence number given out, and how far each topic has got.
--
-- A mutation locks this row to take its number and keeps it locked until it commits, so that numbers have no gaps and
-- their order is the order of commits. A publisher leases the row: whoever holds the newest `lease_token` before
-- `lease_until` is the only one that publishes for the user. The token only ever grows, so a publisher that was
-- overtaken can change nothing.
--
-- Bits of `blocked_topics`: 1 task-events, 2 task-updates, 4 reminders. A topic is blocked from a failed publish until
-- `retry_at`; the others go on.
create table user_streams (
    user_id        uuid     primary key,
    last_sequence  bigint   not null,
    task_events    bigint   not null default 0, -- delivered up to and including this sequence number
    task_updates   bigint   not null default 0,
    reminders      bigint   not null default 0,
    lease_token    bigint   not null default 0,
    lease_until    timestamptz,                 -- null: nobody publishes for this user
    blocked_topics smallint not null default 0,
    retry_at       timestamptz,                 -- when the blocked topics may be tried again
    attempts       integer  not null default 0, -- failed in a row
    claimable_at   timestamptz                  -- from when a publisher may lease the row; null: all delivered
) with (fillfactor = 70);

-- What a claim looks through: only users with something to deliver, the longest waiting first.
create index user_streams_claimable on user_streams (claimable_at) where claimable_at is not null;

-- Appends a change to its user's stream and returns the instant of the change. Every mutation calls it, in the same
-- statement that changes the task and after locking the task: locks go task first, then stream.
create function record_change(
    change_user_id uuid, task_id uuid, action text, title text, completed boolean, due_date timestamptz,
    title_changed boolean, completed_changed boolean, due_date_changed boolean,
    correlation_id text, traceparent text, tracestate text
) returns timestamptz language plpgsql as $$
declare
    next_sequence bigint;
    changed_at    timestamptz;
begin
    insert into user_streams as stream (user_id, last_sequence, claimable_at)
    values (change_user_id, 1, clock_timestamp())
    on conflict (user_id) do update
        set last_sequence = stream.last_sequence + 1,
            claimable_at = greatest(stream.lease_until, clock_timestamp())
    returning last_sequence into next_sequence;

    -- Read after the lock was had, so that instants rise with the sequence.
    changed_at := clock_timestamp();

    insert into task_changes values (
        change_user_id, next_sequence, task_id, action, title, completed, due_date,
        title_changed, completed_changed, due_date_changed,
        changed_at, correlation_id, traceparent, tracestate);

    return changed_at;
end
$$;
