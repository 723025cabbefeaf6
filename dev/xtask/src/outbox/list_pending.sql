\pset format aligned
\pset tuples_only off
\pset footer off
\pset title 'Changes that have not reached every topic (the hundred oldest)'
select user_id as user, sequence, action, task_id as task, date_trunc('second', changed_at) as changed, correlation_id
from task_changes
order by changed_at
limit 100;
