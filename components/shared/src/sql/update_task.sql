-- $1 task, $2 user, $3 action, $4 title or null to keep it, $5 completed or null to keep it,
-- $6 whether a due date was sent, $7 that due date, null to clear it, $8 correlation id, $9 traceparent, $10 tracestate
with current as (
    select * from tasks where id = $1 and user_id = $2 for update
), wanted as (
    select coalesce($4::text, title) as title,
           coalesce($5::boolean, completed) as completed,
           case when $6 then from_micros($7) else due_date end as due_date
    from current
), changed as (
    select wanted.*,
           wanted.title <> current.title as title_changed,
           wanted.completed <> current.completed as completed_changed,
           wanted.due_date is distinct from current.due_date as due_date_changed
    from wanted, current
), recorded as materialized (
    select changed.*,
           record_change(
               $2, $1, $3, title, completed, due_date,
               title_changed, completed_changed, due_date_changed, $8, $9, $10) as changed_at
    from changed
)
update tasks
set title = recorded.title,
    completed = recorded.completed,
    due_date = recorded.due_date,
    updated_at = case
        when title_changed or completed_changed or due_date_changed then recorded.changed_at
        else tasks.updated_at
    end
from recorded
where tasks.id = $1
returning tasks.id, tasks.title, tasks.completed,
          to_micros(tasks.due_date), to_micros(tasks.created_at), to_micros(tasks.updated_at)
