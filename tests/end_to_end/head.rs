//! HEAD: what GET answers, without the body (RFC 9110 §9.3.2), on every path that has GET.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::harness::answer::{Answer, id};
use crate::harness::nudge::APP_TOKEN;
use crate::harness::origins::{ALLOWED_ORIGIN, FOREIGN};
use crate::harness::route::unknown_id;
use crate::harness::{User, shared};

const TASKS: &str = "/api/v1/tasks";

/// Sends the request by GET and by HEAD: both must have the same status and headers, but for the
/// date and the correlation id, and HEAD no body.
async fn assert_alike(what: &str, request: impl Fn(Method) -> RequestBuilder) -> Answer {
    let (get, head) = (Answer::to(request(Method::GET)).await, Answer::to(request(Method::HEAD)).await);
    assert_eq!(head.status, get.status, "{what}");
    assert!(head.body.is_empty(), "{what}: {head:?}");
    let compared = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        headers.remove("date");
        assert!(headers.remove("x-correlation-id").is_some(), "{what}: {answer:?}");
        headers
    };
    assert_eq!(compared(&head), compared(&get), "{what}");
    assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()), "{what}");
    head
}

fn with_token(user: &User, path: &str) -> impl Fn(Method) -> RequestBuilder {
    let (user, path) = (user.clone(), path.to_owned());
    move |method| user.request(method, &path).header("origin", ALLOWED_ORIGIN)
}

#[tokio::test]
async fn every_path_with_get_has_head() {
    let app = shared();
    let user = app.user();
    let task = user.create("A task").await;
    let paths = [
        TASKS.to_owned(),
        format!("{TASKS}?completed=true"),
        format!("{TASKS}/{}", id(&task)),
        "/api/v1/health".to_owned(),
        "/api/openapi.json".to_owned(),
        "/api/docs".to_owned(),
        "/api/docs/page.css".to_owned(),
        "/api/docs/favicon-32x32.png".to_owned(),
    ];
    for path in &paths {
        assert_eq!(assert_alike(path, with_token(&user, path)).await.status, 200, "{path}");
    }
    let metrics = |method| user.anonymous(method, "/internal/metrics").bearer_auth(APP_TOKEN);
    let head = Answer::to(metrics(Method::HEAD)).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    // Its numbers may have changed since.
    assert!(head.header("content-length").unwrap().parse::<u32>().unwrap() > 1000, "{head:?}");
    assert_eq!(user.list().await, [task], "HEAD changes nothing");
}

#[tokio::test]
async fn errors_are_answered_alike() {
    let app = shared();
    let user = app.user();
    let of_another = app.user().new_task_id().await;
    for (path, status) in [
        (format!("{TASKS}/{}", unknown_id()), 404),
        (format!("{TASKS}/{of_another}"), 403),
        (format!("{TASKS}/7"), 400),
        (format!("{TASKS}?completed=perhaps"), 400),
        ("/api/docs/nothing".to_owned(), 404),
    ] {
        assert_eq!(assert_alike(&path, with_token(&user, &path)).await.status, status, "{path}");
    }
    for path in [TASKS, "/internal/metrics"] {
        let head = assert_alike(path, |method| user.anonymous(method, path)).await;
        assert_eq!((head.status, head.header("www-authenticate")), (401, Some("Bearer")), "{path}");
    }
}

#[tokio::test]
async fn a_cookie_from_a_foreign_page_reads_by_head_as_by_get() {
    let app = shared();
    let user = app.user();
    let by_cookie = |method| user.by_cookie(method, TASKS).header("origin", FOREIGN);
    assert_eq!(assert_alike("a foreign page", by_cookie).await.status, 200);
}

#[tokio::test]
async fn a_path_without_get_has_no_head() {
    let app = shared();
    let user = app.user();
    let path = format!("{TASKS}/{}/complete", user.new_task_id().await);
    let head = Answer::to(user.request(Method::HEAD, &path)).await;
    assert_eq!((head.status, head.header("allow")), (405, Some("POST, OPTIONS")));
    let relay = user.anonymous(Method::HEAD, "/internal/relay").header("dapr-api-token", APP_TOKEN);
    assert_eq!(Answer::to(relay).await.status, 405);
}

/// One connection answers them all: a body that is sent after all would be taken for the next
/// answer.
#[tokio::test]
async fn requests_after_a_head_are_answered_on_the_same_connection() {
    let app = shared();
    let user = app.user();
    for number in 0..5 {
        assert_alike("the list", |method| user.request(method, TASKS)).await;
        user.post_task(&json!({"title": format!("Task {number}")})).await.task(201);
    }
    assert_eq!(user.list().await.len(), 5);
}
