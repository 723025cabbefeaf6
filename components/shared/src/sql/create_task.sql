-- $1 task, $2 user, $3 title, $4 due date or null, $5 correlation id, $6 traceparent, $7 tracestate
with change as materialized (
    select record_change(
        $2, $1, 'created', $3, false, from_micros($4), true, true, $4 is not null, $5, $6, $7) as changed_at
)
insert into tasks (id, user_id, title, completed, due_date, created_at, updated_at)
select $1, $2, $3, false, from_micros($4), changed_at, changed_at
from change
returning id, title, completed, to_micros(due_date), to_micros(created_at), to_micros(updated_at)
