-- Deliveries: promises without a lock, back-off per topic, passes that neither a locked row nor a clock can stall.
--
-- The functions that a version before this migration calls stay beside the new ones until no such version runs. So do
-- `blocked_topics`, `retry_at` and `attempts` of user_streams, which only they read.

alter table user_streams
    -- Instant of the newest change. A later change of the user is never before it, whatever the clock does.
    add column last_change_at timestamptz,
    -- Length of the lease that ends at `lease_until`, in milliseconds.
    add column lease_ms bigint,
    -- By topic (task-events, task-updates, reminders): failures in a row, and from when on the topic is tried again. Both
    -- null while no topic has failed; an element of `topic_retry_at` is null while its topic has not.
    add column topic_attempts integer[],
    add column topic_retry_at timestamptz[];

-- A failing topic of an older version is tried again at once.
update user_streams set claimable_at = clock_timestamp() where blocked_topics <> 0 and claimable_at is not null;

-- Newest instant at which a relay was called, in microseconds since 1970; 1: never. A clock that shows an earlier one was set
-- back. A sequence, because it leaves no dead rows behind.
create sequence relay_called_at;

-- Appends a change to its user's stream and returns the instant of the change.
create or replace function record_change(
    change_user_id uuid, task_id uuid, action text, title text, completed boolean, due_date timestamptz,
    title_changed boolean, completed_changed boolean, due_date_changed boolean,
    correlation_id text, traceparent text, tracestate text
) returns timestamptz language plpgsql as $$
declare
    next_sequence bigint;
    changed_at    timestamptz;
begin
    insert into user_streams as stream (user_id, last_sequence, last_change_at, claimable_at)
    values (change_user_id, 1, clock_timestamp(), clock_timestamp())
    on conflict (user_id) do update
        set last_sequence = stream.last_sequence + 1,
            -- Computed once the row is locked: instants never fall while numbers rise.
            last_change_at = greatest(stream.last_change_at, clock_timestamp()),
            -- least() skips nulls.
            claimable_at = least(stream.claimable_at, clock_timestamp())
    returning last_sequence, last_change_at into next_sequence, changed_at;

    insert into task_changes values (
        change_user_id, next_sequence, task_id, action, title, completed, due_date,
        title_changed, completed_changed, due_date_changed,
        changed_at, correlation_id, traceparent, tracestate);

    return changed_at;
end
$$;

-- Patches a task of its owner's and records the change, also when no value changes (0004 describes the parameters). Looks only
-- at columns of this project: an upgraded database may have others, whose types have no comparison.
create or replace function update_task(
    of_task uuid, owner uuid, action text, new_title text, new_completed boolean,
    sets_due_date boolean, new_due_date bigint,
    correlation_id text, traceparent text, tracestate text
) returns table (title text, completed boolean, due_date bigint, created_at bigint, updated_at bigint)
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    before            tasks;
    after             tasks;
    changed_at        timestamptz;
    title_changed     boolean;
    completed_changed boolean;
    due_date_changed  boolean;
begin
    select * into before from tasks where id = of_task and user_id = owner for update;
    if not found then
        return;
    end if;
    after := before;
    after.title := coalesce(new_title, before.title);
    after.completed := coalesce(new_completed, before.completed);
    if sets_due_date then
        after.due_date := from_micros(new_due_date);
    end if;
    title_changed := after.title <> before.title;
    completed_changed := after.completed <> before.completed;
    due_date_changed := after.due_date is distinct from before.due_date;
    changed_at := record_change(
        owner, of_task, action, after.title, after.completed, after.due_date,
        title_changed, completed_changed, due_date_changed, correlation_id, traceparent, tracestate);
    if title_changed or completed_changed or due_date_changed then
        -- The service that taskcast replaces may have written these instants by another clock.
        after.updated_at := greatest(changed_at, before.created_at, before.updated_at);
        update tasks
        set title = after.title, completed = after.completed, due_date = after.due_date, updated_at = after.updated_at
        where id = of_task;
    end if;
    -- An upgraded database has titles of another type.
    return query select after.title::text, after.completed, to_micros(after.due_date), to_micros(after.created_at),
                        to_micros(after.updated_at);
end
$$;

-- Whether a drain has promised to deliver what the calling statement changes. Call it in that statement, after the change: the
-- drain recognizes the statement by its transaction id, which the change has given it. No promise is longer than 200 ms: what ends
-- later was made before the clock was set back.
create or replace function left_to_drain() returns boolean language plpgsql as $$
begin
    return (select last_value from drain_until) - to_micros(clock_timestamp()) between 1 and 200000;
end
$$;

-- The ids of this database's transactions that may rely on a promise: they have written something and still run. Not the caller's own, and
-- none that has run for longer than GRACE (components/shared/src/delivery.rs), the longest that a mutation may take which relies on
-- one. Where the caller's role may not see how long a transaction has run, it counts. PostgreSQL remembers the answer until the
-- caller's transaction ends.
create function running_elsewhere() returns bigint[] language plpgsql as $$
begin
    return array(
        select backend_xid::text::bigint
        from pg_stat_get_activity(null)
        where backend_xid is not null and pid <> pg_backend_pid()
          and coalesce(xact_start > clock_timestamp() - interval '250 milliseconds', true)
          and datid = (select oid from pg_database where datname = current_database()));
end
$$;

-- Whether a stream has something to deliver: since an instant that is past, whatever the clock shows now, unless topics have
-- failed; then from the instant on. A `case`, because the index of all waiting users is of no use for a few users.
create function is_claimable(claimable_at timestamptz, retry_at timestamptz[], at timestamptz) returns boolean
language sql immutable
return case when claimable_at is null then false when retry_at is null then true else claimable_at <= at end;

-- Leases users who have something to deliver. Returns for each a JSON object: the lease, how far each topic got, and its next
-- changes.
--
-- `users` are claimed by name. Of the other users, at most `others` are, in the order in which they have waited; only those
-- whose wait began at `since` or later, and not after `until`. `most_changes` bounds the changes of a user for each topic.
create function claim_changes(
    users uuid[], others bigint, since timestamptz, until timestamptz, most_changes bigint, lease_ms bigint
) returns table (user_id uuid, claim text)
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    at constant timestamptz := clock_timestamp();
begin
    return query
    with named as (
        select user_id
        from user_streams
        where user_id = any(users) and is_claimable(claimable_at, topic_retry_at, at)
          and coalesce(lease_until <= at, true)
        for update skip locked
    ), longest as (
        select user_id
        from user_streams
        where claimable_at between since and least(until, at) and coalesce(lease_until <= at, true)
          and user_id <> all(users)
        order by claimable_at
        limit others
        for update skip locked
    ), leased as (
        update user_streams as stream
        set lease_token = lease_token + 1,
            lease_until = clock_timestamp() + claim_changes.lease_ms * interval '1 millisecond',
            lease_ms = claim_changes.lease_ms
        from (select user_id from named union all select user_id from longest) as candidates
        where stream.user_id = candidates.user_id
        returning stream.user_id, lease_token, last_sequence, task_events, task_updates, reminders,
                  coalesce(topic_attempts, '{0,0,0}') as attempts,
                  coalesce(topic_retry_at, '{null,null,null}') as retry_at
    )
    select leased.user_id,
           -- Nothing here needs quoting but the windows, which are JSON already.
           format(
               '"user_id":"%s","lease_token":%s,"last_sequence":%s,"delivered":[%s,%s,%s],"attempts":[%s,%s,%s],'
               '"waiting_topics":%s,"windows":%s',
               leased.user_id, lease_token, last_sequence, task_events, task_updates, reminders,
               attempts[1], attempts[2], attempts[3],
               case when retry_at[1] > at then 1 else 0 end + case when retry_at[2] > at then 2 else 0 end
                   + case when retry_at[3] > at then 4 else 0 end,
               next.windows)
    from leased
    -- A window for each position at which a topic stands that does not wait: usually all of them at the same one. A topic
    -- that lags behind does not hold up the others.
    cross join lateral (
        select coalesce(json_agg(json_build_object('after', position, 'changes', changes)), '[]')::text as windows
        from (
            select position, bool_and(has_failed) as have_failed
            from (values (task_events, attempts[1] > 0, retry_at[1]), (task_updates, attempts[2] > 0, retry_at[2]),
                         (reminders, attempts[3] > 0, retry_at[3])) as topic (position, has_failed, retried_at)
            where coalesce(retried_at <= at, true) and position < last_sequence
            group by position
        ) as positions
        cross join lateral (
            select json_agg(change order by change.sequence) as changes
            from (
                select sequence, task_id, action, title, completed, to_micros(due_date) as due_date, title_changed,
                       completed_changed, due_date_changed, to_micros(changed_at) as changed_at, correlation_id,
                       traceparent, tracestate
                from task_changes
                where task_changes.user_id = leased.user_id and task_changes.sequence > position
                order by task_changes.sequence
                -- After a failure, one change shows whether publishing works again.
                limit case when have_failed then 1 else most_changes end
            ) as change
        ) as of_position
        where changes is not null
    ) as next;
end
$$;

-- Records what was delivered, gives the leases back and drops the changes that have reached every topic. A lease that was
-- overtaken (its token is no longer the newest) or has been settled changes nothing.
--
-- `outcomes`: an array of objects, one a user: user_id, lease_token; by topic, delivered (the last delivered sequence) and
-- retry_after_ms (null unless it failed this time); waiting_topics (bits: 1, 2, 4) that were not tried; goes_on (whether the
-- drain delivers everything of this user) and last_sequence (the newest change that its claim saw). `parked`: events that were
-- refused for good, as objects: user_id, sequence, topic, error.
-- `waits`: whether to wait for rows that are locked; otherwise their users are left as they are.
--
-- Returns the users who were settled, with whether the drain has to go on with them, and (`is_settled` false) those whose row
-- was locked.
create function settle_changes(outcomes jsonb, parked jsonb, waits boolean)
returns table (user_id uuid, is_settled boolean, goes_on boolean)
language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    at           constant timestamptz := clock_timestamp();
    was_returned bigint;
begin
    if waits then
        perform
        from jsonb_to_recordset(outcomes) as outcome (user_id uuid, lease_token bigint)
        join user_streams as stream using (user_id, lease_token)
        for update of stream;
    end if;

    return query
    with outcome as (
        select stream.user_id, stream.last_sequence, topic_attempts, topic_retry_at, delivered, retry_after, waiting,
               has_failed or waiting > 0 as is_blocked,
               outcome.goes_on or stream.last_sequence > seen as goes_on
        from jsonb_to_recordset(outcomes) as given (
            user_id uuid, lease_token bigint, delivered bigint[], retry_after_ms bigint[], waiting_topics integer,
            goes_on boolean, last_sequence bigint)
        cross join lateral (
            select given.goes_on, retry_after_ms as retry_after, waiting_topics as waiting, given.last_sequence as seen,
                   num_nonnulls(variadic retry_after_ms) > 0 as has_failed
        ) as outcome
        join user_streams as stream using (user_id, lease_token)
        where lease_until is not null
        for update of stream skip locked
    ), blocked as (
        select *,
               case when is_blocked then array[
                   case when retry_after[1] is not null then coalesce(topic_attempts[1], 0) + 1
                        when waiting & 1 <> 0 then topic_attempts[1] else 0 end,
                   case when retry_after[2] is not null then coalesce(topic_attempts[2], 0) + 1
                        when waiting & 2 <> 0 then topic_attempts[2] else 0 end,
                   case when retry_after[3] is not null then coalesce(topic_attempts[3], 0) + 1
                        when waiting & 4 <> 0 then topic_attempts[3] else 0 end] end as attempts,
               case when is_blocked then array[
                   coalesce(at + retry_after[1] * interval '1 millisecond',
                            case when waiting & 1 <> 0 then topic_retry_at[1] end),
                   coalesce(at + retry_after[2] * interval '1 millisecond',
                            case when waiting & 2 <> 0 then topic_retry_at[2] end),
                   coalesce(at + retry_after[3] * interval '1 millisecond',
                            case when waiting & 4 <> 0 then topic_retry_at[3] end)] end as retry_at
        from outcome
    ), next as (
        select *,
               least(
                   case when retry_at[1] is null then delivered[1] end,
                   case when retry_at[2] is null then delivered[2] end,
                   case when retry_at[3] is null then delivered[3] end) as position
        from blocked
    ), settled as (
        update user_streams as stream
        set task_events = delivered[1],
            task_updates = delivered[2],
            reminders = delivered[3],
            lease_until = null,
            lease_ms = null,
            topic_attempts = next.attempts,
            topic_retry_at = next.retry_at,
            claimable_at = least(
                case when position < next.last_sequence then
                    -- As old as what waits, so that no backlog is taken for a new change. What was committed after this
                    -- statement began is new.
                    coalesce((
                        select least(changed_at, at)
                        from task_changes
                        where task_changes.user_id = next.user_id and sequence > position
                        order by sequence
                        limit 1), at)
                end,
                next.retry_at[1], next.retry_at[2], next.retry_at[3])
        from next
        where stream.user_id = next.user_id
        returning stream.user_id, next.goes_on and claimable_at <= at as goes_on,
                  least(stream.task_events, stream.task_updates, stream.reminders) as delivered
    ), parked_now as (
        insert into parked_events (
            topic, error, user_id, sequence, task_id, action, title, completed, due_date, title_changed,
            completed_changed, due_date_changed, changed_at, correlation_id, traceparent, tracestate)
        select refused.topic, refused.error, change.*
        from jsonb_to_recordset(parked) as refused (user_id uuid, sequence bigint, topic text, error text)
        join settled using (user_id)
        join task_changes as change using (user_id, sequence)
        on conflict do nothing
    ), dropped as (
        delete from task_changes
        using settled
        where task_changes.user_id = settled.user_id and task_changes.sequence <= settled.delivered
    )
    select user_id, true, goes_on
    from settled;

    get diagnostics was_returned = row_count;
    if was_returned < jsonb_array_length(outcomes) then
        return query
        select user_id, false, false
        from jsonb_to_recordset(outcomes) as outcome (user_id uuid, lease_token bigint)
        join user_streams as stream using (user_id, lease_token)
        where lease_until is not null;
    end if;
end
$$;

-- Adds to the totals, position by position (null: nothing), in a row that no other session has locked. Whether there was
-- something to add.
create or replace function count_deliveries(added bigint[]) returns boolean language plpgsql as $$
declare
    own delivery_counts;
begin
    if added is null then
        return false;
    end if;
    select * into own
    from delivery_counts
    order by (shard + pg_backend_pid()) % 16
    limit 1
    for update skip locked;
    if not found then
        -- A row that is this session's alone.
        own.shard := 16 + pg_backend_pid();
        insert into delivery_counts values (own.shard, '{}') on conflict do nothing;
        select * into own from delivery_counts where shard = own.shard for update;
    end if;
    update delivery_counts
    set totals = array(
        select coalesce(total, 0) + coalesce(more, 0)
        from unnest(own.totals, added) with ordinality as both_of (total, more, place)
        order by place)
    where shard = own.shard;
    return true;
end
$$;

-- A drain's next pass: settles what the previous pass has published, and claims what there is now. The table of states in
-- ARCHITECTURE.md ("One drain for everybody") says what promises mean.
--
-- `pass`, an object:
--   outcomes, parked     as settle_changes() takes them
--   counts               as count_deliveries() takes them
--   users                the users to claim by name
--   limit                the largest number of users in the claim, together with those of `outcomes` whom the drain goes on with
--   others               whether other users may be claimed
--   waiting_at_most_ms   of other users, only those who have not waited longer; null: all
--   changes              the largest number of changes of a user, for each topic
--   lease_ms             the length of the lease, in milliseconds
--   promises             whether the drain lets mutations rely on it
--   promised_until       the end of the drain's last promise, in microseconds since 1970; 0: it has made none; null: a relay,
--                        which has nothing to do with promises
--   running              `running` of the previous answer
--
-- Returns an object:
--   claims               as claim_changes() returns them; `goes_on`: whether the drain delivers everything of this user
--   left                 users to claim by name, whom the claim had no room for, or whose row was locked
--   unsettled            users of `outcomes` whose row was locked
--   promised_until       the end of the drain's last promise
--   running              the transactions that were running when the promise was withdrawn, and still are: they may rely on it
create function next_pass(pass jsonb) returns text
language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    most_users     constant integer := pass ->> 'limit';
    promises       constant boolean := pass ->> 'promises';
    now_micros     constant bigint  := to_micros(clock_timestamp());
    promise_length constant bigint  := 200000; -- left_to_drain() takes no longer one for a promise
    promised_until bigint  := pass ->> 'promised_until';
    running        bigint[] := array(select jsonb_array_elements_text(pass -> 'running')::bigint);
    standing       constant bigint  := (select last_value from drain_until);
    -- Mutations rely on another drain.
    is_another     constant boolean := standing <> promised_until and standing - now_micros between 1 and promise_length;
    own            uuid[]  := array(select jsonb_array_elements_text(pass -> 'users')::uuid);
    left_over      uuid[]  := '{}';
    unsettled      uuid[]  := '{}';
    claimed        uuid[];
    claims         text;
    others         bigint;
    since          constant timestamptz := coalesce(
        clock_timestamp() - (pass ->> 'waiting_at_most_ms')::bigint * interval '1 millisecond', '-infinity');
    until          timestamptz := 'infinity';
begin
    if pass -> 'outcomes' <> '[]' then
        select own || coalesce(array_agg(user_id) filter (where goes_on and user_id <> all(own)), '{}'),
               coalesce(array_agg(user_id) filter (where not is_settled), '{}')
        into own, unsettled
        from settle_changes(pass -> 'outcomes', pass -> 'parked', false);
    end if;
    left_over := own[most_users + 1:];
    own := own[:most_users];

    if not promises and promised_until > 1 and standing = promised_until then
        perform setval('drain_until', 1);
        promised_until := 1;
        running := running_elsewhere();
    elsif cardinality(running) > 0 then
        running := array(select unnest(running) intersect select unnest(running_elsewhere()));
    end if;

    others := case when (pass ->> 'others')::boolean then most_users - cardinality(own) else 0 end;
    if is_another then
        -- Users who rely on the other drain are left to it; users who have relied on this one are not.
        until := from_micros(promised_until);
    end if;
    for attempt in 1..2 loop
        select array_agg(user_id),
               string_agg(format('{"goes_on":%s,%s}', to_json(user_id = any(own)), claim), ',')
        into claimed, claims
        from claim_changes(
            own, others, since, until, (pass ->> 'changes')::bigint, (pass ->> 'lease_ms')::bigint) as claim;

        exit when claimed is not null or not promises or promised_until <= 1 or standing <> promised_until;
        -- Nothing is left. From here on, no mutation relies on this drain; those that have done so, and have committed since
        -- the claim, are found by the next one.
        perform setval('drain_until', 1);
        promised_until := 1;
        running := running_elsewhere();
    end loop;
    claimed := coalesce(claimed, '{}');

    if promises and not is_another and cardinality(claimed) between 1 and most_users - 1 then
        -- A full claim has no room for more: the next mutation starts another drain.
        promised_until := setval('drain_until', now_micros + promise_length);
        running := '{}';
    end if;

    if not own <@ claimed then
        select left_over || coalesce(array_agg(user_id), '{}') into left_over
        from user_streams
        where user_id = any(own) and user_id <> all(claimed)
          and is_claimable(claimable_at, topic_retry_at, clock_timestamp())
          and coalesce(lease_until <= clock_timestamp(), true);
    end if;

    if pass -> 'counts' <> 'null' then
        perform count_deliveries(array(select jsonb_array_elements_text(pass -> 'counts')::bigint));
    end if;

    return format(
        '{"promised_until":%s,"running":%s,"left":%s,"unsettled":%s,"claims":[%s]}',
        coalesce(promised_until::text, 'null'), to_json(running), to_json(left_over), to_json(unsettled), claims);
end
$$;

-- To be called when a relay begins. After the clock was set back, instants that lie ahead would keep users waiting for as long as
-- it was set back: what waits is due now, and a lease lasts no longer than its length from now.
create function relay_called() returns void
language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    at constant timestamptz := clock_timestamp();
    ahead       uuid[];
    was_changed bigint;
begin
    if to_micros(at) < (select last_value from relay_called_at) then
        ahead := array(
            select user_id
            from user_streams
            where claimable_at is not null
              and (claimable_at > at or lease_until > at + lease_ms * interval '1 millisecond'));
        update user_streams
        set claimable_at = least(claimable_at, at),
            topic_retry_at = case when topic_retry_at is not null then array(
                select case when retry_at is not null then least(retry_at, at) end
                from unnest(topic_retry_at) with ordinality as topic (retry_at, place)
                order by place) end,
            lease_until = case
                when lease_until is not null then least(lease_until, at + lease_ms * interval '1 millisecond')
            end
        where user_id in (select user_id from user_streams where user_id = any(ahead) for update skip locked);
        get diagnostics was_changed = row_count;
        if was_changed < cardinality(ahead) then
            -- The next call changes the rows that were locked.
            return;
        end if;
    end if;
    perform setval('relay_called_at', to_micros(at));
end
$$;
