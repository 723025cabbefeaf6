-- One entry per user in each array: $1 user, $2 lease token, $3 $4 $5 delivered up to on task-events, task-updates and
-- reminders, $6 blocked topics, $7 milliseconds until they may be tried again; null: as it was.
-- One entry per event that was refused for good: $8 user, $9 sequence, $10 topic, $11 why.
-- $12 what the pass has done (null: nothing)
select count_deliveries($12), count(*)
from settle_changes($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
