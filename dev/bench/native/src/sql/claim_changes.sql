-- $1 these users, $2 and so many others, $3 who have not waited for longer than so many milliseconds (null: however long),
-- $4 how many changes of each, $5 the lease in milliseconds
select user_id, lease_token, last_sequence, task_events, task_updates, reminders, attempts, waiting_topics, changes
from claim_changes($1, $2, $3, $4, $5)
