//! What the sidecar is sent, byte by byte, recorded by a stub in its place.

use serde_json::Value;

use crate::harness::answer::{id, keys};
use crate::harness::event::{Event, TOPICS};
use crate::harness::publish::Publish;
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{Setup, User, nudge};

const DUE: &str = "2027-05-01T08:30:00Z";

#[tokio::test]
async fn an_event_is_published_once_to_its_topic_with_its_key() {
    let stub = Stub::start(Behaviour::accept());
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    user.create_due("Pay rent", DUE).await;
    let mut publishes = stub.wait_accepted(3).await;
    publishes.sort_by_key(|publish| TOPICS.iter().position(|topic| *topic == publish.topic));
    assert_eq!(publishes.iter().map(|publish| publish.topic.as_str()).collect::<Vec<_>>(), TOPICS);
    for publish in publishes {
        assert_eq!(publish.pubsub, "pubsub-kafka");
        assert_eq!(publish.content_type, "application/cloudevents+json");
        assert_eq!(publish.partition_key, user.id.to_string());
        assert_eq!(publish.api_token, None);
    }
}

#[tokio::test]
async fn an_event_has_the_attributes_of_the_contract_and_no_others() {
    let stub = Stub::start(Behaviour::accept());
    let app = Setup::new().dapr_url(stub.url()).start();
    app.user().create_due("Pay rent", DUE).await;
    for publish in stub.wait_accepted(3).await {
        Event::verified(&publish.topic, &publish.event);
        for name in ["topic", "pubsubname", "data_base64"] {
            assert_eq!(publish.event.get(name), None, "{name}");
        }
        assert_eq!(keys(&publish.event).len(), 15);
    }
}

#[tokio::test]
async fn pubsub_source_and_api_token_are_settings() {
    let stub = Stub::start(Behaviour::accept());
    let settings = Setup::new().dapr_url(stub.url()).variable("pubsub_name", "another-pubsub");
    let settings = settings.variable("event_source", "/elsewhere").variable("dapr_api_token", "let-me-in");
    let app = settings.start();
    let user = app.user();
    user.create("A").await;
    for publish in stub.wait_accepted(2).await {
        assert_eq!(publish.pubsub, "another-pubsub");
        assert_eq!(publish.event["source"], format!("/elsewhere/users/{}", user.id));
        assert_eq!(publish.api_token.as_deref(), Some("let-me-in"));
    }
}

#[tokio::test]
async fn a_retry_sends_the_same_bytes() {
    let stub = Stub::start(Behaviour::status(500));
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    let task = id(&user.create_due("Pay rent", DUE).await);
    stub.wait_attempts(3).await;
    stub.behave(Behaviour::accept());
    let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 3).await;
    for publish in accepted {
        let attempts = attempts_of(&stub, publish.id());
        assert!(attempts.len() > 1, "{} was tried once only", publish.event);
        assert!(attempts.iter().all(|attempt| attempt.bytes == publish.bytes), "{attempts:?}");
        assert_eq!(publish.event["subject"], Value::from(task.as_str()));
    }
}

fn attempts_of(stub: &Stub, id: &str) -> Vec<Publish> {
    stub.attempts().into_iter().filter(|attempt| attempt.id() == id).collect()
}

#[tokio::test]
async fn ids_are_unique_over_users_topics_and_changes() {
    let stub = Stub::start(Behaviour::accept());
    let app = Setup::new().dapr_url(stub.url()).start();
    for user in app.users(3) {
        three_changes(&user).await;
    }
    let published = stub.wait_accepted(3 * 7).await;
    let mut ids: Vec<_> = published.iter().map(|publish| publish.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), published.len());
}

/// Seven events.
async fn three_changes(user: &User) {
    let task = id(&user.create_due("Pay rent", DUE).await);
    user.update(&task, &serde_json::json!({"title": "B"})).await;
    user.update(&task, &serde_json::json!({"title": "C"})).await;
}
