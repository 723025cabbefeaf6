-- Every event once: `source` and `id` together name it (CloudEvents 1.0 §3.1).
create table if not exists events (
    source      text        not null,
    id          text        not null,
    topic       text        not null,
    sequence    bigint      not null,
    event       jsonb       not null,
    received_at timestamptz not null default now(),
    primary key (source, id)
);

-- How far each user's stream has got on each topic.
create table if not exists streams (
    source   text   not null,
    topic    text   not null,
    sequence bigint not null,
    primary key (source, topic)
);
