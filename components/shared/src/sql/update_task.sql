-- $1 task, $2 user, $3 action, $4 title or null to keep it, $5 completed or null to keep it,
-- $6 whether a due date was sent, $7 that due date, null to clear it, $8 correlation id, $9 traceparent, $10 tracestate
select title, completed, due_date, created_at, updated_at, left_to_drain()
from update_task($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
