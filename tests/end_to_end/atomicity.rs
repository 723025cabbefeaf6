//! A task and its change are of one transaction, as PostgreSQL itself says: by the `xmin` of their rows.

use serde_json::json;
use stack::Atomicity;

use crate::harness::database::Database;
use crate::harness::{Route, Setup};

fn look(database: &Database) -> Atomicity {
    Atomicity::look(database.url()).unwrap()
}

/// Nothing is delivered here, so that every change stays in the outbox.
#[tokio::test]
async fn every_mutation_writes_its_task_and_its_change_in_one_transaction() {
    let app = Setup::new().start();
    let user = app.user();
    let mut compared = 0;
    for route in [Route::Update, Route::Complete, Route::Uncomplete, Route::Delete] {
        let task = user.new_task_id().await;
        compared += 1;
        assert_eq!(look(&app.database), Atomicity { compared, torn: Vec::new() }, "created");
        user.call(route, &task).await.ok(200);
        assert_eq!(look(&app.database), Atomicity { compared, torn: Vec::new() }, "{route:?}");
    }
    let task = user.new_task_id().await;
    user.patch(&task, &json!({})).await.ok(200);
    let unchanged = look(&app.database);
    assert_eq!(unchanged, Atomicity { compared: compared + 1, torn: Vec::new() }, "a change of no value");
}

/// Without this, the oracle could be blind.
#[tokio::test]
async fn a_task_that_another_transaction_wrote_is_found() {
    let app = Setup::new().start();
    let user = app.user();
    let [updated, deleted, kept] =
        [user.new_task_id().await, user.new_task_id().await, user.new_task_id().await];
    app.database.execute(&format!("UPDATE tasks SET title = 'Elsewhere' WHERE id = '{updated}'")).await;
    app.database.execute(&format!("DELETE FROM tasks WHERE id = '{deleted}'")).await;
    let Atomicity { compared, torn } = look(&app.database);
    assert_eq!((compared, torn.len()), (3, 2), "{torn:?}");
    let names = |task: &str| torn.iter().any(|change| change.contains(task));
    assert!(names(&updated) && names(&deleted) && !names(&kept), "{torn:?}");
}
