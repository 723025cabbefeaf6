//! What one user does too much of is not felt by others. How much of it is felt in their waiting times, `cargo xtask bench
//! abuse` measures.

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::Setup;

/// More than a component has connections to the database, which are 64.
const AT_ONCE: usize = 100;

/// An instance serves 16 requests, so there are 7 or a few more, and each has one of the user's mutations at the database.
const FEW: i64 = 32;

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
    let watch = app.database.client().await;
    let (mut most, mut others) = (0, 0);
    // None of them gets the lock, so that each ends when its time is over.
    while !mutations.is_empty() {
        let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        let waiting: i64 = watch.query_one(sql, &[]).await.unwrap().get(0);
        most = most.max(waiting);
        if waiting > 1 {
            other.create("Does not wait for them").await;
            others += 1;
        }
        while let Some(answer) = mutations.try_join_next() {
            answer.unwrap().database_unavailable();
        }
    }
    lock.rollback().await.unwrap();
    assert!((2..FEW).contains(&most), "{most} connections at once waited for the lock");
    assert_eq!((hog.list().await.len(), other.list().await.len()), (1, others));
    hog.create("With the lock").await;
}
