//! A database that cannot be reached, never answers, is locked, slow or only reads.

use std::time::{Duration, Instant};

use crate::harness::database::{Database, waiting_for_locks};
use crate::harness::{Own, Route, Setup, User, wait};

/// How long a call may take whatever the database does: what a statement is given, and what a busy machine adds.
const LONGEST_CALL: Duration = Duration::from_secs(8);

/// The task's event is settled, too: a lease that is left over would hold up what comes after.
async fn user_with_a_task(app: &Own) -> (User, String) {
    let user = app.user();
    let id = user.new_task_id().await;
    app.database.wait_delivered(user.id, wait::SOON).await;
    (user, id)
}

async fn count(app: &Own, sql: &str) -> i64 {
    app.database.client().await.query_one(sql, &[]).await.unwrap().get(0)
}

/// Calls every route at once; each must say in time that the database is not available.
async fn assert_unavailable_in_time(user: &User, id: &str) {
    let started = Instant::now();
    let calls = Route::ALL.map(|route| user.call(route, id));
    for answer in futures::future::join_all(calls).await {
        answer.database_unavailable();
    }
    assert!(started.elapsed() < LONGEST_CALL, "{:?}", started.elapsed());
}

/// Waits until the API works again; then every route does.
async fn assert_recovers(app: &Own, user: &User, id: &str) {
    wait::until(wait::SOON, "the API after the database is back", async || {
        (user.call(Route::Read, id).await.status == 200).then_some(())
    })
    .await;
    for route in Route::ALL {
        assert_eq!(user.call(route, id).await.status, route.success(), "{route:?}");
    }
    assert_eq!(app.heard(user).await.sentinel, 7, "no failed request took a number");
}

#[tokio::test]
async fn without_a_database_every_route_says_so_and_recovers() {
    assert_survives_a_cut(&Setup::new().behind_proxy().start()).await;
}

/// While the road to its database is cut, each route of the app says so; afterwards each works.
pub(crate) async fn assert_survives_a_cut(app: &Own) {
    let user = app.user();
    let id = user.new_task_id().await;
    app.proxy().cut();
    for route in Route::ALL {
        user.call(route, &id).await.database_unavailable();
    }
    app.proxy().mend();
    wait::until(wait::SOON, "the API after the database is back", async || {
        (user.call(Route::Read, &id).await.status == 200).then_some(())
    })
    .await;
    for route in Route::ALL {
        assert_eq!(user.call(route, &id).await.status, route.success(), "{route:?}");
    }
}

#[tokio::test]
async fn a_cut_between_two_requests_is_noticed_by_the_first_one_at_most() {
    let app = Setup::new().behind_proxy().start();
    let user = app.user();
    let id = user.new_task_id().await;
    for route in Route::ALL {
        user.call(route, &user.new_task_id().await).await;
    }
    app.proxy().cut();
    app.proxy().mend();
    wait::until(wait::SOON, "an answer from the database", async || {
        (user.call(Route::Read, &id).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(user.call(Route::Read, &id).await.status, 200);
}

#[tokio::test]
async fn a_database_that_was_away_loses_no_events() {
    let app = Setup::new().with_dapr().behind_proxy().start();
    let user = app.user();
    user.create("Before").await;
    // Settled, too: a lease that is left over would hold up what comes after.
    app.database.wait_delivered(user.id, wait::SOON).await;
    app.proxy().cut();
    assert_eq!(user.call(Route::Create, "").await.status, 503);
    app.proxy().mend();
    wait::until(wait::SOON, "the API after the database is back", async || {
        (user.call(Route::List, "").await.status == 200).then_some(())
    })
    .await;
    user.create("After").await;
    assert_eq!(app.heard(&user).await.sentinel, 3, "the failed request took no number");
}

#[tokio::test]
async fn a_database_that_never_answers_is_unavailable() {
    let app = Setup::new().with_dapr().behind_proxy().start();
    let (user, id) = user_with_a_task(&app).await;
    app.proxy().silence();
    assert_unavailable_in_time(&user, &id).await;
    app.proxy().mend();
    assert_recovers(&app, &user, &id).await;
}

#[tokio::test]
async fn a_lock_that_nobody_gives_back_piles_up_no_requests() {
    let app = Setup::new().with_dapr().start();
    let (user, id) = user_with_a_task(&app).await;
    let mut locker = app.database.client().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert_unavailable_in_time(&user, &id).await;
    let waiting = waiting_for_locks(&app.database.client().await).await;
    assert_eq!(waiting, 0, "nobody waits any longer, in the server either");
    lock.rollback().await.unwrap();
    assert_recovers(&app, &user, &id).await;
}

/// Each row takes a minute, for everybody but the owner of the table.
#[tokio::test]
async fn slow_statements_pile_up_no_requests() {
    let app = Setup::new().with_dapr().start();
    let (user, id) = user_with_a_task(&app).await;
    let slow = "CREATE POLICY slow ON tasks USING (pg_sleep(60) IS NOT NULL); ALTER TABLE tasks ENABLE ROW LEVEL SECURITY";
    app.database.execute(slow).await;
    assert_unavailable_in_time(&user, &id).await;
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    assert_eq!(count(&app, sleeping).await, 0, "nothing goes on in the server");
    app.database.execute("ALTER TABLE tasks DISABLE ROW LEVEL SECURITY").await;
    assert_recovers(&app, &user, &id).await;
}

#[tokio::test]
async fn a_server_that_only_reads_is_unavailable_to_mutations() {
    let database = Database::migrated();
    let sql = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$";
    database.execute(sql).await;
    let app = Setup::new().database(database).start();
    let user = app.user();
    user.call(Route::Create, "").await.database_unavailable();
    assert_eq!(user.call(Route::List, "").await.status, 200);
}

/// An administrator, a fail-over or a time-out ends a session while its statement waits: the server's answer is the session's last.
#[tokio::test]
async fn a_session_that_the_server_has_ended_is_not_used_again() {
    let app = Setup::new().start();
    let user = app.user();
    let id = user.new_task_id().await;
    let client = app.database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let waiting = tokio::spawn({
        let (user, id) = (user.clone(), id.clone());
        async move { user.call(Route::Complete, &id).await }
    });
    let administrator = app.database.client().await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait::until(wait::SOON, "a session that waits", async || {
        (administrator.query_one(end, &[]).await.unwrap().get::<_, i64>(0) > 0).then_some(())
    })
    .await;
    waiting.await.unwrap().database_unavailable();
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(user.call(Route::Complete, &id).await.status, 200, "at once, on another session");
}
