-- $1 to $11 as in settle_changes.sql. One entry per user: $12 1 if the drain goes on with this user, $13 the last sequence
-- number that the claim saw.
-- $14 these users, $15 and so many others, $16 who have not waited for longer than so many milliseconds (null: however
-- long), $17 how many changes of each, $18 the lease in milliseconds.
-- $19 drain_until as this drain has set it, $20 for how many milliseconds mutations may count on it (null: not at all)
-- $21 what the last pass has done (null: nothing)
select next_pass($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20),
       count_deliveries($21)
