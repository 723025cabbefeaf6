-- One drain at a time is enough. A mutation that finds one under way leaves its events to it, so that under load a few large
-- passes do what every request did for itself.

-- Until when mutations may count on the drain that has set it, in microseconds since 1970; 1: on none. A sequence, because
-- what it holds is seen at once by everybody and leaves no dead rows behind, however often it is set.
create sequence drain_until;

-- Whether a drain that is under way will deliver what the calling statement changes. To be called in that statement, after the
-- change. The lock, for which nobody ever waits, tells the drain that somebody counts on it who has not committed yet.
create function left_to_drain() returns boolean language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(8386110886206600052); -- "taskcast" in ASCII
    return (select last_value from drain_until) > to_micros(clock_timestamp());
end
$$;

-- Whether everybody who has called left_to_drain() has committed.
create function all_have_committed() returns boolean language plpgsql as $$
begin
    if pg_try_advisory_lock(8386110886206600052) then
        return pg_advisory_unlock(8386110886206600052);
    end if;
    return false;
end
$$;

-- A drain's next pass: settles what the last one has published, and claims what there is now.
--
-- As settle_changes takes them: an entry per user, an entry per parked event. Moreover, per user: 1 if the drain goes on
-- with this user until everything is delivered, and the last sequence number that its claim saw, since whoever has
-- changed something after that found the user leased.
-- As claim_changes takes them: these users, so many others, who have waited no longer, so many changes, the lease.
-- Last: the value of drain_until that this drain has set before (0: none), and for how many milliseconds mutations may
-- count on it (null: not at all). While they count on another drain, this one takes no other users.
--
-- Returns a JSON text: `drain_until` as set by this drain, `claims`, and `look_again`: somebody counts on this drain who has not
-- committed yet.
create function next_pass(
    users text[], tokens bigint[], events bigint[], updates bigint[], reminds bigint[],
    blocked integer[], retries_after bigint[],
    parked_users text[], parked_sequences bigint[], parked_topics text[], parked_errors text[],
    own integer[], seen bigint[],
    these_users text[], others bigint, waiting_at_most_ms bigint, most_changes bigint, lease_ms bigint,
    set_before bigint, counts_for_ms bigint
) returns text language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    shares        constant boolean := counts_for_ms is not null;
    counted_until constant bigint := (select last_value from drain_until);
    is_another    constant boolean := counted_until <> set_before and counted_until > to_micros(clock_timestamp());
    own_users     text[] := these_users;
    claims        text;
    claimed       bigint;
    look_again    boolean := false;
begin
    if cardinality(users) > 0 then
        select these_users || coalesce(array_agg(settled.user_id::text), '{}') into own_users
        from settle_changes(
            users, tokens, events, updates, reminds, blocked, retries_after,
            parked_users, parked_sequences, parked_topics, parked_errors) as settled
        join unnest(users::uuid[], own, seen) as before (user_id, own, seen) using (user_id)
        where before.own = 1 or settled.last_sequence > before.seen;
    end if;

    if not shares then
        -- Nobody counts any longer on a drain that has been shared. Those who have done so are there to be claimed.
        perform setval('drain_until', 1) where counted_until = set_before;
        look_again := set_before > 0 and others > 0 and not all_have_committed();
    end if;

    for attempt in 1..2 loop
        -- Nothing here needs quoting but `changes`, which is JSON already.
        select string_agg(format(
                   '{"user_id":"%s","lease_token":%s,"last_sequence":%s,"delivered":[%s,%s,%s],"attempts":%s,'
                   '"waiting_topics":%s,"own":%s,"changes":%s}',
                   claim.user_id, lease_token, last_sequence, task_events, task_updates, reminders, attempts,
                   waiting_topics, to_json(claim.user_id::text = any(own_users)), changes), ','),
               count(*)
        into claims, claimed
        from claim_changes(
            own_users, case when shares and is_another then 0 else others end,
            waiting_at_most_ms, most_changes, lease_ms) as claim;

        exit when claimed > 0 or not shares or is_another or attempt = 2;
        look_again := not all_have_committed();
        exit when look_again;
        -- From here on, nobody counts on this drain. Who did so, and has committed since the claim, is found by the next one.
        perform setval('drain_until', 1);
        look_again := not all_have_committed();
        exit when look_again;
    end loop;

    if shares and (look_again or (claimed < others and claimed > 0 and not is_another)) then
        -- A pass that is full has no room for more: whoever commits next begins a further drain.
        set_before := setval('drain_until', to_micros(clock_timestamp()) + counts_for_ms * 1000);
    end if;
    return format('{"drain_until":%s,"look_again":%s,"claims":[%s]}', set_before, to_json(look_again), claims);
end
$$;
