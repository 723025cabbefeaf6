//! An installation that upgrades: its database has the old `users` and `tasks`, with rows in them.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::answer::{AUTHENTICATION, instant};
use crate::harness::database::{Database, MIGRATOR, waiting_for_locks};
use crate::harness::{Own, Route, Setup, wait};

const OWNER: Uuid = Uuid::from_u128(0x0a0a);
const TASK: Uuid = Uuid::from_u128(0x0b0b);

const OLD_TABLES: &str = "
    CREATE TABLE users (id uuid PRIMARY KEY);
    CREATE TABLE tasks (
        id uuid PRIMARY KEY,
        user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        title varchar(500) NOT NULL,
        completed boolean NOT NULL DEFAULT false,
        created_at timestamp NOT NULL,
        updated_at timestamp NOT NULL
    );
    INSERT INTO users VALUES ('00000000-0000-0000-0000-000000000a0a');
    INSERT INTO tasks VALUES (
        '00000000-0000-0000-0000-000000000b0b', '00000000-0000-0000-0000-000000000a0a',
        'From before', true, '2025-02-03 04:05:06.789', '2025-03-04 05:06:07'
    );";

async fn upgraded(timestamps: &str) -> Own {
    let database = Database::empty();
    let tables = OLD_TABLES.replace(" timestamp ", &format!(" {timestamps} "));
    database.client_of(MIGRATOR).await.batch_execute(&tables).await.unwrap();
    database.migrate();
    Setup::new().with_dapr().database(database).start()
}

async fn assert_old_row_is_served(timestamps: &str) {
    let app = upgraded(timestamps).await;
    let task = app.user_with_id(OWNER).read(&TASK.to_string()).await;
    assert_eq!((&task["title"], &task["completed"]), (&json!("From before"), &json!(true)));
    assert_eq!(instant(&task["created_at"]), instant(&json!("2025-02-03T04:05:06.789Z")));
    assert_eq!(instant(&task["updated_at"]), instant(&json!("2025-03-04T05:06:07Z")));
    assert_eq!(task.get("due_date"), None);
    assert_eq!(app.user_with_id(OWNER).list().await, [task]);
}

#[tokio::test]
async fn the_old_rows_are_served_when_their_times_had_no_zone() {
    assert_old_row_is_served("timestamp").await;
}

#[tokio::test]
async fn the_old_rows_are_served_when_their_times_had_a_zone() {
    assert_old_row_is_served("timestamptz").await;
}

/// Whoever deletes an account, with its tasks by cascade, takes locks in another order than mutations: one of them has to end.
#[tokio::test]
async fn a_mutation_that_ends_a_deadlock_may_be_tried_again() {
    let app = upgraded("timestamptz").await;
    let user = app.user_with_id(OWNER);
    let (watcher, deletion) = (app.database.client().await, app.database.client().await);
    let wait_for = async |count: i64| {
        wait::until(wait::SOON, &format!("{count} sessions that wait"), async || {
            (waiting_for_locks(&watcher).await == count).then_some(())
        })
        .await;
    };
    deletion
        .batch_execute("SET deadlock_timeout = '1min'; BEGIN; SELECT FROM users FOR UPDATE")
        .await
        .unwrap();
    let call = |route: Route| {
        let user = user.clone();
        tokio::spawn(async move { user.call(route, &TASK.to_string()).await })
    };
    let creation = call(Route::Create);
    wait_for(1).await;
    let completion = call(Route::Complete);
    wait_for(2).await;
    deletion.batch_execute("DELETE FROM tasks; ROLLBACK").await.unwrap();
    let answers = [creation.await.unwrap(), completion.await.unwrap()];
    let (ended, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 503);
    assert_eq!((ended.len(), others.len()), (1, 1));
    ended[0].database_unavailable();
    assert!(others[0].status == 201 || others[0].status == 200, "{}", others[0].status);
    user.create("After the deadlock").await;
}

#[tokio::test]
async fn a_user_without_a_row_in_users_is_not_found() {
    let app = upgraded("timestamptz").await;
    let stranger = app.user();
    let answer = stranger.post_task(&json!({"title": "A"})).await;
    answer.plain_error(401, AUTHENTICATION, "User not found");
    assert_eq!(stranger.list().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_refused_user_leaves_nothing_in_the_outbox() {
    let app = upgraded("timestamptz").await;
    let stranger = app.user();
    assert_eq!(stranger.post_task(&json!({"title": "A"})).await.status, 401);
    assert_eq!(app.database.outbox_of(stranger.id).await, Vec::<i64>::new());
}

#[tokio::test]
async fn old_and_new_tasks_can_be_changed_and_their_events_start_at_one() {
    let app = upgraded("timestamptz").await;
    let user = app.user_with_id(OWNER);
    user.update(&TASK.to_string(), &json!({"title": "From now", "due_date": "2027-01-01T00:00:00Z"})).await;
    user.create("New").await;
    user.call(Route::Delete, &TASK.to_string()).await.ok(200);
    assert_eq!(app.heard(&user).await.sentinel, 4);
}

/// An upgrade migrates while the version before it serves.
#[tokio::test]
async fn mutations_do_not_wait_for_a_session_that_migrates() {
    let app = Setup::new().start();
    let migrating = app.database.client().await;
    let lock = format!("select pg_advisory_lock({})", stack::database::MIGRATION_LOCK);
    migrating.batch_execute(&lock).await.unwrap();
    tokio::time::timeout(wait::SOON, app.user().create("Made meanwhile")).await.expect("not to wait");
}

/// An old installation may have columns of its own, of types that PostgreSQL can't compare.
#[tokio::test]
async fn columns_of_others_are_left_alone() {
    let app = upgraded("timestamptz").await;
    let column = r#"ALTER TABLE tasks ADD COLUMN labels json; UPDATE tasks SET labels = '["old"]'"#;
    app.database.execute(column).await;
    let user = app.user_with_id(OWNER);
    let task = user.update(&TASK.to_string(), &json!({"title": "Patched"})).await;
    assert_eq!(task["title"], "Patched");
    let labels = "SELECT labels::text FROM tasks";
    assert_eq!(
        app.database.client().await.query_one(labels, &[]).await.unwrap().get::<_, &str>(0),
        r#"["old"]"#
    );
}
