-- Leases parked events that an operator wants to be tried again; each with its change, as JSON.
-- $1 how many, $2 the lease in milliseconds: it also keeps an event from being tried again too soon. A lease that ends later was
-- taken before the clock was set back
update parked_events
set lease_until = clock_timestamp() + $2::bigint * interval '1 millisecond'
where id in (
    select id
    from parked_events
    where requeued_at is not null
      and coalesce(lease_until not between now() and now() + $2::bigint * interval '1 millisecond', true)
    order by requeued_at
    limit $1
    for update skip locked
)
returning id, topic, user_id,
          json_build_object(
              'sequence', sequence, 'task_id', task_id, 'action', action, 'title', title, 'completed', completed,
              'due_date', to_micros(due_date), 'title_changed', title_changed,
              'completed_changed', completed_changed, 'due_date_changed', due_date_changed,
              'changed_at', to_micros(changed_at), 'correlation_id', correlation_id, 'traceparent', traceparent,
              'tracestate', tracestate)::text
