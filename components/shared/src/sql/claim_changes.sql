-- $1 these users (a route), $2 or so many of those who have waited longest (the relay), $3 how many changes of each,
-- $4 the lease in milliseconds
select user_id, lease_token, task_events, task_updates, reminders, attempts, waiting_topics, changes
from claim_changes($1, $2, $3, $4)
