//! `POST /internal/relay`: what a crash or an outage has left is delivered without another mutation, and what can never
//! be delivered is parked.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use stack::Broker;
use stack::resources::Deliver;

use crate::harness::answer::Answer;
use crate::harness::collector::{Dapr, sidecar_with};
use crate::harness::event::{TASK_EVENTS, TASK_UPDATES};
use crate::harness::nudge::{APP_TOKEN, tick_with};
use crate::harness::publish::Publish;
use crate::harness::stub::{Behaviour, Stub, refusal};
use crate::harness::{App, Own, Setup, User, nudge, wait};

fn app(stub: &Stub) -> Own {
    Setup::new().dapr_url(stub.url()).start()
}

fn sequences(publishes: &[Publish], topic: &str) -> Vec<u64> {
    publishes.iter().filter(|publish| publish.topic == topic).map(Publish::sequence).collect()
}

#[tokio::test]
async fn only_the_sidecar_may_call_the_relay() {
    let app = app(&Stub::start(Behaviour::accept()));
    let user = app.user();
    for token in [None, Some(""), Some("the-token-of-the-sidecaR"), Some("the-token")] {
        assert_eq!(tick_with(&user, token).await.status, 401, "{token:?}");
    }
    let with_users_token = Answer::to(user.request(Method::POST, "/internal/relay")).await;
    assert_eq!(with_users_token.status, 401);
    assert_eq!(tick_with(&user, Some(APP_TOKEN)).await.ok(200)["changes"], 0);
}

#[tokio::test]
async fn without_a_configured_token_the_relay_is_closed() {
    let app = Setup::new().variable("app_api_token", "").start();
    for token in [None, Some("")] {
        assert_eq!(tick_with(&app.user(), token).await.status, 401, "{token:?}");
    }
}

#[tokio::test]
async fn in_development_the_relay_needs_no_token_and_says_so() {
    let app = Setup::new().variable("app_api_token", "").variable("development", "true").start();
    tick_with(&app.user(), None).await.ok(200);
    assert!(app.log().text().contains("development mode"));
}

#[tokio::test]
async fn what_an_outage_left_is_delivered_without_another_mutation() {
    let stub = Stub::start(Behaviour::status(500));
    let app = app(&stub);
    let user = app.user();
    for _ in 0..50 {
        user.create("Waits for the relay").await;
    }
    stub.behave(Behaviour::accept());
    let accepted = nudge::until_accepted(&user, &stub, user.id, 100).await;
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        assert_eq!(sequences(&accepted, topic), (1..=50).collect::<Vec<_>>(), "{topic}");
    }
}

#[tokio::test]
async fn overlapping_ticks_deliver_everything_once() {
    let stub = Stub::start(Behaviour::status(500));
    let app = app(&stub);
    let users = app.users(20);
    for user in users.iter().chain(&users) {
        user.create("Waits for the relay").await;
    }
    stub.behave(Behaviour::accept().after(Duration::from_millis(20)));
    let user = app.user();
    wait::until(wait::EVENTUALLY, "an empty outbox", async || {
        futures::future::join_all((0..4).map(|_| nudge::tick(&user))).await;
        (app.database.outbox_size().await == 0).then_some(())
    })
    .await;
    assert_eq!(stub.accepted().len(), 2 * 2 * users.len());
}

#[tokio::test]
async fn a_tick_without_work_is_quick() {
    let stub = Stub::start(Behaviour::accept());
    let app = app(&stub);
    let user = app.user();
    nudge::tick(&user).await;
    let started = Instant::now();
    nudge::tick(&user).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert!(stub.attempts().is_empty());
}

/// The sidecar's own cron binding ticks; nobody else drains after the host has come back.
#[tokio::test]
async fn the_sidecars_cron_binding_delivers_what_a_crash_left() {
    let stub = Stub::start(Behaviour::Hang);
    let dapr_port = stub.port;
    let mut app = app(&stub);
    let user = app.user();
    user.create("Survives").await;
    stub.wait_attempts(1).await;
    app.crash_and_restart();
    drop(stub);
    let collector = Dapr::start_on(dapr_port);
    let app_port = Some(app.port());
    let _ticking = sidecar_with(&Broker::InMemory, app_port, Deliver::Ticks, Some(APP_TOKEN));
    let events = wait::until(wait::EVENTUALLY, "both events, delivered by ticks alone", async || {
        let events = collector.events_of(user.id);
        (events.len() >= 2).then_some(events)
    })
    .await;
    assert!(events.iter().all(|event| event.sequence == 1));
}

/// Refuses one change on one topic for good.
fn poison(publish: &Publish) -> u16 {
    if publish.topic == TASK_EVENTS && publish.sequence() == 2 { 400 } else { 204 }
}

async fn three_changes_with_a_poisoned_one(app: &App, stub: &Stub) -> User {
    let user = app.user();
    for _ in 0..3 {
        user.create("One of three").await;
    }
    let accepted = nudge::until_accepted(&user, stub, user.id, 5).await;
    assert_eq!(sequences(&accepted, TASK_EVENTS), [1, 3], "the later event went on");
    assert_eq!(sequences(&accepted, TASK_UPDATES), [1, 2, 3]);
    user
}

#[tokio::test]
async fn a_poison_event_is_parked_alone_and_delivered_when_it_is_requeued() {
    let stub = Stub::start(Behaviour::judge(poison));
    let app = app(&stub);
    let user = three_changes_with_a_poisoned_one(&app, &stub).await;
    app.database.wait_delivered(user.id, wait::SOON).await;
    let client = app.database.client().await;
    let sql = "SELECT topic, sequence, error FROM parked_events";
    let parked = client.query(sql, &[]).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].get::<_, &str>(0), parked[0].get::<_, i64>(1)), (TASK_EVENTS, 2));
    assert!(parked[0].get::<_, &str>(2).contains("400"));
    assert!(app.log().text().contains("event parked"));

    let refused = stub.attempts().into_iter().find(|publish| publish.status == 400).unwrap();
    stub.behave(Behaviour::accept());
    app.database.execute("UPDATE parked_events SET requeued_at = now()").await;
    let accepted = nudge::until_accepted(&user, &stub, user.id, 6).await;
    assert_eq!(accepted.last().unwrap().bytes, refused.bytes, "the same event, byte for byte");
    assert_eq!(client.query(sql, &[]).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_reason_that_postgresql_can_not_store_parks_the_event_all_the_same() {
    let code = "ERR_PUBSUB_EVENTS_SER";
    let reason = json!({"errorCode": code, "message": format!("a\0b{}", "é".repeat(10_000))});
    let stub = Stub::start(Behaviour::Refuse(400, reason.to_string()));
    let app = app(&stub);
    let user = app.user();
    user.create("Refused for a strange reason").await;
    app.database.wait_delivered(user.id, wait::SOON).await;
    let sql = "SELECT error FROM parked_events";
    let parked = app.database.client().await.query(sql, &[]).await.unwrap();
    assert_eq!(parked.len(), 2);
    for row in parked {
        let error: &str = row.get(0);
        let start = format!("status 400 {code} a\u{fffd}béé");
        assert!(error.starts_with(&start) && error.chars().count() == 1_000, "{error}");
    }
}

#[tokio::test]
async fn a_requeued_event_that_is_refused_again_is_parked_again() {
    let stub = Stub::start(Behaviour::judge(poison));
    let app = app(&stub);
    let user = three_changes_with_a_poisoned_one(&app, &stub).await;
    app.database.execute("UPDATE parked_events SET requeued_at = now(), error = 'before'").await;
    nudge::tick(&user).await;
    let sql = "SELECT error FROM parked_events WHERE requeued_at IS NULL AND lease_until IS NULL";
    let parked = app.database.client().await.query(sql, &[]).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert!(parked[0].get::<_, &str>(0).contains("400"));
}

/// Answers of Dapr, and of what may stand between the app and Dapr.
#[tokio::test]
async fn what_an_operator_can_mend_is_never_parked() {
    for (status, body) in [
        (400, refusal("ERR_PUBSUB_NOT_FOUND")),
        (404, refusal("ERR_PUBSUB_NOT_FOUND")),
        (400, refusal("ERR_PUBSUB_NOT_CONFIGURED")),
        (404, refusal("ERR_TOPIC_NAME_EMPTY")),
        (403, refusal("ERR_PUBSUB_FORBIDDEN")),
        (400, refusal("ERR_PUBSUB_REQUEST_METADATA")),
        (500, refusal("ERR_PUBSUB_PUBLISH_MESSAGE")),
        (400, "400 Bad Request".to_owned()),
        (401, "invalid api token".to_owned()),
        (413, String::new()),
        (429, String::new()),
        (503, String::new()),
    ] {
        let case = format!("{status} {body}");
        let stub = Stub::start(Behaviour::Refuse(status, body));
        let app = app(&stub);
        let user = app.user();
        user.create("Waits").await;
        stub.wait_attempts(1).await;
        stub.behave(Behaviour::accept());
        let accepted = nudge::until_accepted(&user, &stub, user.id, 2).await;
        assert_eq!(sequences(&accepted, TASK_EVENTS), [1], "{case}");
    }
}
