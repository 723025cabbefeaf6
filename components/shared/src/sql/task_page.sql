-- $1 user, $2 only tasks that are (true) or are not (false) completed; null: both, $3 and $4 the task after which (null: from the first
-- one on), by its instant in microseconds and its id, $5 at most so many
select tasks, count, last_created_at, last_id from task_page($1, $2, $3, $4, $5)
