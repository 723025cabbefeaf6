-- What the outbox's tables cost does not grow with what has gone through them. Every change leaves a dead row in
-- task_changes and several in user_streams, whose index of claimable users grew with each of those.

-- From here on, `claimable_at` is the instant since when a user has had something to deliver, or from which on blocked topics
-- may be tried again, and a lease stands in `lease_until` alone. So an update leaves the indexed column as it is whenever
-- it can, and then adds nothing to any index (a HOT update): a claim always, a mutation when an earlier one still waits.
comment on column user_streams.claimable_at is
    'since when something waits to be delivered, or when blocked topics may be tried again; null: all delivered';

-- Room on each page for the next versions of its rows.
alter table user_streams set (fillfactor = 50);

-- Autovacuum comes each time that it looks (autovacuum_naptime), however large a backlog once was, and does its work without
-- pauses: the tables then hold what goes through them in that time. They keep the pages that they once had, since
-- giving them back locks everybody out.
alter table task_changes set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);
alter table user_streams set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = off);

-- As in 0002, but for `claimable_at`.
create or replace function record_change(
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
            -- least() passes over a null.
            claimable_at = least(stream.claimable_at, clock_timestamp())
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

-- As in 0004, but for the lease: leases users who have something to deliver, and returns each with the next changes, in
-- sequence, as one JSON text.
-- These users, and so many others: those who have waited longest, but of them only who has not waited longer than so many
-- milliseconds (null: however long). So many changes of each; the lease in milliseconds.
create or replace function claim_changes(
    these_users text[], others bigint, waiting_at_most_ms bigint, most_changes bigint, lease_ms bigint
) returns table (
    user_id uuid, lease_token bigint, last_sequence bigint, task_events bigint, task_updates bigint, reminders bigint,
    attempts integer, waiting_topics integer, changes text
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    lease constant interval := lease_ms * interval '1 millisecond';
    -- Not now(): the same transaction may claim once more, and must see who has committed meanwhile.
    at constant timestamptz := clock_timestamp();
    waiting_since constant timestamptz := coalesce(at - waiting_at_most_ms * interval '1 millisecond', '-infinity');
begin
    return query
    with named as (
        select user_id
        from user_streams
        -- coalesce() keeps the index of all waiting users out of it: these few are found by their key.
        where user_id = any(these_users::uuid[]) and coalesce(claimable_at <= at, false)
          and coalesce(lease_until <= at, true)
        for update skip locked
    ), longest as (
        select user_id
        from user_streams
        where claimable_at between waiting_since and at and coalesce(lease_until <= at, true)
          and user_id <> all(these_users::uuid[])
        order by claimable_at
        limit others
        for update skip locked
    ), leased as (
        update user_streams as stream
        set lease_token = lease_token + 1,
            lease_until = clock_timestamp() + lease
        from (select user_id from named union all select user_id from longest) as candidates
        where stream.user_id = candidates.user_id
        returning stream.user_id, lease_token, last_sequence, task_events, task_updates, reminders, attempts,
                  case when retry_at > clock_timestamp() then blocked_topics else 0 end as waiting_topics
    )
    select leased.user_id, lease_token, last_sequence, task_events, task_updates, reminders, attempts, waiting_topics,
           next.changes
    from leased
    cross join lateral (
        select coalesce(json_agg(change order by change.sequence), '[]')::text as changes
        from (
            select sequence, task_id, action, title, completed, to_micros(due_date) as due_date, title_changed,
                   completed_changed, due_date_changed, to_micros(changed_at) as changed_at, correlation_id,
                   traceparent, tracestate
            from task_changes
            -- least() passes over nulls: a topic that waits for its retry does not hold the window back.
            where task_changes.user_id = leased.user_id
              and task_changes.sequence > least(
                  case when waiting_topics & 1 = 0 then task_events end,
                  case when waiting_topics & 2 = 0 then task_updates end,
                  case when waiting_topics & 4 = 0 then reminders end)
            order by task_changes.sequence
            -- After a failure, one change is enough to see whether publishing works again.
            limit case when attempts > 0 and waiting_topics = 0 then 1 else most_changes end
        ) as change
    ) as next;
end
$$;
