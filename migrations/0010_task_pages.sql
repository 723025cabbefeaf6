-- The list of tasks as JSON, page by page, so that neither an instance nor the database ever holds a long list as a whole, and no
-- instance reads and writes it again: that took a processor for more than 20 ms for 10,000 tasks, during which the instance
-- answered nobody else. list_tasks stays for versions that run.

-- RFC 3339 in UTC with as many digits as the instant needs, of 0, 3 and 6: as the API writes instants everywhere. PostgreSQL's
-- year 1 BC is RFC 3339's 0000. Null for an instant that is infinite.
create function to_rfc3339(instant timestamptz) returns text language sql stable parallel safe
return replace(replace(
    to_char(
        instant at time zone 'UTC',
        case
            when instant < timestamptz '0001-01-01 00:00:00+00' then '"0000"-MM-DD"T"HH24:MI:SS.US"Z"'
            else 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
        end),
    '.000000Z', 'Z'), '000Z', 'Z');

-- So many of a user's tasks, newest first, in JSON and separated by commas; only those that are (true) or are not (false) completed,
-- or (null) all; those after that one, or (null) the first ones. With how many there are, and which is the last one, by
-- its instant in microseconds and its id. Put together by hand: json_agg with json_strip_nulls took twice as long.
create function task_page(
    of_user uuid, only_completed boolean, after_created_at bigint, after_id uuid, most bigint
) returns table (tasks text, count bigint, last_created_at bigint, last_id uuid)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    after constant timestamptz := coalesce(from_micros(after_created_at), 'infinity');
begin
    return query
    select
        string_agg(task, ','), count(*), to_micros((array_agg(created_at))[count(*)]), (array_agg(id))[count(*)]
    from (
        select
            created_at, id,
            concat(
                '{"id":"', id, '","title":', to_json(title), ',"completed":', to_json(completed),
                ',"due_date":"' || to_rfc3339(due_date) || '"',
                ',"created_at":"', to_rfc3339(created_at), '","updated_at":"', to_rfc3339(updated_at), '"}') as task
        from tasks
        where user_id = of_user
            and created_at <= after and (created_at < after or after_id is null or id > after_id)
            and (only_completed is null or completed = only_completed)
        order by created_at desc, id
        limit most
    ) as page;
end
$$;
