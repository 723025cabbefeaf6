-- $1 outcomes and parked events, as JSON: settle_changes() in migrations/0012_delivery.sql describes them.
-- $2 whether to wait for rows that another session has locked, $3 what was done, for the metrics, or null
select json_build_object(
           'goes_on', coalesce(json_agg(user_id) filter (where goes_on), '[]'),
           'unsettled', coalesce(json_agg(user_id) filter (where not is_settled), '[]'))::text,
       count_deliveries($3)
from (select $1::text::jsonb as done) as parameter
cross join lateral settle_changes(done -> 'outcomes', done -> 'parked', $2)
