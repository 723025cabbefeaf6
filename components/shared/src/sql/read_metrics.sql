-- How the outbox is, as JSON; arrays by topic: task-events, task-updates, reminders. Whoever has something to deliver is in the
-- index of claimable users, and of each only the oldest change is looked at.
with waiting as (
    select user_id, last_sequence, task_events, task_updates, reminders
    from user_streams
    where claimable_at is not null
), pending as (
    select coalesce(sum(last_sequence - task_events), 0)::bigint as task_events,
           coalesce(sum(last_sequence - task_updates), 0)::bigint as task_updates,
           coalesce(sum(last_sequence - reminders), 0)::bigint as reminders
    from waiting
), oldest as (
    select min(changed_at) as changed_at
    from waiting
    cross join lateral (
        select changed_at
        from task_changes
        where task_changes.user_id = waiting.user_id
          and task_changes.sequence > least(waiting.task_events, waiting.task_updates, waiting.reminders)
        order by task_changes.sequence
        limit 1
    ) as first_of_user
), parked as (
    select count(*) filter (where topic = 'task-events') as task_events,
           count(*) filter (where topic = 'task-updates') as task_updates,
           count(*) filter (where topic = 'reminders') as reminders
    from parked_events
), totals as (
    select place, sum(total)::bigint as total
    from delivery_counts, unnest(totals) with ordinality as numbers (total, place)
    group by place
), horizons as (
    -- What VACUUM must leave dead rows for. Any role may see these columns of all sessions, but not since when a session has its
    -- snapshot; hence transactions, and no seconds. Sessions that run VACUUM themselves hold up no other.
    select backend_xid as transaction
    from pg_stat_activity
    where (datname = current_database() or datid is null) and pid <> pg_backend_pid()
    union all
    select backend_xmin
    from pg_stat_activity
    where (datname = current_database() or datid is null) and pid <> pg_backend_pid()
      and pid not in (select pid from pg_stat_progress_vacuum)
    union all
    select transaction from pg_prepared_xacts where database = current_database()
    union all
    select xmin from pg_replication_slots
)
select json_build_object(
    'pending', (select json_build_array(task_events, task_updates, reminders) from pending),
    'oldest_pending_seconds',
        (select coalesce(greatest(extract(epoch from clock_timestamp() - changed_at), 0), 0)::float8 from oldest),
    'oldest_snapshot_transactions', (select coalesce(max(age(transaction)), 0) from horizons),
    'parked', (select json_build_array(task_events, task_updates, reminders) from parked),
    'totals', (select coalesce(json_agg(total order by place), '[]') from totals))::text
