-- Compares each task with its last change of a value that the outbox still has: how many tasks were compared, and which differ.
-- A row's xmin is the transaction that wrote it. So a task that is there was written by the transaction of that change, and of
-- a deleted task no row is there. A change of no value leaves the task's row as it is.
with last_changes as (
    select distinct on (task_id) task_id, user_id, sequence, action, xmin as written_by
    from task_changes
    where action in ('created', 'deleted') or title_changed or completed_changed or due_date_changed
    order by task_id, sequence desc
), compared as (
    select concat_ws(' ', 'task', task_id, 'user', last_changes.user_id, 'sequence', sequence, action) as name,
           case action
               when 'deleted' then tasks.id is not null
               else tasks.xmin is distinct from written_by
           end as differs
    from last_changes
    left join tasks on tasks.id = task_id
)
select count(*), coalesce(string_agg(name, ';' order by name) filter (where differs), '')
from compared
