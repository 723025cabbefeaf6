-- $1 the pass, as JSON: migrations/0012_delivery.sql describes it
select next_pass($1::text::jsonb)
