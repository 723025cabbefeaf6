-- $1 how many users, $2 how many changes of each, $3 the lease in milliseconds. As `next_pass` returns it
select format(
           '{"promised_until":null,"running":[],"left":[],"unsettled":[],"claims":[%s]}',
           string_agg(format('{"goes_on":true,%s}', claim), ','))
from claim_changes('{}', $1, '-infinity', 'infinity', $2, $3) as claim
