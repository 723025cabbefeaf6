-- $1 task, $2 user, $3 correlation id, $4 traceparent, $5 tracestate
with current as (
    select * from tasks where id = $1 and user_id = $2 for update
), recorded as materialized (
    select record_change(
        $2, $1, 'deleted', title, completed, due_date, false, false, false, $3, $4, $5) as changed_at
    from current
)
delete from tasks
using recorded
where tasks.id = $1
returning tasks.id
