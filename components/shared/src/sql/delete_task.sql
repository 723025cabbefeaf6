-- $1 task, $2 user, $3 correlation id, $4 traceparent, $5 tracestate
select deleted, deleted and left_to_drain()
from delete_task($1, $2, $3, $4, $5) as deleted
