-- Whoever may connect to the database can take an advisory lock, and one that held the lock of left_to_drain() had every mutation
-- wait until it failed. As in 0006, but for that: without the lock, a mutation counts on nobody.
create or replace function left_to_drain() returns boolean language plpgsql as $$
begin
    if not pg_try_advisory_xact_lock_shared(8386110886206600052) then -- "taskcast" in ASCII
        return false;
    end if;
    return (select last_value from drain_until) > to_micros(clock_timestamp());
end
$$;
