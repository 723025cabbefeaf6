\pset format aligned
\pset tuples_only off
\pset footer off
\pset title 'By topic'
with topics (topic, place) as (
    values ('task-events', 1), ('task-updates', 2), ('reminders', 3)
), pending as (
    select topic, change.user_id, change.changed_at
    from topics
    cross join task_changes as change
    join user_streams as stream using (user_id)
    where change.sequence > (array[stream.task_events, stream.task_updates, stream.reminders])[place]
      and (place < 3
           or (change.due_date_changed and change.due_date is not null and change.action in ('created', 'updated')))
)
select topic,
       count(user_id) as "pending events",
       count(distinct user_id) as users,
       coalesce(date_trunc('second', clock_timestamp() - min(changed_at))::text, '-') as "oldest pending",
       (select count(*) from parked_events where parked_events.topic = topics.topic) as parked
from topics
left join pending using (topic)
group by topic, place
order by place;

\pset title 'By user (the twenty that wait longest)'
select user_id as user,
       count(*) as "pending changes",
       date_trunc('second', clock_timestamp() - min(changed_at))::text as "oldest pending",
       -- Of the topic that has failed most often, and of the one that is tried first.
       (select coalesce(max(attempts), 0) from unnest(topic_attempts) as topic (attempts)) as "failed attempts",
       coalesce((
           select date_trunc('second', greatest(min(retry_at) - clock_timestamp(), interval '0'))::text
           from unnest(topic_retry_at) as topic (retry_at)), '-') as "next attempt in"
from task_changes
join user_streams using (user_id)
group by user_id, topic_attempts, topic_retry_at
order by min(changed_at)
limit 20;
