//! What one user does too much of is not felt by others. How much of it is felt in their waiting times, `cargo xtask bench
//! abuse` measures.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
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

/// Answered while the other user's requests, which have just been sent, still wait: they do for 3 s and more.
async fn assert_at_once(request: impl Future<Output = Value>) {
    let started = Instant::now();
    request.await;
    assert!(started.elapsed() < Duration::from_secs(2), "it took {:?}", started.elapsed());
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
        assert_at_once(other.create("Does not wait for them")).await;
        assert_all_unavailable(mutations).await;
    };
    let most = most_waiting(&app.database, calls).await;
    lock.rollback().await.unwrap();
    assert!((1..CONNECTIONS).contains(&most), "{most} connections at once waited for the lock");
    assert_eq!((hog.list().await.len(), other.list().await.len()), (1, 1));
}

/// Has each read of this task wait for a lock that the test holds, as a read does that PostgreSQL is slow to answer.
async fn slow_down_reads_of(database: &Database, task: &str) {
    let sql = format!(
        "CREATE TABLE slow_tasks (id uuid PRIMARY KEY);
         INSERT INTO slow_tasks VALUES ('{task}');
         ALTER FUNCTION read_task(uuid) RENAME TO read_task_at_once;
         CREATE FUNCTION read_task(of_task uuid) RETURNS TABLE (
             user_id uuid, title text, completed boolean, due_date bigint, created_at bigint, updated_at bigint
         ) LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
             PERFORM FROM slow_tasks WHERE id = of_task FOR UPDATE;
             RETURN QUERY SELECT * FROM read_task_at_once(of_task);
         END
         $$"
    );
    database.execute(&sql).await;
}

/// Each of the reads waits until its time is over.
#[tokio::test]
async fn one_users_reads_leave_the_others_a_connection() {
    let app = Setup::new().start();
    let (hog, other) = (app.user(), app.user());
    let (task, others_task) = (hog.new_task_id().await, other.new_task_id().await);
    slow_down_reads_of(&app.database, &task).await;
    let mut locker = app.database.client().await;
    let lock = locker.transaction().await.unwrap();
    lock.batch_execute("SELECT FROM slow_tasks FOR UPDATE").await.unwrap();
    let calls = async {
        let read = |_| {
            let (hog, task) = (hog.clone(), task.clone());
            async move { hog.call(Route::Read, &task).await }
        };
        let reads = send_many(read).await;
        assert_at_once(other.read(&others_task)).await;
        assert_all_unavailable(reads).await;
    };
    let most = most_waiting(&app.database, calls).await;
    lock.rollback().await.unwrap();
    assert!((1..CONNECTIONS).contains(&most), "{most} connections at once waited for the lock");
    hog.read(&task).await;
}
