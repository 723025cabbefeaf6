//! Which pages may read answers, and ask for what (CORS).

use reqwest::{Method, RequestBuilder};

use crate::harness::answer::Answer;
use crate::harness::origins::{ALLOWED_ORIGIN, FOREIGN, LIKE_ALLOWED};
use crate::harness::route::unknown_id;
use crate::harness::{Route, Setup, User, shared};

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

#[track_caller]
fn assert_grants_nothing(answer: &Answer, what: &str) {
    let granted = answer.headers.keys().find(|name| name.as_str().starts_with("access-control"));
    assert_eq!(granted, None, "{what}");
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

/// A browser would send no request at all.
#[tokio::test]
async fn preflight_grants_the_headers_that_libraries_and_gateways_add() {
    let app = shared();
    let answer = Answer::to(preflight(&app.user(), "/api/v1/tasks", &Method::POST, ALLOWED_ORIGIN)).await;
    for header in ["baggage", "sentry-trace", "x-request-id", "idempotency-key", "if-match"] {
        assert!(lists(&answer, "access-control-allow-headers", header), "{header}: {answer:?}");
    }
}

#[tokio::test]
async fn neither_any_origin_nor_null_can_be_allowed() {
    let app = Setup::new().variable("cors_origins", format!("*, null, {ALLOWED_ORIGIN}")).start();
    let user = app.user();
    for origin in ["null", "*", FOREIGN] {
        let answer = Answer::to(preflight(&user, "/api/v1/tasks", &Method::POST, origin)).await;
        assert_grants_nothing(&answer, origin);
        let request = user.by_cookie(Method::POST, "/api/v1/tasks").header("origin", origin);
        Answer::to(request.json(&serde_json::json!({"title": "By a cookie"}))).await.access_denied();
    }
    let answer = Answer::to(preflight(&user, "/api/v1/tasks", &Method::POST, ALLOWED_ORIGIN)).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED_ORIGIN));
}

#[tokio::test]
async fn a_page_may_read_where_its_new_task_is() {
    let app = shared();
    let request = app.user().request(Method::POST, "/api/v1/tasks").header("origin", ALLOWED_ORIGIN);
    let answer = Answer::to(request.json(&serde_json::json!({"title": "From a page"}))).await;
    answer.task(201);
    assert!(lists(&answer, "access-control-expose-headers", "location"), "{answer:?}");
}

/// What is asked for is never what is granted, but for an origin that is on the list.
#[tokio::test]
async fn preflight_grants_exactly_the_routes_methods_and_the_headers_of_the_contract() {
    let app = shared();
    let user = app.user();
    let methods = [
        (Route::List, "GET, HEAD, POST, OPTIONS"),
        (Route::Read, "GET, HEAD, PATCH, DELETE, OPTIONS"),
        (Route::Complete, "POST, OPTIONS"),
        (Route::Uncomplete, "POST, OPTIONS"),
    ];
    for (route, methods) in methods {
        let request =
            user.anonymous(Method::OPTIONS, &route.path(&unknown_id())).header("origin", ALLOWED_ORIGIN);
        let request = request.header("access-control-request-method", "BREW");
        let answer = Answer::to(request.header("access-control-request-headers", "x-evil, cookie")).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(ALLOWED_ORIGIN));
        assert_eq!(answer.header("access-control-allow-methods"), Some(methods), "{route:?}");
        let headers = "authorization, content-type, x-correlation-id, traceparent, tracestate, baggage, \
                       sentry-trace, x-request-id, idempotency-key, if-match";
        assert_eq!(answer.header("access-control-allow-headers"), Some(headers), "{route:?}");
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
    }
}

#[tokio::test]
async fn internal_routes_grant_nothing_to_any_origin() {
    let app = shared();
    let user = app.user();
    for path in ["/internal/relay", "/internal/metrics"] {
        for method in [Method::OPTIONS, Method::GET, Method::POST] {
            let request = user.anonymous(method, path).header("origin", ALLOWED_ORIGIN);
            let answer = Answer::to(request.header("access-control-request-method", "POST")).await;
            assert_grants_nothing(&answer, path);
        }
    }
}

#[tokio::test]
async fn preflight_of_another_origin_is_answered_and_grants_nothing() {
    let app = shared();
    let user = app.user();
    for (path, method) in every_route(&user.new_task_id().await) {
        for origin in LIKE_ALLOWED.into_iter().chain([FOREIGN]) {
            let answer = Answer::to(preflight(&user, &path, &method, origin)).await;
            assert!(answer.status < 300, "{method} {path}: {answer:?}");
            assert_grants_nothing(&answer, &format!("{method} {path} {origin}"));
        }
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
    let request = app.user().request(Method::GET, "/api/v1/tasks").header("origin", FOREIGN);
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
}
