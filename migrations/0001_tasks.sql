-- Tasks as clients see them (CONTRACT: "Task").
--
-- An installation that upgrades already has `tasks` (with a foreign key to its `users`) in the shape of the service
-- that taskcast replaces. Its rows, its constraints and its `users` table stay as they are: this file only adds.

create table if not exists tasks (
    id         uuid        primary key,
    user_id    uuid        not null,
    title      text        not null,
    completed  boolean     not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- null: the task has no due date, and its JSON no such field.
alter table tasks add column if not exists due_date timestamptz;

-- The old service wrote UTC into columns without a time zone. Existing values keep their meaning.
do $$
declare
    old_column text;
begin
    for old_column in
        select attname from pg_attribute
        where attrelid = 'tasks'::regclass and attname in ('created_at', 'updated_at')
          and atttypid = 'timestamp without time zone'::regtype
    loop
        execute format(
            'alter table tasks alter column %1$I type timestamptz using %1$I at time zone ''UTC''', old_column);
    end loop;
end
$$;

-- The list: a user's tasks, newest first.
create index if not exists tasks_of_user on tasks (user_id, created_at desc, id);

-- Spin's Postgres interface has no type for timestamptz, so instants cross it as microseconds since 1970-01-01 UTC.
-- Both directions are exact over the whole range of RFC 3339 (years 0000 to 9999).
create or replace function to_micros(instant timestamptz) returns bigint
    language sql stable strict parallel safe
    return (extract(epoch from instant) * 1000000)::bigint;

create or replace function from_micros(micros bigint) returns timestamptz
    language sql stable strict parallel safe
    return timestamptz 'epoch' + (micros / 1000000) * interval '1 second'
                               + (micros % 1000000) * interval '1 microsecond';
