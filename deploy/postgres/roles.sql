-- The roles of a taskcast database. An administrator runs this in that database before the first migration; again does no
-- harm. It is no migration: roles belong to the server, and the migrator could not create itself.
--
-- taskcast_migrator owns the tables and functions and applies the migrations.
-- taskcast_app is the API and the relay: what it may do is in migrate/grants.sql, which the migrator runs.
-- taskcast_monitor reads what is pending, without titles.
--
-- Without a password, none of them can log in where one is asked for: give each its own with \password in psql.

do $$
declare
    role text;
begin
    foreach role in array array['taskcast_migrator', 'taskcast_app', 'taskcast_monitor'] loop
        if not exists (select from pg_roles where rolname = role) then
            execute format('create role %I login', role);
        end if;
    end loop;
    execute format(
        'grant connect on database %I to taskcast_migrator, taskcast_app, taskcast_monitor', current_database());
    -- Nothing here makes temporary tables.
    execute format('revoke temporary on database %I from public', current_database());
end
$$;

-- Until PostgreSQL 14, everybody might create tables here.
revoke create on schema public from public;
grant usage, create on schema public to taskcast_migrator;
grant usage on schema public to taskcast_app, taskcast_monitor;
