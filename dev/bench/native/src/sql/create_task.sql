-- $1 task, $2 user, $3 title, $4 due date or null
insert into tasks (id, user_id, title, completed, due_date, created_at, updated_at)
values ($1, $2, $3, false, from_micros($4), now(), now())
returning id, title, completed, to_micros(due_date), to_micros(created_at), to_micros(updated_at)
