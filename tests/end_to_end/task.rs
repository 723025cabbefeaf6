//! `/api/v1/tasks/{id}`: reading, changing, deleting.

use reqwest::Method;
use serde_json::json;

use crate::harness::answer::{Answer, id, instant, keys};
use crate::harness::{Route, shared};

const DUE: &str = "2027-03-01T09:00:00Z";

#[tokio::test]
async fn a_task_is_read_as_it_was_created() {
    let app = shared();
    let user = app.user();
    let task = user.create("Buy milk").await;
    assert_eq!(user.read(&id(&task)).await, task);
}

#[tokio::test]
async fn a_path_parameter_header_from_the_client_changes_nothing() {
    let app = shared();
    let user = app.user();
    let (asked, other) = (user.create("Asked for").await, user.create("Not asked for").await);
    let spoofed = Route::Read.path(&id(&other));
    let request = user
        .request(Method::GET, &Route::Read.path(&id(&asked)))
        .header("spin-path-match-id", id(&other))
        .header("spin-full-url", format!("http://127.0.0.1{spoofed}"))
        .header("spin-path-info", &spoofed);
    assert_eq!(Answer::to(request).await.task(200), asked);
}

#[tokio::test]
async fn a_path_parameter_header_from_the_client_does_not_change_what_is_deleted() {
    let app = shared();
    let user = app.user();
    let (asked, other) = (user.create("Asked for").await, user.create("Not asked for").await);
    let request = user.request(Method::DELETE, &Route::Delete.path(&id(&asked)));
    let answer = Answer::to(request.header("spin-path-match-id", id(&other))).await;
    answer.ok(200);
    assert_eq!(user.list().await, [other]);
}

#[tokio::test]
async fn a_change_of_the_title_keeps_the_other_fields() {
    let app = shared();
    let user = app.user();
    let before = user.create_due("Before", DUE).await;
    let after = user.update(&id(&before), &json!({"title": " After "})).await;
    assert_eq!(after["title"], "After");
    for field in ["id", "completed", "created_at", "due_date"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert!(instant(&after["updated_at"]) > instant(&before["updated_at"]));
    assert_eq!(user.read(&id(&before)).await, after);
}

#[tokio::test]
async fn all_fields_can_change_at_once() {
    let app = shared();
    let user = app.user();
    let task = user.new_task_id().await;
    let body = json!({"title": "After", "completed": true, "due_date": "2027-03-01T10:00:00+01:00"});
    let after = user.update(&task, &body).await;
    assert_eq!((&after["title"], &after["completed"]), (&json!("After"), &json!(true)));
    assert_eq!(instant(&after["due_date"]), instant(&json!(DUE)));
}

#[tokio::test]
async fn a_null_title_and_a_null_completed_count_as_absent() {
    let app = shared();
    let user = app.user();
    let before = user.create("Stays").await;
    let after = user.update(&id(&before), &json!({"title": null, "completed": null})).await;
    assert_eq!(after, before);
}

#[tokio::test]
async fn an_empty_object_changes_nothing() {
    let app = shared();
    let user = app.user();
    let before = user.create_due("Stays", DUE).await;
    assert_eq!(user.update(&id(&before), &json!({})).await, before);
}

#[tokio::test]
async fn a_due_date_is_set_by_a_change_and_cleared_by_null() {
    let app = shared();
    let user = app.user();
    let task = user.new_task_id().await;
    let set = user.update(&task, &json!({"due_date": DUE})).await;
    assert_eq!(instant(&set["due_date"]), instant(&json!(DUE)));
    let cleared = user.update(&task, &json!({"due_date": null})).await;
    assert_eq!(keys(&cleared), ["completed", "created_at", "id", "title", "updated_at"]);
    assert!(instant(&cleared["updated_at"]) > instant(&set["updated_at"]));
}

#[tokio::test]
async fn updated_at_stays_when_the_values_are_the_same() {
    let app = shared();
    let user = app.user();
    let before = user.create_due("Same", DUE).await;
    let same = json!({"title": " Same ", "completed": false, "due_date": "2027-03-01T11:00:00+02:00"});
    assert_eq!(user.update(&id(&before), &same).await, before);
    assert_eq!(user.update(&id(&before), &json!({"due_date": null})).await.get("due_date"), None);
    let cleared = user.read(&id(&before)).await;
    assert_eq!(user.update(&id(&before), &json!({"due_date": null})).await, cleared);
}

#[tokio::test]
async fn a_change_with_an_invalid_value_is_refused_and_changes_nothing() {
    let app = shared();
    let user = app.user();
    let before = user.create("Stays").await;
    for (field, value) in [
        ("title", json!("  ")),
        ("title", json!(7)),
        ("title", json!("x".repeat(501))),
        ("title", json!("a\u{0}")),
        ("completed", json!("true")),
        ("completed", json!(1)),
        ("due_date", json!("soon")),
        ("due_date", json!(false)),
    ] {
        user.patch(&id(&before), &json!({field: value})).await.invalid(field);
    }
    assert_eq!(user.read(&id(&before)).await, before);
}

#[tokio::test]
async fn one_invalid_field_among_valid_ones_refuses_the_whole_change() {
    let app = shared();
    let user = app.user();
    let before = user.create("Stays").await;
    user.patch(&id(&before), &json!({"title": "New", "completed": "yes"})).await.invalid("completed");
    assert_eq!(user.read(&id(&before)).await, before);
}

#[tokio::test]
async fn unknown_fields_of_a_change_are_ignored() {
    let app = shared();
    let user = app.user();
    let before = user.create("Stays").await;
    let body = json!({"created_at": DUE, "user_id": "x", "colour": "red"});
    assert_eq!(user.update(&id(&before), &body).await, before);
}

#[tokio::test]
async fn a_change_of_another_content_type_is_refused() {
    let app = shared();
    let user = app.user();
    let path = Route::Update.path(&user.new_task_id().await);
    let request = user.request(Method::PATCH, &path).header("content-type", "text/plain").body("{}");
    Answer::to(request).await.error(400, "VALIDATION_ERROR", "Invalid input data");
}

#[tokio::test]
async fn a_deleted_task_is_gone_for_good() {
    let app = shared();
    let user = app.user();
    let task = user.new_task_id().await;
    let answer = user.call(Route::Delete, &task).await.ok(200);
    assert_eq!(answer, json!({"message": "Task deleted successfully"}));
    for route in Route::of_one_task() {
        user.call(route, &task).await.task_not_found();
    }
    assert!(user.list().await.is_empty());
}
