-- $1 task, $2 user, $3 correlation id, $4 traceparent, $5 tracestate
select delete_task($1, $2, $3, $4, $5)
