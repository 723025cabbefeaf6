-- A mutation that commits while settle_changes waits for the lock of its user's row is in that row by then, but its change is
-- not in what the statement sees of task_changes. Then there was something to deliver and nothing to say since when, and
-- the user was not claimable until the next mutation. As in 0004, but for that: since now.
create or replace function settle_changes(
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
                then coalesce((
                    select changed_at
                    from task_changes
                    where task_changes.user_id = stream.user_id
                      and task_changes.sequence > least(
                          case when outcome.blocked_topics & 1 = 0 then outcome.task_events end,
                          case when outcome.blocked_topics & 2 = 0 then outcome.task_updates end,
                          case when outcome.blocked_topics & 4 = 0 then outcome.reminders end)
                    order by task_changes.sequence
                    limit 1), clock_timestamp())
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

-- Whoever has been forgotten already.
update user_streams
set claimable_at = clock_timestamp()
where claimable_at is null and least(task_events, task_updates, reminders) < last_sequence;
