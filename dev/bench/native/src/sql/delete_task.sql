-- $1 task, $2 user
delete from tasks
where id = $1 and user_id = $2
returning title, completed, to_micros(due_date), to_micros(now())
