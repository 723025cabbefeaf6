//! The log: each line is documented, has its level, and says which request it is about (docs/logs.md).
//!
//! Beside what is tested here, every app of the suite must have written documented lines only (`harness::app`).

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::harness::answer::{Answer, id};
use crate::harness::environment::root;
use crate::harness::log::{Kind, kinds};
use crate::harness::nudge::{APP_TOKEN, tick, tick_with};
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{App, Own, Route, Setup, User, wait};

const HEADER: &str = "x-correlation-id";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// These are about the changes of many requests.
const ABOUT_NO_REQUEST: [&str; 3] = ["drain stopped", "events are repeated", "pass ended"];

fn messages(entries: &[Value]) -> BTreeSet<String> {
    entries.iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
}

async fn wait_for_line(app: &App, message: &str) -> Value {
    wait::until(wait::SOON, &format!("the line {message:?}"), async || app.log().saying(message).pop()).await
}

fn with_sidecar(stub: &Stub, level: &str) -> Own {
    Setup::new().dapr_url(stub.url()).variable("log_level", level).start()
}

/// A request and its delivery, one event that is parked and requeued, one that fails, and a backlog; all at `debug`.
async fn deliveries() -> BTreeSet<String> {
    let stub = Stub::start(Behaviour::status(400));
    let app = with_sidecar(&stub, "debug");
    let user = app.user();
    user.create("Is parked").await;
    wait_for_line(&app, "event parked").await;
    stub.behave(Behaviour::accept());
    wait::until(wait::SOON, "a parked event that is published", async || {
        app.database.execute("UPDATE parked_events SET requeued_at = now(), lease_until = NULL").await;
        tick(&user).await;
        app.log().saying("parked event published").pop()
    })
    .await;
    stub.behave(Behaviour::status(500));
    app.user().create("Fails").await;
    wait_for_line(&app, "event not published").await;
    stub.behave(Behaviour::accept());
    wait::until(wait::EVENTUALLY, "a backlog", async || {
        tick(&user).await;
        app.log().saying("relay has claimed a backlog").pop()
    })
    .await;
    messages(&app.log().entries())
}

/// The database goes while a drain publishes, and stays away for longer than the drain's lease.
async fn without_a_database() -> BTreeSet<String> {
    let stub = Stub::start(Behaviour::accept().after(Duration::from_millis(500)));
    let setup = Setup::new().dapr_url(stub.url()).variable("publish_timeout_ms", "1000");
    let app = setup.behind_proxy().start();
    let user = app.user();
    user.create("Its drain can't settle").await;
    app.database.wait_leased(&[user.id]).await;
    app.proxy().cut();
    user.call(Route::List, "").await.database_unavailable();
    app.wait_unhealthy("health").await;
    wait_for_line(&app, "drain stopped").await;
    wait_for_line(&app, "events are repeated").await;
    messages(&app.log().entries())
}

async fn wrong_settings() -> BTreeSet<String> {
    let closed = Setup::new().variable("app_api_token", "").variable("log_level", "loud").start();
    assert_eq!(tick_with(&closed.user(), None).await.status, 401);
    let open = Setup::new().variable("app_api_token", "").variable("development", "true").start();
    tick_with(&open.user(), None).await.ok(200);
    let guarded = Setup::new().start();
    assert_eq!(tick_with(&guarded.user(), Some("a guess")).await.status, 401);
    let keys = r#"{"keys": [{}, {"kty": "EC", "crv": "P-256",
        "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}"#;
    let half_good = Setup::new().variable("jwks", keys).variable("log_level", "debug").start();
    let request = half_good.user().anonymous(Method::GET, "/api/v1/tasks").bearer_auth("x");
    assert_eq!(Answer::to(request).await.status, 401);
    [closed, open, guarded, half_good].iter().flat_map(|app| messages(&app.log().entries())).collect()
}

#[tokio::test]
async fn whatever_is_documented_is_written_and_nothing_else() {
    let mut seen = deliveries().await;
    seen.extend(without_a_database().await);
    seen.extend(wrong_settings().await);
    assert_eq!(seen, kinds().into_iter().map(|kind| kind.message).collect());
}

#[test]
fn the_page_has_every_message_with_its_level_and_fields() {
    let page = std::fs::read_to_string(root().join("docs/logs.md")).unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).map(Row::parse).collect();
    let kinds = kinds();
    assert_eq!(rows.len(), kinds.len());
    for (row, kind) in rows.iter().zip(kinds) {
        let Kind { message, level, mut fields } = kind;
        assert_eq!((row.message, row.level), (message.as_str(), level.as_str()));
        let about_a_request = fields.remove("correlation_id");
        fields.remove("trace_id");
        if !about_a_request {
            assert!(ABOUT_NO_REQUEST.contains(&row.message), "{}", row.message);
            fields.insert("correlation_id".to_owned());
            assert!(row.fields.ends_with("; no `correlation_id`"), "{}", row.message);
        }
        let named: BTreeSet<_> = row.fields.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(named, fields, "fields of {}", row.message);
    }
}

/// A row of the page's table.
struct Row<'a> {
    message: &'a str,
    level: &'a str,
    fields: &'a str,
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Self {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [message, level, fields, _] = cells[..] else { panic!("{line}") };
        Self { message: message.trim_matches('`'), level, fields }
    }
}

/// What an app writes of each level, at this level.
async fn levels_at(level: &str) -> BTreeSet<String> {
    let stub = Stub::start(Behaviour::status(500));
    let app = with_sidecar(&stub, level);
    let user = app.user();
    assert_eq!(tick_with(&user, Some("a guess")).await.status, 401);
    user.create("Fails at first").await;
    stub.wait_attempts(2).await;
    stub.behave(Behaviour::accept());
    wait::until(wait::EVENTUALLY, "a relay that had something to do", async || {
        tick_with(&user, Some(APP_TOKEN)).await.ok(200)["changes"].as_u64().filter(|n| *n > 0)
    })
    .await;
    // The last line at `info` comes before that answer, and so does one at `error`.
    app.log().entries().iter().map(|entry| entry["level"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_level_leaves_out_what_matters_less() {
    let all = ["error", "warn", "info", "debug"];
    for (place, level) in all.into_iter().enumerate() {
        let expected: BTreeSet<_> = all[..=place].iter().map(|level| (*level).to_owned()).collect();
        assert_eq!(levels_at(level).await, expected, "{level}");
    }
}

#[tokio::test]
async fn a_request_that_goes_well_writes_nothing_at_info() {
    let stub = Stub::start(Behaviour::accept());
    let app = with_sidecar(&stub, "info");
    let user = app.user();
    let task = user.new_task_id().await;
    for route in Route::ALL {
        user.call(route, &task).await;
    }
    app.database.wait_delivered(user.id, wait::SOON).await;
    assert_eq!(app.log().entries(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_level_that_is_none_is_said_once_by_an_instance() {
    let app = Setup::new().variable("log_level", "LOUD").start();
    let user = app.user();
    for _ in 0..10 {
        Answer::to(user.on(Route::List, "").header(HEADER, "mine")).await.ok(200);
    }
    let entries = app.log().entries();
    let own: Vec<_> = entries.iter().filter(|entry| entry["correlation_id"] == "mine").collect();
    assert_eq!(own.len(), 1, "{entries:?}");
    assert_eq!(own[0]["level"], "warn");
    assert!(own[0]["error"].as_str().unwrap().contains("\"LOUD\""), "{}", own[0]);
}

/// Each request fails, and so do the drains of earlier ones.
#[tokio::test]
async fn every_line_of_a_failing_request_has_its_correlation_id() {
    let stub = Stub::start(Behaviour::status(500));
    let app = Setup::new().dapr_url(stub.url()).variable("log_level", "debug").behind_proxy().start();
    let user = app.user();
    let created = user.on(Route::Create, "").header(HEADER, "created").header("traceparent", TRACEPARENT);
    let task = id(&Answer::to(created).await.task(201));
    stub.wait_attempts(2).await;
    app.proxy().cut();
    let mut expected = BTreeSet::from(["created".to_owned()]);
    for route in Route::ALL {
        let sent = format!("{route:?}");
        Answer::to(user.on(route, &task).header(HEADER, &sent)).await.database_unavailable();
        expected.insert(sent);
    }
    app.wait_unhealthy("health").await;
    expected.insert("health".to_owned());
    for (sent, request) in [
        ("relay", user.anonymous(Method::POST, "/internal/relay").header("dapr-api-token", APP_TOKEN)),
        ("refused", user.anonymous(Method::POST, "/internal/relay").header("dapr-api-token", "a guess")),
    ] {
        let answer = Answer::to(request.header(HEADER, sent)).await;
        assert!([401, 503].contains(&answer.status), "{sent}: {answer:?}");
        expected.insert(sent.to_owned());
    }
    let entries = app.log().entries();
    assert_all_named(&entries, &expected);
    for sent in &expected {
        let of_it: Vec<_> = entries.iter().filter(|entry| entry["correlation_id"] == *sent).collect();
        // The debug line and at least one that says what failed.
        assert!(of_it.len() >= 2, "{sent}: {of_it:?}");
        assert!(of_it.iter().all(|entry| entry["trace_id"].is_string()), "{of_it:?}");
    }
}

/// No line has another correlation id than those that were sent; the probe at the start has sent none.
fn assert_all_named(entries: &[Value], sent: &BTreeSet<String>) {
    for entry in entries {
        let message = entry["message"].as_str().unwrap();
        match entry["correlation_id"].as_str() {
            None => assert!(ABOUT_NO_REQUEST.contains(&message), "{entry}"),
            Some(id) => {
                let probe = message == "request answered" && entry["route"] == "/api/v1/health";
                assert!(sent.contains(id) || probe, "{entry}");
            }
        }
    }
}

#[tokio::test]
async fn at_debug_each_request_has_a_line_with_its_route_and_no_id() {
    let stub = Stub::start(Behaviour::accept());
    let app = with_sidecar(&stub, "debug");
    let user: User = app.user();
    let task = user.new_task_id().await;
    for route in Route::ALL {
        let sent = format!("{route:?}");
        let answer = Answer::to(user.on(route, &task).header(HEADER, &sent)).await;
        let lines = app.log().saying("request answered");
        let line = lines.iter().find(|line| line["correlation_id"] == sent).expect("a line of the request");
        assert_eq!(line["status"], answer.status, "{line}");
        assert_eq!(line["method"], route.method().as_str(), "{line}");
        assert_eq!(line["route"], route.path("{id}"), "{line}");
    }
    wait_for_line(&app, "pass ended").await;
    assert!(!app.log().text().contains(&user.token));
}
