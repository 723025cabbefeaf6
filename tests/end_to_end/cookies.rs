//! Browsers send cookies by themselves, also for a page of somebody else: a mutation by cookie has to come from a page of the API's
//! own origin or of an allowed one.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::harness::answer::{Answer, id};
use crate::harness::origins::{ALLOWED_ORIGIN, FOREIGN, LIKE_ALLOWED};
use crate::harness::user::with_body;
use crate::harness::{App, Route, Setup, User, shared};

/// The user's cookie with a route's request that would be a good one.
fn by_cookie(user: &User, route: Route, id: &str) -> RequestBuilder {
    with_body(route, user.by_cookie(route.method(), &route.path(id)))
}

/// Origins that look like the API's own.
fn like_own(app: &App) -> Vec<String> {
    let port = app.port();
    vec![
        "http://127.0.0.1".to_owned(),
        format!("http://127.0.0.1:{}", port - 1),
        format!("http://127.0.0.1:{port}0"),
        format!("http://localhost:{port}"),
        format!("http://127.1:{port}"),
        format!("http://127.0.0.1:{port}.evil.example.net"),
        format!("http://127.0.0.1:{port}@evil.example.net"),
        format!("http://evil.example.net/127.0.0.1:{port}"),
        format!("127.0.0.1:{port}"),
        format!("ftp://127.0.0.1:{port}"),
    ]
}

/// All of them refuse it, and nothing is changed or published.
async fn assert_nothing_changes(app: &App, requests: impl Fn(RequestBuilder) -> Vec<RequestBuilder>) {
    let user = app.user();
    let task = user.create("Stays").await;
    for route in Route::mutations() {
        for request in requests(by_cookie(&user, route, &id(&task))) {
            Answer::to(request).await.access_denied();
        }
    }
    assert_eq!(user.list().await, [task]);
    assert_eq!(app.heard(&user).await.sentinel, 2);
}

async fn assert_mutations_succeed(app: &App, from: impl Fn(RequestBuilder) -> RequestBuilder) {
    let user = app.user();
    let task = user.new_task_id().await;
    for route in Route::mutations() {
        let answer = Answer::to(from(by_cookie(&user, route, &task))).await;
        assert_eq!(answer.status, route.success(), "{route:?} {answer:?}");
    }
}

/// The same request with each of these values.
fn each(request: &RequestBuilder, header: &str, values: &[impl AsRef<str>]) -> Vec<RequestBuilder> {
    let with = |value: &str| request.try_clone().unwrap().header(header, value);
    values.iter().map(|value| with(value.as_ref())).collect()
}

#[tokio::test]
async fn a_mutation_from_a_foreign_origin_is_denied_and_publishes_nothing() {
    let app = shared();
    let foreign: Vec<_> = LIKE_ALLOWED.iter().copied().chain([FOREIGN]).collect();
    assert_nothing_changes(&app, |request| each(&request, "origin", &foreign)).await;
}

#[tokio::test]
async fn a_mutation_from_an_origin_like_the_apis_own_is_denied_whatever_proxies_seem_to_say() {
    let app = shared();
    let foreign = like_own(&app);
    assert_nothing_changes(&app, |request| each(&request, "origin", &foreign)).await;
    assert_nothing_changes(&app, |request| {
        let forwarded = request.header("origin", FOREIGN).header("x-forwarded-proto", "https");
        let headers = ["x-forwarded-host", "x-original-host", "x-host", "forwarded", "spin-full-url"];
        let values = ["evil.example.net", "host=evil.example.net", "https://evil.example.net/api/v1/tasks"];
        headers.iter().flat_map(|header| each(&forwarded, header, &values)).collect()
    })
    .await;
}

#[tokio::test]
async fn a_mutation_with_a_foreign_origin_among_several_is_denied() {
    assert_nothing_changes(&shared(), |request| {
        let both = |one, other| request.try_clone().unwrap().header("origin", one).header("origin", other);
        vec![both(ALLOWED_ORIGIN, FOREIGN), both(FOREIGN, ALLOWED_ORIGIN)]
    })
    .await;
}

#[tokio::test]
async fn without_an_origin_the_referer_has_to_be_of_an_allowed_page() {
    let app = shared();
    let own = app.url();
    for page in [format!("{ALLOWED_ORIGIN}/board?x=1"), ALLOWED_ORIGIN.to_owned(), format!("{own}/api/docs")]
    {
        assert_mutations_succeed(&app, |request| request.header("referer", &page)).await;
    }
    let like_own = like_own(&app).into_iter().map(|origin| format!("{origin}/page"));
    let foreign: Vec<_> = LIKE_ALLOWED
        .iter()
        // A page of an allowed origin, which would be no origin.
        .filter(|page| !page.starts_with("https://app.example.com/") && !page.ends_with("#evil"))
        .map(|page| (*page).to_owned())
        .chain(like_own)
        .chain([
            format!("{FOREIGN}/{ALLOWED_ORIGIN}"),
            format!("{FOREIGN}?{ALLOWED_ORIGIN}/"),
            "/board".to_owned(),
        ])
        .collect();
    assert_nothing_changes(&app, |request| each(&request, "referer", &foreign)).await;
}

#[tokio::test]
async fn an_origin_counts_more_than_the_referer() {
    let app = shared();
    assert_mutations_succeed(&app, |request| {
        request.header("origin", ALLOWED_ORIGIN).header("referer", FOREIGN)
    })
    .await;
    assert_nothing_changes(&app, |request| {
        vec![request.header("origin", FOREIGN).header("referer", ALLOWED_ORIGIN)]
    })
    .await;
}

#[tokio::test]
async fn no_origin_is_allowed_by_default_but_the_apis_own() {
    let app = Setup::new().with_dapr().start();
    assert_nothing_changes(&app, |request| vec![request.header("origin", ALLOWED_ORIGIN)]).await;
    assert_mutations_succeed(&app, |request| request.header("origin", app.url())).await;
}

#[tokio::test]
async fn a_mutation_from_an_allowed_origin_or_the_apis_own_succeeds() {
    let app = shared();
    for origin in [ALLOWED_ORIGIN.to_owned(), app.url(), ALLOWED_ORIGIN.to_uppercase()] {
        assert_mutations_succeed(&app, |request| request.header("origin", &origin)).await;
    }
}

#[tokio::test]
async fn a_mutation_that_says_not_where_it_comes_from_is_no_browsers_and_succeeds() {
    assert_mutations_succeed(&shared(), |request| request).await;
}

#[tokio::test]
async fn a_read_from_a_foreign_origin_is_answered() {
    let app = shared();
    let user = app.user();
    let task = user.new_task_id().await;
    for route in [Route::List, Route::Read] {
        let answer = Answer::to(by_cookie(&user, route, &task).header("origin", FOREIGN)).await;
        answer.ok(200);
        assert_eq!(answer.header("access-control-allow-origin"), None, "and can't be read there");
    }
}

#[tokio::test]
async fn a_mutation_by_bearer_from_a_foreign_origin_succeeds_with_and_without_a_cookie() {
    let app = shared();
    let (user, victim) = (app.user(), app.user());
    let request = || {
        let request = user.request(Method::POST, "/api/v1/tasks").header("origin", FOREIGN);
        request.json(&json!({"title": "No cookie to steal"}))
    };
    Answer::to(request()).await.task(201);
    Answer::to(request().header("cookie", format!("auth_token={}", victim.token))).await.task(201);
    assert_eq!((user.list().await.len(), victim.list().await.len()), (2, 0));
}
