-- $1 task. Whose it is comes back, so that the caller can tell "not found" from "not yours"
select user_id, id, title, completed, to_micros(due_date), to_micros(created_at), to_micros(updated_at)
from tasks
where id = $1
