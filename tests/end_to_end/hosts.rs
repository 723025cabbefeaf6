//! The host's part of the work, which Spin and the embedded host must do in the same way: it decides which servers a
//! component may reach, and how many connections to PostgreSQL the components hold.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::interval;

use crate::database_faults::assert_survives_a_cut;
use crate::harness::database::Database;
use crate::harness::environment::{directory, root};
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{App, Own, Route, Setup, wait};

const HTTP: &str = "[outbound_http]\nconnection_pooling = true\n";

/// A copy of the repository's manifest with `allowed` in place of each component's allowed hosts, if given, beside a
/// runtime configuration of its own.
fn manifest(allowed: Option<&str>, runtime_config: &str) -> PathBuf {
    let text = fs::read_to_string(root().join("spin.toml")).unwrap();
    let sources = format!("source = \"{}/target/", root().display());
    let lines = text.lines().map(|line| match allowed {
        Some(hosts) if line.starts_with("allowed_outbound_hosts") => {
            format!("allowed_outbound_hosts = {hosts}")
        }
        _ => line.replacen("source = \"target/", &sources, 1),
    });
    let directory = directory("manifest");
    fs::write(directory.join("spin.toml"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    fs::write(directory.join("runtime-config.toml"), runtime_config).unwrap();
    directory.join("spin.toml")
}

/// Bounds the connections that the components hold at the same time.
fn bounded(max: usize) -> Setup {
    let runtime_config = format!("{HTTP}[outbound_pg]\nmax_connections = {max}\n");
    Setup::new().manifest(manifest(None, &runtime_config))
}

/// Makes every read of a task take this long in the server. The owner of the table is not affected.
async fn slow_down(database: &Database, seconds: f32) {
    let policy = format!("CREATE POLICY slow ON tasks USING (pg_sleep({seconds}) IS NOT NULL)");
    database.execute(&format!("{policy}; ALTER TABLE tasks ENABLE ROW LEVEL SECURITY")).await;
}

/// The largest number of sessions that slept at the same time, until `work` is done.
async fn most_asleep(database: &Database, work: impl Future<Output = ()>) -> i64 {
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let client = database.client().await;
    let mut most = 0;
    let look = async {
        let mut ticks = interval(Duration::from_millis(5));
        loop {
            ticks.tick().await;
            most = most.max(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0));
        }
    };
    tokio::select! {
        () = look => {}
        () = work => {}
    }
    most
}

/// Reads of two components, `tasks` and `task`, of eight users.
async fn read_all(app: &App) {
    let users = app.users(8);
    let ids = join_all(users.iter().map(|user| user.new_task_id())).await;
    slow_down(&app.database, 0.2).await;
    let reads = users.iter().zip(&ids).enumerate().map(|(number, (user, id))| {
        let route = if number % 2 == 0 { Route::List } else { Route::Read };
        async move { assert_eq!(user.call(route, id).await.status, 200, "{route:?}") }
    });
    join_all(reads).await;
}

async fn most_connections_in_use(app: &Own) -> i64 {
    most_asleep(&app.database, read_all(app)).await
}

#[tokio::test]
async fn a_bound_on_connections_holds_for_all_components_together() {
    assert_eq!(most_connections_in_use(&bounded(2).start()).await, 2);
}

#[tokio::test]
async fn without_a_bound_the_components_use_as_many_connections_as_they_have_requests() {
    let most = most_connections_in_use(&Setup::new().manifest(manifest(None, HTTP)).start()).await;
    assert!((3..=8).contains(&most), "{most}");
}

/// Each failure would otherwise take one of the places with it.
#[tokio::test]
async fn a_connection_that_cannot_be_opened_gives_its_place_back() {
    assert_survives_a_cut(&bounded(1).behind_proxy().start()).await;
}

#[tokio::test]
async fn a_database_that_the_manifest_does_not_allow_is_never_reached() {
    let database = Database::migrated();
    // The same server under another name: hosts are compared as texts.
    let other_name = database.host_port().replace("127.0.0.1", "localhost");
    let app = Setup::new().database(database).variable("database_host", other_name).start();
    let user = app.user();
    for route in Route::ALL {
        user.call(route, &uuid::Uuid::new_v4().to_string()).await.database_unavailable();
    }
    assert!(app.log().text().contains("is not permitted"), "{}", app.log().text());
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'taskcast_app'";
    let sessions: i64 = app.database.client().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(sessions, 0);
}

#[tokio::test]
async fn a_sidecar_that_the_manifest_does_not_allow_is_never_reached_and_nobody_notices() {
    let stub = Stub::start(Behaviour::accept());
    let manifest = manifest(Some("[\"postgres://{{ database_host }}\"]"), HTTP);
    let app = Setup::new().manifest(manifest).dapr_url(stub.url()).start();
    let user = app.user();
    let task = user.new_task_id().await;
    wait::until(wait::SOON, "a logged failure", async || {
        (!app.log().failures_of(&task).is_empty()).then_some(())
    })
    .await;
    assert_eq!(app.database.outbox_of(user.id).await, [1]);
    assert!(stub.attempts().is_empty());
}
