\pset format aligned
\pset tuples_only off
\pset footer off
\pset title 'Parked events (the hundred oldest)'
select id, topic, user_id as user, sequence, action, task_id as task, date_trunc('second', parked_at) as parked,
       case when requeued_at is not null then 'yes' else 'no' end as requeued, error
from parked_events
order by id
limit 100;
