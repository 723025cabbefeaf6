//! What one user does too much of is not felt by others. How much of it is felt in their waiting times, `cargo xtask bench
//! abuse` measures.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::harness::Setup;
use crate::harness::database::Database;

/// A component's connections to the database.
const CONNECTIONS: i64 = 64;

/// More than these.
const MUTATIONS: usize = 80;

/// A little apart, so that an instance takes more than one before the next instance starts.
const EVERY: Duration = Duration::from_millis(5);

/// How many sessions wait for a lock, at the most, until it is stopped.
async fn most_waiting(database: &Database, stop: impl Future<Output = ()>) -> i64 {
    let client = database.client().await;
    let mut most = 0;
    let look = async {
        let mut ticks = interval(EVERY);
        loop {
            ticks.tick().await;
            let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            most = most.max(client.query_one(sql, &[]).await.unwrap().get(0));
        }
    };
    tokio::select! {
        () = look => {}
        () = stop => {}
    }
    most
}

/// Each of the mutations waits for its user's lock until its time is over.
#[tokio::test]
async fn one_users_mutations_leave_the_others_a_connection() {
    let app = Setup::new().start();
    let (hog, other) = (app.user(), app.user());
    hog.create("Its stream is there").await;
    let mut locker = app.database.client().await;
    let lock = locker.transaction().await.unwrap();
    let sql = "SELECT FROM user_streams WHERE user_id = $1::text::uuid FOR UPDATE";
    lock.execute(sql, &[&hog.id.to_string()]).await.unwrap();
    let calls = async {
        let (mut mutations, mut ticks) = (JoinSet::new(), interval(EVERY));
        for number in 0..MUTATIONS {
            ticks.tick().await;
            let hog = hog.clone();
            mutations
                .spawn(async move { hog.post_task(&json!({"title": format!("Number {number}")})).await });
        }
        other.create("Does not wait for them").await;
        for answer in mutations.join_all().await {
            answer.database_unavailable();
        }
    };
    let most = most_waiting(&app.database, calls).await;
    lock.rollback().await.unwrap();
    assert!((1..CONNECTIONS).contains(&most), "{most} connections at once waited for the lock");
    assert_eq!((hog.list().await.len(), other.list().await.len()), (1, 1));
}
