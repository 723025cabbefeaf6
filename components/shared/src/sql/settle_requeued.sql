-- Deletes parked events that were delivered, and parks those again that were refused again.
-- $1 delivered; one entry per refused event: $2 id, $3 why. $4 what was done, for the metrics
with delivered as (
    delete from parked_events where id = any($1::bigint[])
), refused as (
    update parked_events
    set requeued_at = null, lease_until = null, error = refused.error
    from unnest($2::bigint[], $3::text[]) as refused (id, error)
    where parked_events.id = refused.id
)
select count_deliveries($4)
