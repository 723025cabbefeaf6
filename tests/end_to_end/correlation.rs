//! Tracing a call from the client to its events.

use reqwest::RequestBuilder;
use serde_json::json;
use uuid::Uuid;

use crate::harness::answer::Answer;
use crate::harness::event::Event;
use crate::harness::{App, Route, User, shared};

const HEADER: &str = "x-correlation-id";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn creating(user: &User) -> RequestBuilder {
    user.on(Route::Create, "").json(&json!({"title": "Traced"}))
}

/// Sends the request; returns the correlation id of the answer and the user's events.
async fn traced(app: &App, user: &User, request: RequestBuilder) -> (String, Vec<Event>) {
    let answer = Answer::to(request).await;
    answer.task(201);
    let id = answer.header(HEADER).expect("a correlation id").to_owned();
    (id, app.dapr().wait_for(user.id, 2).await)
}

fn assert_correlation(events: &[Event], id: &str) {
    assert!(events.iter().all(|event| event.attribute("correlationid") == Some(id)), "{id}: {events:?}");
}

#[tokio::test]
async fn the_callers_correlation_id_is_on_the_answer_and_the_events() {
    let app = shared();
    let user = app.user();
    let (id, events) = traced(&app, &user, creating(&user).header(HEADER, "Order-7_a.b")).await;
    assert_eq!(id, "Order-7_a.b");
    assert_correlation(&events, &id);
}

#[tokio::test]
async fn the_callers_correlation_id_wins_over_its_trace() {
    let app = shared();
    let user = app.user();
    let request = creating(&user).header(HEADER, "mine").header("traceparent", TRACEPARENT);
    let (id, events) = traced(&app, &user, request).await;
    assert_eq!(id, "mine");
    assert_correlation(&events, "mine");
}

#[tokio::test]
async fn without_a_correlation_id_the_trace_id_is_used() {
    let app = shared();
    let user = app.user();
    let (id, events) = traced(&app, &user, creating(&user).header("traceparent", TRACEPARENT)).await;
    assert_eq!(id, TRACE_ID);
    assert_correlation(&events, TRACE_ID);
}

#[tokio::test]
async fn without_either_a_new_uuid_is_used() {
    let app = shared();
    let user = app.user();
    let (id, events) = traced(&app, &user, creating(&user)).await;
    Uuid::parse_str(&id).expect("a UUID");
    assert_correlation(&events, &id);
}

#[tokio::test]
async fn a_correlation_id_of_1_or_128_characters_is_used() {
    let app = shared();
    for id in ["x".to_owned(), "x".repeat(128)] {
        let answer = Answer::to(creating(&app.user()).header(HEADER, &id)).await;
        assert_eq!(answer.header(HEADER), Some(id.as_str()));
    }
}

#[tokio::test]
async fn a_malformed_correlation_id_is_replaced() {
    let app = shared();
    for id in ["", "two words", "semi;colon", "slash/", "ä", &"x".repeat(129)] {
        let answer = Answer::to(creating(&app.user()).header(HEADER, id.as_bytes())).await;
        answer.task(201);
        Uuid::parse_str(answer.header(HEADER).unwrap()).expect("a new UUID");
    }
}

#[tokio::test]
async fn a_malformed_traceparent_is_no_trace() {
    let app = shared();
    let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
    for traceparent in ["x", "00-4bf92f35-00f067aa0ba902b7-01", zeros, &TRACEPARENT.to_uppercase()] {
        let answer = Answer::to(creating(&app.user()).header("traceparent", traceparent)).await;
        answer.task(201);
        Uuid::parse_str(answer.header(HEADER).unwrap()).expect("a new UUID");
        assert_ne!(answer.header(HEADER), Some(TRACE_ID));
    }
}

#[tokio::test]
async fn every_answer_carries_a_correlation_id_errors_too() {
    let app = shared();
    let user = app.user();
    let id = user.new_task_id().await;
    for route in Route::ALL {
        let answer = Answer::to(user.on(route, &id).header(HEADER, "seen")).await;
        assert_eq!(answer.header(HEADER), Some("seen"), "{route:?}");
        let answer = Answer::to(user.anonymous(route.method(), &route.path(&id)).header(HEADER, "no")).await;
        assert_eq!((answer.status, answer.header(HEADER)), (401, Some("no")), "{route:?}");
    }
}

#[tokio::test]
async fn the_callers_trace_travels_with_the_events() {
    let app = shared();
    let user = app.user();
    let request =
        creating(&user).header("traceparent", TRACEPARENT).header("tracestate", "vendor=a1,other=b2");
    let (_, events) = traced(&app, &user, request).await;
    for event in events {
        assert_eq!(event.attribute("traceparent"), Some(TRACEPARENT));
        assert_eq!(event.attribute("traceid"), Some(TRACEPARENT));
        assert_eq!(event.attribute("tracestate"), Some("vendor=a1,other=b2"));
    }
}
