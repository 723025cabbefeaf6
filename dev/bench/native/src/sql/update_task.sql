-- $1 task, $2 user, $3 title or null to keep it, $4 completed or null to keep it,
-- $5 whether a due date was sent, $6 that due date, null to clear it
with current as (
    select * from tasks where id = $1 and user_id = $2 for update
), wanted as (
    select coalesce($3::text, title) as title,
           coalesce($4::boolean, completed) as completed,
           case when $5 then from_micros($6) else due_date end as due_date
    from current
), changed as (
    select wanted.*,
           wanted.title <> current.title as title_changed,
           wanted.completed <> current.completed as completed_changed,
           wanted.due_date is distinct from current.due_date as due_date_changed
    from wanted, current
)
update tasks
set title = changed.title,
    completed = changed.completed,
    due_date = changed.due_date,
    updated_at = case
        when title_changed or completed_changed or due_date_changed then now()
        else tasks.updated_at
    end
from changed
where tasks.id = $1
returning tasks.id, tasks.title, tasks.completed,
          to_micros(tasks.due_date), to_micros(tasks.created_at), to_micros(tasks.updated_at),
          title_changed, completed_changed, due_date_changed, to_micros(now())
