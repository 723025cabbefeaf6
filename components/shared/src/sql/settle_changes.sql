-- Records what was delivered, gives the leases back and drops the changes that have reached every topic.
-- Returns the users who have more to deliver and can be claimed again at once.
-- A lease that was overtaken (its token is no longer the newest) changes nothing.
-- One entry per user in each array: $1 user, $2 lease token, $3 $4 $5 delivered up to on task-events, task-updates and
-- reminders, $6 blocked topics, $7 milliseconds until they may be tried again; null: as it was.
-- One entry per event that was refused for good: $8 user, $9 sequence, $10 topic, $11 why
with outcome as (
    select *
    from unnest($1::text[]::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::int[], $7::bigint[])
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
            then clock_timestamp()
            when outcome.blocked_topics <> 0
            then coalesce(clock_timestamp() + retry_after * interval '1 millisecond', retry_at)
        end
    from outcome
    where stream.user_id = outcome.user_id and stream.lease_token = outcome.lease_token
    returning stream.user_id, least(stream.task_events, stream.task_updates, stream.reminders) as delivered,
              claimable_at <= clock_timestamp() as claimable
), parked as (
    insert into parked_events (
        topic, error, user_id, sequence, task_id, action, title, completed, due_date, title_changed,
        completed_changed, due_date_changed, changed_at, correlation_id, traceparent, tracestate)
    select refused.topic, refused.error, change.*
    from unnest($8::text[]::uuid[], $9::bigint[], $10::text[], $11::text[]) as refused (user_id, sequence, topic, error)
    join settled on settled.user_id = refused.user_id
    join task_changes as change on change.user_id = refused.user_id and change.sequence = refused.sequence
    on conflict do nothing
), dropped as (
    delete from task_changes
    using settled
    where task_changes.user_id = settled.user_id and task_changes.sequence <= settled.delivered
)
select user_id
from settled
where claimable
