-- $1 task, $2 user, $3 title, $4 due date or null, $5 correlation id, $6 traceparent, $7 tracestate, $8 the most tasks that the user
-- may have, or null; no row: they have that many
select create_task($1, $2, $3, $4, $5, $6, $7), left_to_drain()
where $8::bigint is null or (select count(*) from (select from tasks where user_id = $2 limit $8) as own) < $8
