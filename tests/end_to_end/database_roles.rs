//! The database's roles can do what they are for (deploy/postgres), and nothing else. Every app of this suite runs with
//! the app's role, so that the other tests show that its rights are enough.

use tokio_postgres::error::SqlState;

use crate::harness::database::{APP, Database, MONITOR};
use crate::harness::{Setup, wait};

/// What an intruder who has the app's password must not be able to do.
const BEYOND_THE_APP: [&str; 15] = [
    "DROP TABLE tasks",
    "DROP FUNCTION all_have_committed()",
    "TRUNCATE tasks",
    "TRUNCATE task_changes",
    "ALTER TABLE tasks ADD COLUMN a text",
    "DELETE FROM user_streams",
    "DELETE FROM delivery_counts",
    "UPDATE task_changes SET title = ''",
    "SELECT * FROM schema_migrations",
    "SELECT * FROM elsewhere.secrets",
    "CREATE TABLE a (b text)",
    "CREATE TEMPORARY TABLE a (b text)",
    "CREATE SCHEMA a",
    "CREATE ROLE a",
    "SELECT pg_read_file('PG_VERSION')",
];

/// The contents of tasks are none of a monitor's business, and it changes nothing.
const BEYOND_THE_MONITOR: [&str; 6] = [
    "SELECT title FROM task_changes",
    "SELECT title FROM parked_events",
    "SELECT * FROM tasks",
    "UPDATE user_streams SET claimable_at = NULL",
    "DELETE FROM parked_events",
    "SELECT left_to_drain()",
];

async fn assert_refused(database: &Database, role: &str, statements: &[&str]) {
    let client = database.client_of(role).await;
    for statement in statements {
        let error = client.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{role}: {statement}: {error}");
    }
}

#[tokio::test]
async fn the_apps_role_can_do_no_more_than_the_app() {
    let database = Database::migrated();
    database.execute("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.secrets (a text)").await;
    assert_refused(&database, APP, &BEYOND_THE_APP).await;
}

#[tokio::test]
async fn the_monitors_role_reads_what_is_pending_and_no_titles() {
    let database = Database::migrated();
    let monitor = database.client_of(MONITOR).await;
    for statement in ["SELECT * FROM user_streams", "SELECT user_id, sequence, task_id FROM task_changes"] {
        monitor.batch_execute(statement).await.expect(statement);
    }
    assert_refused(&database, MONITOR, &BEYOND_THE_MONITOR).await;
}

#[tokio::test]
async fn the_apps_of_this_suite_have_the_apps_role() {
    let app = Setup::new().start();
    app.user().create("Made with few rights").await;
    let sql = "SELECT DISTINCT usename::text FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND client_port IS NOT NULL";
    let rows = app.database.client().await.query(sql, &[]).await.unwrap();
    let roles: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(roles, [APP]);
}

/// Whoever may connect can take an advisory lock.
#[tokio::test]
async fn a_role_without_rights_holds_up_no_mutation() {
    let app = Setup::new().with_dapr().start();
    let client = app.database.client_of(MONITOR).await;
    let left_to_drain = "SELECT pg_advisory_lock(8386110886206600052)";
    client.batch_execute(left_to_drain).await.unwrap();
    let user = app.user();
    user.create("While it is held").await;
    app.database.wait_delivered(user.id, wait::SOON).await;
}
