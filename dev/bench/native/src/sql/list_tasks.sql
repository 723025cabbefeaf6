-- $1 user, $2 only tasks that are (true) or are not (false) completed; null: both
select id, title, completed, to_micros(due_date), to_micros(created_at), to_micros(updated_at)
from tasks
where user_id = $1 and ($2::boolean is null or completed = $2)
order by created_at desc, id
