//! What one user does too much of is not felt by others. How much of it is felt in their waiting times, `cargo xtask bench
//! abuse` measures.

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Setup, wait};

/// More than a component has connections to the database.
const AT_ONCE: usize = 100;

/// A component has 64 connections, and each of these mutations would wait with one of them for its user's lock.
#[tokio::test]
async fn one_users_mutations_leave_the_others_a_connection() {
    let app = Setup::new().start();
    let (hog, other) = (app.user(), app.user());
    hog.create("Its stream is there").await;
    let mut locker = app.database.client().await;
    let lock = locker.transaction().await.unwrap();
    let sql = "SELECT FROM user_streams WHERE user_id = $1::text::uuid FOR UPDATE";
    lock.execute(sql, &[&hog.id.to_string()]).await.unwrap();
    let mut mutations = JoinSet::new();
    for number in 0..AT_ONCE {
        let hog = hog.clone();
        mutations.spawn(async move { hog.post_task(&json!({"title": format!("Number {number}")})).await });
    }
    // An instance serves 16 requests, so that there are more than four of them.
    let watch = app.database.client().await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    wait::until(wait::SOON, "every instance's mutation that waits for the lock", async || {
        let count: i64 = watch.query_one(waiting, &[]).await.unwrap().get(0);
        (count > 4).then_some(())
    })
    .await;
    other.create("Does not wait for them").await;
    assert!(mutations.try_join_next().is_none(), "the lock was held until then");
    lock.rollback().await.unwrap();
    for answer in mutations.join_all().await {
        answer.task(201);
    }
    assert_eq!(hog.list().await.len(), AT_ONCE + 1);
}
