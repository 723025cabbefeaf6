//! What the migrations' Job runs (deploy/postgres/migrate) does the same as `cargo xtask`, on the same databases.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::Setup;
use crate::harness::checkout::Checkout;
use crate::harness::database::{Database, MIGRATOR};
use crate::harness::environment::{directory, root};

fn run(database: &Database, migrations: &Path) -> Output {
    Command::new("bash")
        .arg(root().join("deploy/postgres/migrate/migrate.sh"))
        .env("DATABASE_URL", database.url_of(MIGRATOR))
        .env("MIGRATIONS", migrations)
        .output()
        .unwrap()
}

/// What it printed, when it went well.
#[track_caller]
fn succeed(database: &Database, migrations: &Path) -> String {
    let output = run(database, migrations);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn records(database: &Database) -> Vec<(i32, String, String)> {
    let sql = "SELECT version, name, checksum FROM schema_migrations ORDER BY version";
    let rows = database.client().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test]
async fn an_empty_database_becomes_one_that_the_app_works_on() {
    let database = Database::empty();
    let migrations = root().join("migrations");
    let said = succeed(&database, &migrations);
    let applied = said.lines().filter(|line| line.starts_with("applied ")).count();
    assert_eq!(applied, records(&database).await.len());
    assert_eq!(succeed(&database, &migrations).trim(), "the database is up to date", "a second time");

    assert_eq!(database.migrate(), 0, "cargo xtask finds nothing to do");
    assert_eq!(records(&database).await, records(&Database::migrated()).await);
    Setup::new().database(database).start().user().create("On what the Job has made").await;
}

#[tokio::test]
async fn what_the_tools_have_migrated_is_up_to_date() {
    let database = Database::empty();
    let migrate = || {
        let output = Checkout::new()
            .xtask()
            .arg("migrate")
            .env("DATABASE_URL", database.url_of(MIGRATOR))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(migrate().starts_with("applied 0001_tasks.sql\n"));
    assert_eq!(migrate().trim(), "the database is up to date", "a second time");
    assert_eq!(records(&database).await, records(&Database::migrated()).await);
    let said = succeed(&database, &root().join("migrations"));
    assert_eq!(said.trim(), "the database is up to date", "the Job");
}

#[tokio::test]
async fn a_migration_that_was_changed_is_refused_and_nothing_is_applied() {
    let database = Database::empty();
    let copy = directory("migrations");
    for file in ["0001_tasks.sql", "0002_outbox.sql"] {
        fs::copy(root().join("migrations").join(file), copy.join(file)).unwrap();
    }
    // The rights are for what later migrations create, too.
    assert!(!run(&database, &copy).status.success());
    assert_eq!(records(&database).await.len(), 2);
    fs::write(copy.join("0001_tasks.sql"), "select 1;").unwrap();
    fs::write(copy.join("0003_new.sql"), "create table new (a text);").unwrap();
    let refused = run(&database, &copy);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("0001_tasks.sql was changed after it was applied"), "{said}");
    assert_eq!(records(&database).await.len(), 2);
}
