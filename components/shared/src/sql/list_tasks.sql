-- $1 user, $2 only tasks that are (true) or are not (false) completed; null: both
select task_list($1, $2)
