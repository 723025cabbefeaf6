//! `/api/v1/tasks/{id}/uncomplete`.

use crate::harness::answer::{id, instant};
use crate::harness::{Route, shared};

#[tokio::test]
async fn an_uncompleted_task_is_open_again() {
    let app = shared();
    let user = app.user();
    let task = user.new_task_id().await;
    let done = user.task_after(Route::Complete, &task).await;
    let open = user.task_after(Route::Uncomplete, &task).await;
    assert_eq!(open["completed"], false);
    for field in ["id", "title", "created_at"] {
        assert_eq!(open[field], done[field], "{field}");
    }
    assert!(instant(&open["updated_at"]) > instant(&done["updated_at"]));
    assert_eq!(user.read(&task).await, open);
}

#[tokio::test]
async fn uncompleting_an_open_task_changes_nothing() {
    let app = shared();
    let user = app.user();
    let open = user.create("Open").await;
    assert_eq!(user.task_after(Route::Uncomplete, &id(&open)).await, open);
}
