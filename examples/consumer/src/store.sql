-- Stores an event unless it is there already, in one statement, so that a crash leaves all or nothing.
-- $1 source, $2 id, $3 topic, $4 sequence, $5 the event
-- Returns the sequence number of the topic's event before this one, 0 for the first; no row for a repeated event.
with stored as (
    insert into events (source, id, topic, sequence, event)
    values ($1, $2, $3, $4, $5)
    on conflict (source, id) do nothing
    returning source, topic, sequence
), before as (
    select sequence from streams where source = $1 and topic = $3
), advanced as (
    insert into streams (source, topic, sequence)
    select source, topic, sequence from stored
    on conflict (source, topic) do update set sequence = greatest(streams.sequence, excluded.sequence)
)
select coalesce((select sequence from before), 0)
from stored
