-- Leases users who have something to deliver and returns each with the next changes, in sequence, as one JSON text: a
-- component reads row by row, and each row costs more than parsing its share of a text.
-- $1 these users (a route), $2 or so many of those who have waited longest (the relay), $3 how many changes of each, $4 the lease in milliseconds
with named as (
    select user_id
    from user_streams
    where user_id = any($1::text[]::uuid[]) and claimable_at <= now()
    for update skip locked
), longest as (
    select user_id
    from user_streams
    where claimable_at <= now()
    order by claimable_at
    limit $2
    for update skip locked
), candidates as (
    select user_id from named
    union all
    select user_id from longest
), leased as (
    update user_streams as stream
    set lease_token = lease_token + 1,
        lease_until = clock_timestamp() + $4::bigint * interval '1 millisecond',
        claimable_at = clock_timestamp() + $4::bigint * interval '1 millisecond'
    from candidates
    where stream.user_id = candidates.user_id
    returning stream.user_id, lease_token, task_events, task_updates, reminders, attempts,
              case when retry_at > clock_timestamp() then blocked_topics else 0 end as waiting_topics
)
select leased.user_id, lease_token, task_events, task_updates, reminders, attempts, waiting_topics, next.changes
from leased
cross join lateral (
    select coalesce(json_agg(change order by change.sequence), '[]')::text as changes
    from (
        select sequence, task_id, action, title, completed, to_micros(due_date) as due_date, title_changed,
               completed_changed, due_date_changed, to_micros(changed_at) as changed_at, correlation_id, traceparent,
               tracestate
        from task_changes
        -- least() passes over nulls: a topic that waits for its retry does not hold the window back.
        where task_changes.user_id = leased.user_id
          and task_changes.sequence > least(
              case when waiting_topics & 1 = 0 then task_events end,
              case when waiting_topics & 2 = 0 then task_updates end,
              case when waiting_topics & 4 = 0 then reminders end)
        order by task_changes.sequence
        -- After a failure, one change is enough to see whether publishing works again.
        limit case when attempts > 0 and waiting_topics = 0 then 1 else $3::bigint end
    ) as change
) as next
