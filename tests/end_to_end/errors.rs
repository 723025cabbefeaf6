//! docs/contract.md's table of errors, where a row holds for several routes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::{Answer, id};
use crate::harness::route::unknown_id;
use crate::harness::user::with_body;
use crate::harness::{Route, Setup, User, shared};

const LIMIT: usize = 64 * 1024;

#[tokio::test]
async fn a_task_of_someone_else_is_denied_on_every_route() {
    let app = shared();
    let owner = app.user();
    let task = owner.create("Mine").await;
    for route in Route::of_one_task() {
        app.user().call(route, &id(&task)).await.access_denied();
    }
    assert_eq!(owner.list().await, [task]);
}

#[tokio::test]
async fn a_task_that_does_not_exist_is_not_found_on_every_route() {
    let app = shared();
    let user = app.user();
    for route in Route::of_one_task() {
        user.call(route, &unknown_id()).await.task_not_found();
    }
}

#[tokio::test]
async fn an_id_that_is_no_uuid_is_refused_on_every_route() {
    let app = shared();
    let user = app.user();
    for route in Route::of_one_task() {
        for id in ["7", "not-a-uuid", "00000000-0000-0000-0000-00000000000g", "%00"] {
            user.call(route, id).await.error(400, "VALIDATION_ERROR", "Invalid input data");
        }
    }
}

#[tokio::test]
async fn another_method_is_refused_with_the_allowed_ones() {
    let app = shared();
    let user = app.user();
    let id = unknown_id();
    for (path, refused, allowed) in [
        ("/api/v1/tasks".to_owned(), "PUT DELETE PATCH", "GET HEAD POST"),
        (Route::Read.path(&id), "PUT POST", "DELETE GET HEAD PATCH"),
        (Route::Complete.path(&id), "GET HEAD PUT DELETE", "POST"),
        (Route::Uncomplete.path(&id), "GET HEAD PATCH", "POST"),
        ("/api/v1/health".to_owned(), "POST DELETE", "GET HEAD"),
    ] {
        for method in refused.split(' ') {
            assert_not_allowed(&user, method, &path, allowed).await;
        }
    }
}

async fn assert_not_allowed(user: &User, method: &str, path: &str, allowed: &str) {
    let answer = Answer::to(user.request(Method::from_bytes(method.as_bytes()).unwrap(), path)).await;
    assert_eq!(answer.status, 405, "{method} {path}");
    if method != "HEAD" {
        answer.plain_error(405, "METHOD_NOT_ALLOWED", "Method not allowed");
    }
    let header = answer.header("allow").expect("an Allow header");
    let mut methods: Vec<_> = header.split(',').map(str::trim).filter(|name| *name != "OPTIONS").collect();
    methods.sort_unstable();
    assert_eq!(methods.join(" "), allowed, "{method} {path}");
}

#[tokio::test]
async fn a_body_of_64_kib_is_accepted() {
    shared().user().post_task(&padded(LIMIT)).await.task(201);
}

#[tokio::test]
async fn a_body_over_64_kib_is_refused() {
    let app = shared();
    let user = app.user();
    let id = user.new_task_id().await;
    for answer in [user.post_task(&padded(LIMIT + 1)).await, user.patch(&id, &padded(LIMIT + 1)).await] {
        let body = answer.ok(413);
        assert_eq!(
            (&body["error"]["code"], &body["error"]["details"]),
            (&json!("PAYLOAD_TOO_LARGE"), &json!([]))
        );
    }
    assert_eq!(user.list().await.len(), 1);
}

/// A valid body of exactly so many bytes.
fn padded(bytes: usize) -> Value {
    let mut body = json!({"title": "A", "padding": ""});
    let missing = bytes - body.to_string().len();
    body["padding"] = json!("x".repeat(missing));
    assert_eq!(body.to_string().len(), bytes);
    body
}

#[tokio::test]
async fn a_trailing_slash_is_the_same_route() {
    let app = shared();
    let user = app.user();
    for route in Route::ALL {
        let id = user.new_task_id().await;
        let path = format!("{}/", route.path(&id));
        let request = with_body(route, user.request(route.method(), &path));
        assert_eq!(Answer::to(request).await.status, route.success(), "{route:?}");
    }
}

#[tokio::test]
async fn an_unexpected_failure_says_nothing_of_the_inside() {
    let app = Setup::new().start();
    let user = app.user();
    let id = user.new_task_id().await;
    app.database.execute("ALTER TABLE tasks RENAME COLUMN title TO heading").await;
    for route in Route::ALL {
        let answer = user.call(route, &id).await;
        answer.plain_error(500, "INTERNAL_ERROR", "An unexpected error occurred.");
    }
}
