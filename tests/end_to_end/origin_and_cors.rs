//! Calls from browsers: preflight, the headers of CORS, and the check of the origin of cookie-authenticated mutations.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::harness::answer::Answer;
use crate::harness::app::ALLOWED_ORIGIN;
use crate::harness::user::with_body;
use crate::harness::{App, Route, Setup, User, shared};

const FOREIGN_ORIGIN: &str = "https://evil.example.net";

fn preflight(user: &User, path: &str, method: &Method, origin: &str) -> RequestBuilder {
    user.anonymous(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", method.as_str())
        .header("access-control-request-headers", "content-type, authorization, x-correlation-id")
}

/// Path and method of every route, health too.
fn every_route(id: &str) -> Vec<(String, Method)> {
    let tasks = Route::ALL.into_iter().map(|route| (route.path(id), route.method()));
    tasks.chain([("/api/v1/health".to_owned(), Method::GET)]).collect()
}

/// Whether a comma-separated header names the value, in any case.
fn lists(answer: &Answer, header: &str, value: &str) -> bool {
    let list = answer.header(header).unwrap_or_default();
    list.split(',').any(|item| item.trim().eq_ignore_ascii_case(value))
}

#[tokio::test]
async fn preflight_of_an_allowed_origin_is_granted_on_every_route() {
    let app = shared();
    let user = app.user();
    let id = user.new_task_id().await;
    for (path, method) in every_route(&id) {
        let answer = Answer::to(preflight(&user, &path, &method, ALLOWED_ORIGIN)).await;
        assert!(matches!(answer.status, 200 | 204), "{method} {path}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED_ORIGIN), "{method} {path}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert!(
            lists(&answer, "access-control-allow-methods", method.as_str()),
            "{method} {path}: {answer:?}"
        );
        assert!(lists(&answer, "vary", "origin"), "{answer:?}");
    }
}

#[tokio::test]
async fn preflight_grants_the_headers_that_clients_need() {
    let app = shared();
    let answer = Answer::to(preflight(&app.user(), "/api/v1/tasks", &Method::POST, ALLOWED_ORIGIN)).await;
    for header in ["content-type", "authorization", "x-correlation-id"] {
        assert!(lists(&answer, "access-control-allow-headers", header), "{header}: {answer:?}");
    }
}

#[tokio::test]
async fn preflight_of_another_origin_is_answered_and_grants_nothing() {
    let app = shared();
    let user = app.user();
    for (path, method) in every_route(&user.new_task_id().await) {
        let answer = Answer::to(preflight(&user, &path, &method, FOREIGN_ORIGIN)).await;
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {path}");
    }
}

#[tokio::test]
async fn answers_to_an_allowed_origin_may_be_read_with_credentials() {
    let app = shared();
    let user = app.user();
    let good = user.request(Method::GET, "/api/v1/tasks").header("origin", ALLOWED_ORIGIN);
    let bad = user.anonymous(Method::GET, "/api/v1/tasks").header("origin", ALLOWED_ORIGIN);
    for (request, status) in [(good, 200), (bad, 401)] {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED_ORIGIN));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert!(lists(&answer, "vary", "origin"), "{answer:?}");
        assert!(lists(&answer, "access-control-expose-headers", "x-correlation-id"), "{answer:?}");
    }
}

#[tokio::test]
async fn answers_to_another_origin_grant_nothing() {
    let app = shared();
    let request = app.user().request(Method::GET, "/api/v1/tasks").header("origin", FOREIGN_ORIGIN);
    let answer = Answer::to(request).await;
    answer.ok(200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn no_origin_is_allowed_by_default() {
    let app = Setup::new().start();
    let user = app.user();
    let answer = Answer::to(preflight(&user, "/api/v1/tasks", &Method::POST, ALLOWED_ORIGIN)).await;
    assert!(answer.status < 300);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_refused(&user, Route::Create, "any", ALLOWED_ORIGIN).await;
}

async fn by_cookie_from(user: &User, route: Route, id: &str, origin: &str) -> Answer {
    let request = with_body(route, user.by_cookie(route.method(), &route.path(id)));
    Answer::to(request.header("origin", origin)).await
}

async fn assert_refused(user: &User, route: Route, id: &str, origin: &str) {
    by_cookie_from(user, route, id, origin).await.access_denied();
}

#[tokio::test]
async fn a_mutation_by_cookie_from_a_foreign_origin_is_denied_and_publishes_nothing() {
    let app = shared();
    let user = app.user();
    let task = user.create("Stays").await;
    let id = crate::harness::answer::id(&task);
    for route in Route::mutations() {
        for origin in [FOREIGN_ORIGIN, "null", "http://app.example.com", "https://app.example.com.evil.net"] {
            assert_refused(&user, route, &id, origin).await;
        }
    }
    assert_eq!(user.list().await, [task]);
    assert_eq!(app.heard(&user).await.sentinel, 2);
}

#[tokio::test]
async fn a_read_by_cookie_from_a_foreign_origin_is_answered() {
    let app = shared();
    let user = app.user();
    let id = user.new_task_id().await;
    for route in [Route::List, Route::Read] {
        by_cookie_from(&user, route, &id, FOREIGN_ORIGIN).await.ok(200);
    }
}

#[tokio::test]
async fn a_mutation_by_cookie_from_the_apis_own_origin_succeeds() {
    let app = shared();
    assert_mutations_succeed(&app, &app.url()).await;
}

#[tokio::test]
async fn a_mutation_by_cookie_from_an_allowed_origin_succeeds() {
    let app = shared();
    assert_mutations_succeed(&app, ALLOWED_ORIGIN).await;
}

async fn assert_mutations_succeed(app: &App, origin: &str) {
    let user = app.user();
    let id = user.new_task_id().await;
    for route in Route::mutations() {
        let answer = by_cookie_from(&user, route, &id, origin).await;
        assert_eq!(answer.status, route.success(), "{route:?} {answer:?}");
    }
}

#[tokio::test]
async fn a_mutation_by_cookie_without_an_origin_succeeds() {
    let app = shared();
    let request = app.user().by_cookie(Method::POST, "/api/v1/tasks");
    Answer::to(request.json(&json!({"title": "Not from a browser"}))).await.task(201);
}

#[tokio::test]
async fn a_mutation_by_bearer_from_a_foreign_origin_succeeds() {
    let app = shared();
    let request = app.user().request(Method::POST, "/api/v1/tasks").header("origin", FOREIGN_ORIGIN);
    Answer::to(request.json(&json!({"title": "No cookie to steal"}))).await.task(201);
}
