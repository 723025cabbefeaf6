-- What the app may do: exactly what its statements do (components/shared/src/sql). Its functions run with the rights of their
-- caller, so it needs those on the tables, too. The owner of the tables runs this after the migrations, every time.

begin;

revoke all on tasks, user_streams, task_changes, parked_events, delivery_counts, schema_migrations from taskcast_app, taskcast_monitor;
revoke all on sequence drain_until, relay_called_at from taskcast_app, taskcast_monitor;

grant select, insert, update, delete on tasks to taskcast_app;
-- A user's stream is never deleted, and a change never altered.
grant select, insert, update on user_streams to taskcast_app;
grant select, insert, delete on task_changes to taskcast_app;
grant select, insert, update, delete on parked_events to taskcast_app;
grant select, insert, update on delivery_counts to taskcast_app;
-- Their values are read and set (setval), never counted up.
grant select, update on sequence drain_until, relay_called_at to taskcast_app;

-- What `cargo xtask outbox status` and `list` read, and the autoscaler. No titles.
grant select on user_streams, delivery_counts to taskcast_monitor;
grant select (user_id, sequence, task_id, action, due_date, due_date_changed, changed_at, correlation_id)
    on task_changes to taskcast_monitor;
grant select (id, topic, error, parked_at, requeued_at, user_id, sequence, task_id, action)
    on parked_events to taskcast_monitor;

-- Only the owner's own functions: those of an extension are none of our business.
do $$
declare
    own regprocedure;
begin
    for own in
        select oid from pg_proc
        where pronamespace = 'public'::regnamespace and prokind = 'f' and pg_get_userbyid(proowner) = current_user
    loop
        execute format('revoke execute on function %s from public', own);
        execute format('grant execute on function %s to taskcast_app', own);
    end loop;
end
$$;

-- What a later migration creates can be used from the moment on when it commits; this file then narrows it down.
alter default privileges revoke execute on functions from public;
alter default privileges in schema public grant execute on functions to taskcast_app;
alter default privileges in schema public grant select, insert, update, delete on tables to taskcast_app;
alter default privileges in schema public grant select, update on sequences to taskcast_app;

commit;
