-- $1 task. Whose it is comes back, so that the caller can tell "not found" from "not yours"
select user_id, title, completed, due_date, created_at, updated_at
from read_task($1)
