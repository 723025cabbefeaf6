//! `/api/v1/tasks/{id}/complete`.

use reqwest::Method;
use serde_json::json;

use crate::harness::answer::{Answer, id, instant};
use crate::harness::{Route, shared};

#[tokio::test]
async fn a_completed_task_keeps_its_other_fields() {
    let app = shared();
    let user = app.user();
    let before = user.create_due("Pay rent", "2027-01-31T12:00:00Z").await;
    let after = user.task_after(Route::Complete, &id(&before)).await;
    assert_eq!(after["completed"], true);
    for field in ["id", "title", "created_at", "due_date"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert!(instant(&after["updated_at"]) > instant(&before["updated_at"]));
    assert_eq!(user.read(&id(&before)).await, after);
}

#[tokio::test]
async fn completing_twice_is_the_same_as_once() {
    let app = shared();
    let user = app.user();
    let task = user.new_task_id().await;
    let once = user.task_after(Route::Complete, &task).await;
    assert_eq!(user.task_after(Route::Complete, &task).await, once);
}

#[tokio::test]
async fn a_body_is_not_needed_and_not_looked_at() {
    let app = shared();
    let user = app.user();
    let path = Route::Complete.path(&user.new_task_id().await);
    let request = user.request(Method::POST, &path).header("content-type", "text/plain").body("{ not JSON");
    assert_eq!(Answer::to(request).await.task(200)["completed"], true);
}

#[tokio::test]
async fn a_task_completed_by_a_change_is_completed() {
    let app = shared();
    let user = app.user();
    let task = user.new_task_id().await;
    let changed = user.update(&task, &json!({"completed": true})).await;
    assert_eq!(user.task_after(Route::Complete, &task).await, changed);
}
