//! The migrations' Job does what `cargo xtask` does: with the same files, the same lock and the same records.

use std::collections::BTreeSet;

use anyhow::Result;
use stack::database::{MIGRATION_LOCK, MIGRATIONS_TABLE};

use super::Manifests;
use super::findings::Findings;
use super::json::entries;

const DIRECTORY: &str = "migrations";
const SOURCE: &str = "dev/stack/src/database.rs";

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) -> Result<()> {
    let Some(target) = manifests.kustomization("postgres/migrate", findings) else { return Ok(()) };
    let maps = target.of_kind("ConfigMap");
    let files = maps.flat_map(|map| entries(&map.value, "/data").map(|(name, _)| name));
    let (given, others): (BTreeSet<&str>, BTreeSet<&str>) = files
        .partition(|name| name.ends_with(".sql") && name.starts_with(|first: char| first.is_ascii_digit()));
    let names = manifests.names_in(DIRECTORY)?;
    let written: BTreeSet<String> = names.into_iter().filter(|name| name.ends_with(".sql")).collect();
    for name in written.iter().filter(|name| !given.contains(name.as_str())) {
        findings.add(
            "migrations/kustomization.yaml",
            format!("does not list {name}, so that the Job would not apply it: add it"),
        );
    }
    for name in given.iter().filter(|name| !written.contains(**name)) {
        findings
            .add(&target.path, format!("has the migration {name}, which is not in {DIRECTORY}: remove it"));
    }
    if !others.contains("grants.sql") {
        findings.add(&target.path, "has no grants.sql, so that the app may do nothing: add it");
    }
    check_script(manifests, findings)
}

fn check_script(manifests: &Manifests<'_>, findings: &mut Findings) -> Result<()> {
    let file = format!("{}/postgres/migrate/migrate.sh", manifests.directory);
    let script = plain(&manifests.read(&file)?);
    if !script.contains(&format!("select pg_advisory_lock({MIGRATION_LOCK})")) {
        findings.add(&file, format!("must take the lock {MIGRATION_LOCK}, as {SOURCE} does"));
    }
    if !script.contains(&plain(MIGRATIONS_TABLE)) {
        findings.add(&file, format!("must create schema_migrations as {SOURCE} does"));
    }
    Ok(())
}

/// A script's text without its quotes and line breaks.
fn plain(text: &str) -> String {
    text.replace(['\'', '\\'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_not_the_one_that_mutations_take() {
        let migration = include_str!("../../../../migrations/0006_shared_drain.sql");
        assert!(migration.contains("pg_advisory_xact_lock_shared("));
        assert!(!migration.contains(&MIGRATION_LOCK.to_string()));
    }

    #[test]
    fn a_statement_is_found_in_a_script_that_quotes_it_line_by_line() {
        assert_eq!(plain("line 'create table a' \\\n    '(b int);'"), "line create table a (b int);");
    }
}
