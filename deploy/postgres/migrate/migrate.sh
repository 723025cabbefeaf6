#!/usr/bin/env bash
# Applies the migrations that are missing, with the lock and the records of `cargo xtask` (dev/stack/src/database.rs), so that
# both can be used on the same database, and then grants.sql. Everything in one psql session, because the lock lives as
# long as the session. Needs DATABASE_URL, of the role that owns the tables.
set -euo pipefail
shopt -s inherit_errexit
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "${MIGRATIONS:-/migrations}"

line() { printf '%s\n' "$@"; }

script() {
  line 'set client_min_messages = warning;' \
    'select pg_advisory_lock(7883946363647714560) \g /dev/null' \
    'create table if not exists schema_migrations (version integer primary key, name text not null,' \
    'checksum text not null, applied_at timestamptz not null default now());'
  local file number checksum
  for file in *.sql; do
    number=${file%%_*}
    if [[ ! $file =~ ^[0-9]+_[A-Za-z0-9._-]*$ ]]; then
      line "$file is not named like a migration: 0002_what_it_does.sql" >&2
      return 1
    fi
    checksum=$(sha256sum "$file")
    checksum=${checksum%% *}
    number=$((10#$number))
    line "select count(*) = 0 as missing, count(*) filter (where checksum <> '$checksum') > 0 as changed" \
      "from schema_migrations where version = $number \\gset" \
      '\if :changed' \
      "do 'begin raise exception \$\$$file was changed after it was applied to this database\$\$; end';" \
      '\endif' \
      '\if :missing' 'begin;' "\\i $file" \
      "insert into schema_migrations (version, name, checksum) values ($number, '$file', '$checksum');" \
      'commit;' "\\echo applied $file" '\endif'
  done
  line "\\i $here/grants.sql" '\echo the database is up to date'
}

# Complete before psql begins: it would otherwise run the half of a script that failed.
text=$(script)
line "$text" | psql --no-psqlrc --quiet --tuples-only --no-align --no-password \
  --set ON_ERROR_STOP=1 --dbname "$DATABASE_URL"
