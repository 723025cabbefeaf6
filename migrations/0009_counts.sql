-- What deliveries have done, for metrics. It is counted by the statement that settles them, so that what a crash undoes is
-- not counted either.

-- Several rows, so that deliveries side by side do not wait for each other; a total is their sum. By position, as
-- components/shared/src/outbox/counts.rs has them: a later position may be missing.
create table delivery_counts (
    shard  integer primary key,
    totals bigint[] not null
) with (
    -- One update per pass: each finds room on its own page, and the dead rows go soon.
    fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off
);
insert into delivery_counts select shard, '{}' from generate_series(0, 15) as shard;

-- Adds to the totals, position by position; null: nothing was done. The row stays locked until the statement commits, so this
-- is the last thing that a statement does. Whether there was something to add.
create function count_deliveries(added bigint[]) returns boolean language plpgsql as $$
begin
    update delivery_counts
    set totals = array(
        select coalesce(total, 0) + coalesce(more, 0)
        from unnest(totals, added) with ordinality as both_of (total, more, place)
        order by place)
    where added is not null and shard = pg_backend_pid() % 16;
    return found;
end
$$;
