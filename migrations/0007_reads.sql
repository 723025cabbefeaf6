-- Reading, as functions for the same reason as in 0004: planning took longer than reading.

-- A task with its owner. Instants in microseconds. No row when there is no such task.
create function read_task(of_task uuid) returns table (
    user_id uuid, title text, completed boolean, due_date bigint, created_at bigint, updated_at bigint
) language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return query
    select user_id, title::text, completed, to_micros(due_date), to_micros(created_at), to_micros(updated_at)
    from tasks
    where id = of_task;
end
$$;

-- A user's tasks, newest first, as one JSON text, instants in microseconds; only those that are (true) or are not (false)
-- completed, or (null) all.
create function list_tasks(of_user uuid, only_completed boolean) returns text
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    return coalesce((
        select json_agg(task)::text
        from (
            select id, title, completed, to_micros(due_date) as due_date, to_micros(created_at) as created_at,
                   to_micros(updated_at) as updated_at
            from tasks
            where user_id = of_user and (only_completed is null or completed = only_completed)
            order by tasks.created_at desc, id
        ) as task), '[]');
end
$$;
