//! What one user does too much of is not felt by others. How much of it is felt in their waiting times, `cargo xtask bench
//! abuse` measures.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::harness::answer::Answer;
use crate::harness::database::{Database, waiting_for_locks};
use crate::harness::{Route, Setup};

/// A component's connections to the database.
const CONNECTIONS: i64 = 64;

/// More than these.
const REQUESTS: usize = 80;

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
            most = most.max(waiting_for_locks(&client).await);
        }
    };
    tokio::select! {
        () = look => {}
        () = stop => {}
    }
    most
}

/// Sends so many requests without waiting for their answers.
async fn send_many<F>(request: impl Fn(usize) -> F) -> JoinSet<Answer>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let (mut requests, mut ticks) = (JoinSet::new(), interval(EVERY));
    for number in 0..REQUESTS {
        ticks.tick().await;
        requests.spawn(request(number));
    }
    requests
}

async fn assert_all_unavailable(requests: JoinSet<Answer>) {
    for answer in requests.join_all().await {
        answer.database_unavailable();
    }
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
        let create = |number| {
            let hog = hog.clone();
            async move { hog.post_task(&json!({"title": format!("Number {number}")})).await }
        };
        let mutations = send_many(create).await;
        other.create("Does not wait for them").await;
        assert_all_unavailable(mutations).await;
    };
    let most = most_waiting(&app.database, calls).await;
    lock.rollback().await.unwrap();
    assert!((1..CONNECTIONS).contains(&most), "{most} connections at once waited for the lock");
    assert_eq!((hog.list().await.len(), other.list().await.len()), (1, 1));
}

/// Each of the reads waits for the table until its time is over, as anybody else's would.
#[tokio::test]
async fn one_users_reads_leave_the_others_a_connection() {
    let app = Setup::new().start();
    let hog = app.user();
    let task = hog.new_task_id().await;
    let mut locker = app.database.client().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE tasks").await.unwrap();
    let calls = async {
        let read = |_| {
            let (hog, task) = (hog.clone(), task.clone());
            async move { hog.call(Route::Read, &task).await }
        };
        assert_all_unavailable(send_many(read).await).await;
    };
    let most = most_waiting(&app.database, calls).await;
    lock.rollback().await.unwrap();
    assert!((1..CONNECTIONS).contains(&most), "{most} connections at once waited for the table");
    hog.read(&task).await;
}
