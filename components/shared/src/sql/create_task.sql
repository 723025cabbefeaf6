-- $1 task, $2 user, $3 title, $4 due date or null, $5 correlation id, $6 traceparent, $7 tracestate
select create_task($1, $2, $3, $4, $5, $6, $7), left_to_drain()
