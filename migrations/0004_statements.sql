-- The statements that every mutation and every delivery consist of, as functions: a component can't prepare a statement,
-- so that PostgreSQL would plan it anew for every request, which took ten times as long as running it. Each is still one
-- statement of its caller's: it happens as a whole or not at all.
--
-- Their plans are made once per session, for any values (`plan_cache_mode`): PostgreSQL would go on planning for the values
-- at hand, which takes longer than claiming does. A session may have begun when the tables were empty, so `enable_seqscan`
-- is off: no plan of that time reads a whole table later.

-- Creates a task and records the change. Returns the instant of the change, in microseconds.
create function create_task(
    new_id uuid, owner uuid, new_title text, new_due_date bigint,
    correlation_id text, traceparent text, tracestate text
) returns bigint language plpgsql as $$
declare
    due_date   timestamptz := from_micros(new_due_date);
    changed_at timestamptz := record_change(
        owner, new_id, 'created', new_title, false, due_date, true, true, new_due_date is not null,
        correlation_id, traceparent, tracestate);
begin
    insert into tasks (id, user_id, title, completed, due_date, created_at, updated_at)
    values (new_id, owner, new_title, false, due_date, changed_at, changed_at);
    return to_micros(changed_at);
end
$$;

-- Patches a task of its owner's and records the change, also when no value changes. A null title or `completed` keeps
-- what is there; the due date is set, or cleared by null, only if `sets_due_date`. Instants are in microseconds.
-- Returns the task as it is then; no row when the owner has no such task.
create function update_task(
    of_task uuid, owner uuid, action text, new_title text, new_completed boolean,
    sets_due_date boolean, new_due_date bigint,
    correlation_id text, traceparent text, tracestate text
) returns table (title text, completed boolean, due_date bigint, created_at bigint, updated_at bigint)
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    before     tasks;
    after      tasks;
    changed_at timestamptz;
begin
    select * into before from tasks where id = of_task and user_id = owner for update;
    if not found then
        return;
    end if;
    after := before;
    after.title := coalesce(new_title, before.title);
    after.completed := coalesce(new_completed, before.completed);
    if sets_due_date then
        after.due_date := from_micros(new_due_date);
    end if;
    changed_at := record_change(
        owner, of_task, action, after.title, after.completed, after.due_date,
        after.title <> before.title, after.completed <> before.completed,
        after.due_date is distinct from before.due_date, correlation_id, traceparent, tracestate);
    if after is distinct from before then
        after.updated_at := changed_at;
        update tasks
        set title = after.title, completed = after.completed, due_date = after.due_date, updated_at = changed_at
        where id = of_task;
    end if;
    -- An installation that upgrades has titles of another type.
    return query select after.title::text, after.completed, to_micros(after.due_date), to_micros(after.created_at),
                        to_micros(after.updated_at);
end
$$;

-- Deletes a task of its owner's and records the change. False when the owner has no such task.
create function delete_task(
    of_task uuid, owner uuid, correlation_id text, traceparent text, tracestate text
) returns boolean language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    gone tasks;
begin
    delete from tasks where id = of_task and user_id = owner returning * into gone;
    if not found then
        return false;
    end if;
    perform record_change(
        owner, of_task, 'deleted', gone.title, gone.completed, gone.due_date, false, false, false,
        correlation_id, traceparent, tracestate);
    return true;
end
$$;

-- Leases users who have something to deliver, and returns each with the next changes, in sequence, as one JSON text: a
-- component reads row by row, and each row costs more than parsing its share of a text.
-- These users, and so many others: those who have waited longest, but of them only who has not waited longer than so many
-- milliseconds (null: however long). So many changes of each; the lease in milliseconds.
create function claim_changes(
    these_users text[], others bigint, waiting_at_most_ms bigint, most_changes bigint, lease_ms bigint
) returns table (
    user_id uuid, lease_token bigint, last_sequence bigint, task_events bigint, task_updates bigint, reminders bigint,
    attempts integer, waiting_topics integer, changes text
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    lease constant interval := lease_ms * interval '1 millisecond';
    waiting_since constant timestamptz := coalesce(now() - waiting_at_most_ms * interval '1 millisecond', '-infinity');
begin
    return query
    with named as (
        select user_id
        from user_streams
        -- coalesce() keeps the index of all waiting users out of it: these few are found by their key.
        where user_id = any(these_users::uuid[]) and coalesce(claimable_at <= now(), false)
        for update skip locked
    ), longest as (
        select user_id
        from user_streams
        where claimable_at between waiting_since and now() and user_id <> all(these_users::uuid[])
        order by claimable_at
        limit others
        for update skip locked
    ), leased as (
        update user_streams as stream
        set lease_token = lease_token + 1,
            lease_until = clock_timestamp() + lease,
            claimable_at = clock_timestamp() + lease
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

-- Records what was delivered, gives the leases back and drops the changes that have reached every topic. A lease that was
-- overtaken (its token is no longer the newest) changes nothing.
-- One entry per user in each array: user, lease token, delivered up to on task-events, task-updates and reminders,
-- blocked topics, milliseconds until they may be tried again (null: as it was).
-- One entry per event that was refused for good: user, sequence, topic, why.
-- Returns the users who have more to deliver and can be claimed again at once, each with the newest sequence number.
create function settle_changes(
    users text[], tokens bigint[], events bigint[], updates bigint[], reminds bigint[],
    blocked integer[], retries_after bigint[],
    parked_users text[], parked_sequences bigint[], parked_topics text[], parked_errors text[]
) returns table (user_id uuid, last_sequence bigint) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return query
    with outcome as (
        select *
        from unnest(users::uuid[], tokens, events, updates, reminds, blocked, retries_after)
            as o (user_id, lease_token, task_events, task_updates, reminders, blocked_topics, retry_after)
    ), settled as (
        update user_streams as stream
        set task_events = outcome.task_events,
            task_updates = outcome.task_updates,
            reminders = outcome.reminders,
            lease_until = null,
            blocked_topics = outcome.blocked_topics,
            retry_at = case
                when outcome.blocked_topics = 0 then null
                else coalesce(clock_timestamp() + retry_after * interval '1 millisecond', retry_at)
            end,
            attempts = case
                when outcome.blocked_topics = 0 then 0
                when retry_after is null then attempts
                else attempts + 1
            end,
            claimable_at = case
                when least(
                    case when outcome.blocked_topics & 1 = 0 then outcome.task_events end,
                    case when outcome.blocked_topics & 2 = 0 then outcome.task_updates end,
                    case when outcome.blocked_topics & 4 = 0 then outcome.reminders end) < last_sequence
                -- As old as what waits, so that nobody is taken for new who is not.
                then (
                    select changed_at
                    from task_changes
                    where task_changes.user_id = stream.user_id
                      and task_changes.sequence > least(
                          case when outcome.blocked_topics & 1 = 0 then outcome.task_events end,
                          case when outcome.blocked_topics & 2 = 0 then outcome.task_updates end,
                          case when outcome.blocked_topics & 4 = 0 then outcome.reminders end)
                    order by task_changes.sequence
                    limit 1)
                when outcome.blocked_topics <> 0
                then coalesce(clock_timestamp() + retry_after * interval '1 millisecond', retry_at)
            end
        from outcome
        where stream.user_id = outcome.user_id and stream.lease_token = outcome.lease_token
        returning stream.user_id, last_sequence,
                  least(stream.task_events, stream.task_updates, stream.reminders) as delivered,
                  claimable_at <= clock_timestamp() as claimable
    ), parked as (
        insert into parked_events (
            topic, error, user_id, sequence, task_id, action, title, completed, due_date, title_changed,
            completed_changed, due_date_changed, changed_at, correlation_id, traceparent, tracestate)
        select refused.topic, refused.error, change.*
        from unnest(parked_users::uuid[], parked_sequences, parked_topics, parked_errors)
            as refused (user_id, sequence, topic, error)
        join settled on settled.user_id = refused.user_id
        join task_changes as change on change.user_id = refused.user_id and change.sequence = refused.sequence
        on conflict do nothing
    ), dropped as (
        delete from task_changes
        using settled
        where task_changes.user_id = settled.user_id and task_changes.sequence <= settled.delivered
    )
    select user_id, last_sequence
    from settled
    where claimable;
end
$$;
