//! A caller's trace from its request to the event in Kafka: the spans of the host and of a real sidecar, and what the event
//! carries (docs/traces.md).

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::RequestBuilder;
use serde_json::json;
use stack::subscriber::Subscriber;
use stack::{Broker, Sidecar, free_port};
use uuid::Uuid;

use crate::harness::answer::Answer;
use crate::harness::collector::{sidecar, sidecar_configured};
use crate::harness::environment::kafka;
use crate::harness::event::{Event, TASK_EVENTS, TASK_UPDATES};
use crate::harness::otlp::{Collector, Span};
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{Own, Route, Setup, User, nudge, wait};
use crate::kafka::read;

/// Leaves the `traceparent` alone that a component sends: without it, Spin puts one of a trace of its own in its place.
const KEEPING_TRACES: &str = "info,spin_factor_outbound_http=off";

/// What the caller's own span is called by.
struct Caller {
    trace: String,
    span: String,
}

impl Caller {
    fn new() -> Self {
        let span = Uuid::new_v4().simple().to_string();
        Self { trace: Uuid::new_v4().simple().to_string(), span: span[..16].to_owned() }
    }

    fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.span)
    }
}

/// An app whose host and sidecar send their spans to one collector.
struct Traced {
    app: Own,
    sidecar: String,
    collector: Collector,
    _daprd: Sidecar,
}

impl Traced {
    /// With spans of the host's at this level; `None`: without any.
    fn start(level: Option<&str>) -> Self {
        let collector = Collector::start();
        let port = free_port().unwrap();
        let broker = Broker::Kafka { bootstrap: kafka() };
        let daprd = sidecar_configured(port, &broker, None, &configuration(&collector));
        let setup = Setup::new().dapr_url(format!("http://127.0.0.1:{port}"));
        let setup = match level {
            None => setup,
            Some(level) => setup
                .environment("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address()))
                .environment("OTEL_SERVICE_NAME", "taskcast")
                .environment("OTEL_BSP_SCHEDULE_DELAY", "100")
                .environment("SPIN_OTEL_TRACING_LEVEL", level),
        };
        Self { app: setup.start(), sidecar: format!("end-to-end-{port}"), collector, _daprd: daprd }
    }

    /// The event of the user's only change on this topic, as it is in Kafka.
    async fn event(&self, user: &User, topic: &str) -> Event {
        let users = [user.clone()];
        wait::until(wait::SOON, &format!("an event on {topic}"), async || {
            read(&kafka(), topic, &users).await.remove(&user.id)?.pop()
        })
        .await
    }

    /// The span with which the sidecar published on this topic.
    async fn publish(&self, topic: &str) -> Span {
        let call = format!("POST /v1.0/publish/pubsub-kafka/{topic}");
        let is = |span: &Span| span.service == self.sidecar && span.attribute("dapr.api") == Some(&call);
        self.collector.wait_for(1, &call, is).await.remove(0)
    }

    /// A span of the host's.
    async fn of_host(&self, name: &str) -> Span {
        let is = |span: &Span| span.service == "taskcast" && span.name == name;
        self.collector.wait_for(1, name, is).await.remove(0)
    }
}

fn configuration(collector: &Collector) -> String {
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": "traced"},
        "spec": {"tracing": {"samplingRate": "1", "otel": {
            "endpointAddress": collector.address(), "protocol": "http", "isSecure": false,
        }}},
    })
    .to_string()
}

fn creating(user: &User) -> RequestBuilder {
    user.on(Route::Create, "").json(&json!({"title": "Traced"}))
}

#[tokio::test]
async fn request_publish_and_event_are_in_the_callers_trace() {
    let traced = Traced::start(Some(KEEPING_TRACES));
    let (user, caller) = (traced.app.user(), Caller::new());
    Answer::to(creating(&user).header("traceparent", caller.traceparent())).await.task(201);

    let request = traced.of_host("POST /api/v1/tasks").await;
    assert_eq!((&request.trace, &request.parent), (&caller.trace, &caller.span));
    assert_eq!(request.kind, SpanKind::Server);
    assert_eq!(request.attribute("http.route"), Some("/api/v1/tasks"));
    assert_eq!(request.attribute("http.response.status_code"), Some("201"));
    let component = traced.of_host("execute_wasm_component tasks").await;
    assert_eq!((&component.trace, &component.parent), (&caller.trace, &request.id));

    for topic in [TASK_EVENTS, TASK_UPDATES] {
        let publish = traced.publish(topic).await;
        assert_eq!((&publish.trace, &publish.parent), (&caller.trace, &caller.span), "{topic}");
        assert_eq!(publish.kind, SpanKind::Client, "{topic}");
        let event = traced.event(&user, topic).await;
        assert_eq!(event.attribute("traceparent"), Some(&*caller.traceparent()), "{topic}");
        assert_eq!(event.attribute("correlationid"), Some(&*caller.trace), "{topic}");
    }
}

#[tokio::test]
async fn the_sidecar_delivers_to_a_consumer_in_the_callers_trace() {
    let collector = Collector::start();
    let subscriber = Subscriber::start(|_, _| ()).unwrap();
    let port = free_port().unwrap();
    let configuration = configuration(&collector);
    let _daprd = sidecar_configured(port, &Broker::InMemory, Some(subscriber.port()), &configuration);
    let app = Setup::new().dapr_url(format!("http://127.0.0.1:{port}")).start();
    let caller = Caller::new();
    Answer::to(creating(&app.user()).header("traceparent", caller.traceparent())).await.task(201);
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        let name = format!("pubsub/{topic}");
        let is = |span: &Span| span.name == name && span.attribute("dapr.api").is_none();
        let delivery = collector.wait_for(1, "a delivery", is).await.remove(0);
        assert_eq!((&delivery.trace, &delivery.parent), (&caller.trace, &caller.span), "{topic}");
    }
}

/// As it is with Spin unless told otherwise: the event alone is in the caller's trace.
#[tokio::test]
async fn a_span_of_spins_own_takes_the_publish_out_of_the_trace_but_not_the_event() {
    let traced = Traced::start(Some("info"));
    let (user, caller) = (traced.app.user(), Caller::new());
    Answer::to(creating(&user).header("traceparent", caller.traceparent())).await.task(201);
    let publish = traced.publish(TASK_EVENTS).await;
    assert_ne!(publish.trace, caller.trace);
    let is_parent = |span: &Span| span.service == "taskcast" && span.id == publish.parent;
    let sent = traced.collector.wait_for(1, "the publish's parent", is_parent).await.remove(0);
    assert_eq!((sent.name.as_str(), sent.kind, sent.parent.as_str()), ("POST", SpanKind::Client, ""));
    assert_eq!(sent.trace, publish.trace);
    let event = traced.event(&user, TASK_EVENTS).await;
    assert_eq!(event.attribute("traceparent"), Some(&*caller.traceparent()));
}

#[tokio::test]
async fn without_a_callers_trace_the_request_begins_one() {
    let traced = Traced::start(None);
    let user = traced.app.user();
    let answer = Answer::to(creating(&user)).await;
    answer.task(201);
    assert_begun(&traced, &user, answer.header("x-correlation-id").unwrap()).await;
}

#[tokio::test]
async fn a_traceparent_that_is_none_is_as_good_as_none() {
    let traced = Traced::start(Some(KEEPING_TRACES));
    let user = traced.app.user();
    let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
    let answer = Answer::to(creating(&user).header("traceparent", zeros)).await;
    answer.task(201);
    assert_eq!(traced.of_host("POST /api/v1/tasks").await.parent, "");
    assert_begun(&traced, &user, answer.header("x-correlation-id").unwrap()).await;
}

/// The trace has the id of the correlation, which is a UUID, and is not sampled: the sidecar records none of its spans.
async fn assert_begun(traced: &Traced, user: &User, correlation_id: &str) {
    let trace = correlation_id.replace('-', "");
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        let event = traced.event(user, topic).await;
        let traceparent = event.attribute("traceparent").unwrap();
        assert!(
            traceparent.starts_with(&format!("00-{trace}-")) && traceparent.ends_with("-00"),
            "{traceparent}"
        );
        assert_eq!(event.attribute("traceid"), Some(traceparent), "{topic}");
    }
}

#[tokio::test]
async fn a_single_publish_is_in_its_events_trace_and_a_bulk_call_in_none() {
    const USERS: usize = 20;
    let stub = Stub::start(Behaviour::accept().after(Duration::from_millis(100)));
    let app = Setup::new().dapr_url(stub.url()).start();
    let create = async |user: User| {
        Answer::to(creating(&user).header("traceparent", Caller::new().traceparent())).await.task(201);
    };
    // Alone, it has a call for each of its events; the others pile up behind each other.
    create(app.user()).await;
    stub.wait_accepted(2).await;
    futures::future::join_all(app.users(USERS).into_iter().map(create)).await;
    let publishes = stub.wait_accepted(2 + 2 * USERS).await;
    let (bulk, single): (Vec<_>, Vec<_>) = publishes.into_iter().partition(|publish| publish.bulk);
    assert!(!bulk.is_empty() && !single.is_empty(), "{} bulk, {} single", bulk.len(), single.len());
    assert!(bulk.iter().all(|publish| publish.traceparent.is_none()));
    assert!(bulk.iter().all(|publish| publish.event["traceparent"].is_string()));
    for publish in single {
        assert_eq!(publish.traceparent.as_deref(), publish.event["traceparent"].as_str());
    }
}

/// Whatever the sidecar does about traces itself: a repeat is the event that was there before, to the byte, and no attribute is
/// empty (CloudEvents 1.0 §3.1).
#[tokio::test]
async fn repeats_are_equal_in_kafka_and_none_has_an_empty_attribute() {
    for rate in [None, Some("0"), Some("0.1"), Some("1")] {
        // One user's events are published one by one, those of many users in bulk.
        for users in [1, 12] {
            assert_repeats_are_equal(rate, users).await;
        }
    }
}

async fn assert_repeats_are_equal(sampling_rate: Option<&str>, users: usize) {
    let port = free_port().unwrap();
    let app = Setup::new().dapr_url(format!("http://127.0.0.1:{port}")).start();
    let users = app.users(users);
    for user in &users {
        Answer::to(creating(user)).await.task(201);
    }
    app.database.execute("CREATE TABLE kept AS TABLE task_changes").await;
    let broker = Broker::Kafka { bootstrap: kafka() };
    let _daprd = match sampling_rate {
        None => sidecar(port, &broker, None),
        Some(rate) => sidecar_configured(port, &broker, None, &sampled(rate)),
    };
    for repeat in 1..=2 {
        // As after a crash between publishing and settling.
        app.database
            .execute(
                "INSERT INTO task_changes TABLE kept ON CONFLICT DO NOTHING;
                UPDATE user_streams SET task_events = 0, task_updates = 0, reminders = 0, claimable_at = now(),
                    lease_until = NULL, topic_attempts = NULL, topic_retry_at = NULL",
            )
            .await;
        for topic in [TASK_EVENTS, TASK_UPDATES] {
            let what = format!("{repeat} events of each user on {topic}");
            let read = wait::until(wait::EVENTUALLY, &what, async || {
                nudge::tick(&app.user()).await;
                let events = read(&kafka(), topic, &users).await;
                let all = users.iter().all(|user| events.get(&user.id).is_some_and(|e| e.len() >= repeat));
                all.then_some(events)
            })
            .await;
            for events in read.values() {
                let first = &events[0].raw;
                assert!(events.iter().all(|event| event.raw == *first), "{sampling_rate:?}: {events:?}");
                let attributes = first.as_object().unwrap();
                assert!(attributes.values().all(|value| value != ""), "{sampling_rate:?}: {first}");
            }
        }
    }
}

fn sampled(rate: &str) -> String {
    json!({
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": "sampled"},
        "spec": {"tracing": {"samplingRate": rate, "stdout": false}},
    })
    .to_string()
}

#[tokio::test]
async fn what_is_sent_without_a_callers_trace_is_in_one_of_its_own() {
    let stub = Stub::start(Behaviour::accept());
    let app = Setup::new().dapr_url(stub.url()).start();
    for traceparent in [None, Some("x"), Some("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")] {
        let request = creating(&app.user());
        let request = traceparent.iter().fold(request, |request, sent| request.header("traceparent", *sent));
        Answer::to(request).await.task(201);
    }
    let publishes = stub.wait_accepted(2 * 3).await;
    for publish in &publishes {
        let trace = publish.event["correlationid"].as_str().unwrap().replace('-', "");
        let traceparent = publish.event["traceparent"].as_str().unwrap();
        assert!(
            traceparent.starts_with(&format!("00-{trace}-")) && traceparent.ends_with("-00"),
            "{traceparent}"
        );
        assert_eq!(publish.event["traceid"], traceparent);
        if !publish.bulk {
            assert_eq!(publish.traceparent.as_deref(), Some(traceparent));
        }
    }
}
