//! docs/asyncapi.yaml: valid by AsyncAPI's own parser, and true of the events that the running app delivers.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::OnceLock;

use jsonschema::Validator;
use rskafka::record::Record;
use serde_json::{Value, json};
use stack::topics::TOPICS;
use stack::{Broker, free_port};

use crate::harness::answer::{Answer, id, keys};
use crate::harness::collector::sidecar;
use crate::harness::environment::{directory, kafka, root};
use crate::harness::event::{ATTRIBUTES, Event, closed, validator};
use crate::harness::{Route, Setup, User, node, shared, wait};
use crate::kafka::records;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What the parser counts as an error or a warning; what it finds merely worth mentioning has a higher number.
const WARNING: u64 = 1;

/// What AsyncAPI's parser makes of a document.
struct Parsed {
    problems: Vec<Value>,
    /// With all references resolved; null when it has errors.
    document: Value,
}

fn parse(file: &Path) -> Parsed {
    let printed = node::succeed(&node::file(""), &node::file("asyncapi.mjs"), [file]);
    let parsed: Value = serde_json::from_str(&printed).unwrap();
    let diagnostics = parsed["diagnostics"].as_array().unwrap();
    let is_problem = |diagnostic: &&Value| diagnostic["severity"].as_u64().unwrap() <= WARNING;
    let problems = diagnostics.iter().filter(is_problem).cloned().collect();
    Parsed { problems, document: parsed["document"].clone() }
}

fn ours() -> &'static Parsed {
    static PARSED: OnceLock<Parsed> = OnceLock::new();
    PARSED.get_or_init(|| parse(&root().join("docs/asyncapi.yaml")))
}

/// The messages of the document, by the channel's address and the CloudEvents type.
pub(crate) fn messages() -> BTreeMap<(&'static str, &'static str), &'static Value> {
    let channels = ours().document["channels"].as_object().expect("docs/asyncapi.yaml has channels");
    let of_channel = |channel: &'static Value| {
        let address = channel["address"].as_str().unwrap();
        let messages = channel["messages"].as_object().unwrap().values();
        messages.map(move |message| ((address, name(message)), message))
    };
    channels.values().flat_map(of_channel).collect()
}

fn name(message: &Value) -> &str {
    message["name"].as_str().expect("a message has a name")
}

fn message(topic: &str, kind: &str) -> &'static Value {
    messages().get(&(topic, kind)).unwrap_or_else(|| panic!("{topic} has no {kind} in docs/asyncapi.yaml"))
}

/// Every property that a schema names, its `allOf` included.
fn properties(schema: &Value) -> BTreeSet<&str> {
    let own = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    own.chain(schema["allOf"].as_array().into_iter().flatten().flat_map(properties)).collect()
}

/// The schema of `data` that a payload refers to.
fn data_schema(payload: &Value) -> &Value {
    let parts = payload["allOf"].as_array().expect("a payload is put together by allOf");
    let data = parts.iter().map(|part| &part["properties"]["data"]).find(|data| data.get("$id").is_some());
    data.unwrap_or_else(|| data_schema(parts.iter().find(|part| part.get("allOf").is_some()).unwrap()))
}

/// Accepts what the message describes, and nothing besides it.
fn strict(message: &Value) -> Validator {
    let payload = &message["payload"];
    validator(&json!({
        "allOf": [payload],
        "properties": {"data": closed(data_schema(payload))},
        "unevaluatedProperties": false,
    }))
}

#[track_caller]
fn assert_valid(validator: &Validator, instance: &Value) {
    let errors: Vec<_> = validator.iter_errors(instance).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{instance}: {errors:?}");
}

#[test]
fn asyncapis_own_parser_finds_nothing_wrong() {
    assert!(ours().problems.is_empty(), "{:#?}", ours().problems);
}

#[test]
fn the_parser_would_find_what_is_wrong() {
    let copy = directory("asyncapi");
    symlink(root().join("docs/schemas"), copy.join("schemas")).unwrap();
    let text = std::fs::read_to_string(root().join("docs/asyncapi.yaml")).unwrap();
    for (right, wrong) in [
        ("action: send", "action: publish"),
        ("$ref: ./schemas/task-event.v1.json", "$ref: ./schemas/task-event.v0.json"),
        (
            "$ref: '#/channels/reminders/messages/reminderScheduled'",
            "$ref: '#/components/messages/taskSynced'",
        ),
    ] {
        let file = copy.join("asyncapi.yaml");
        assert!(text.contains(right), "{right}");
        std::fs::write(&file, text.replacen(right, wrong, 1)).unwrap();
        assert!(!parse(&file).problems.is_empty(), "{wrong}");
    }
}

#[test]
fn the_document_is_of_this_version() {
    assert_eq!(ours().document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn each_channel_is_a_topic_to_which_the_app_sends_all_of_its_messages() {
    let channels = ours().document["channels"].as_object().unwrap();
    let addresses: BTreeSet<_> =
        channels.values().map(|channel| channel["address"].as_str().unwrap()).collect();
    assert_eq!(addresses, BTreeSet::from(TOPICS));
    let operations = ours().document["operations"].as_object().unwrap();
    assert_eq!(operations.len(), channels.len());
    for channel in channels.values() {
        let of_channel = |operation: &&Value| operation["channel"]["address"] == channel["address"];
        let operation = operations.values().find(of_channel).expect("an operation");
        assert_eq!(operation["action"], "send");
        let sent = operation["messages"].as_array().unwrap().iter();
        let all = channel["messages"].as_object().unwrap().values();
        let [sent, all] = [sent.map(name).collect(), all.map(name).collect()] as [BTreeSet<_>; 2];
        assert_eq!(sent, all, "{}", channel["address"]);
        assert_eq!(channel["bindings"]["kafka"]["topic"], channel["address"]);
    }
    for message in messages().values() {
        assert_eq!(message["contentType"], "application/cloudevents+json");
    }
    assert_eq!(ours().document["servers"]["dapr"]["x-dapr-pubsub"], stack::resources::PUBSUB);
}

#[test]
fn every_type_has_an_example_and_every_example_is_valid() {
    for ((topic, kind), message) in messages() {
        let examples = message["examples"].as_array().unwrap_or_else(|| panic!("{kind} has no example"));
        for example in examples {
            let event = &example["payload"];
            assert_valid(&strict(message), event);
            assert_eq!(event["type"], kind, "on {topic}");
            assert_eq!(event["source"].as_str().unwrap().rsplit('/').next(), event["partitionkey"].as_str());
            assert_eq!(event["subject"], event["data"]["task_id"]);
            assert_eq!(event["time"], event["data"]["timestamp"]);
        }
    }
}

/// Everything that can happen to a task, by a caller who sends a trace; returns the events.
async fn a_whole_life() -> Vec<Event> {
    let app = shared();
    let user = app.user();
    let create = user.on(Route::Create, "").json(&json!({"title": "A", "due_date": "2030-01-01T00:00:00Z"}));
    let create = create.header("traceparent", TRACEPARENT).header("tracestate", "vendor=a1");
    let task = id(&Answer::to(create).await.task(201));
    user.update(&task, &json!({"title": "B", "completed": true})).await;
    user.update(&task, &json!({"due_date": "2030-02-01T00:00:00Z"})).await;
    user.update(&task, &json!({"due_date": null})).await;
    user.task_after(Route::Complete, &task).await;
    user.task_after(Route::Uncomplete, &task).await;
    user.call(Route::Delete, &task).await.ok(200);
    app.heard(&user).await.events
}

#[tokio::test]
async fn what_the_app_delivers_is_what_the_document_says() {
    let events = a_whole_life().await;
    let delivered: BTreeSet<_> =
        events.iter().map(|event| (event.topic.as_str(), event.kind.as_str())).collect();
    assert_eq!(delivered, messages().into_keys().collect(), "types that came, and types in the document");
    for event in &events {
        assert_valid(&strict(message(&event.topic, &event.kind)), &event.raw);
    }
    let came: BTreeSet<_> = events.iter().flat_map(|event| keys(&event.raw)).collect();
    let known = messages().into_values().flat_map(|message| properties(&message["payload"]));
    assert_eq!(came, known.collect(), "attributes that came, and attributes in the document");
}

#[tokio::test]
async fn an_event_that_the_document_does_not_describe_is_refused() {
    for event in a_whole_life().await {
        let strict = strict(message(&event.topic, &event.kind));
        assert_valid(&strict, &event.raw);
        let refuses = |change: &dyn Fn(&mut Value)| {
            let mut changed = event.raw.clone();
            change(&mut changed);
            assert!(!strict.is_valid(&changed), "{changed}");
        };
        refuses(&|event| event["surprise"] = json!("an attribute"));
        refuses(&|event| event["data"]["surprise"] = json!("a field"));
        refuses(&|event| event["type"] = json!("task.archived"));
        refuses(&|event| event["sequence"] = json!(7));
        for name in ATTRIBUTES {
            refuses(&|event| drop(event.as_object_mut().unwrap().remove(name)));
        }
    }
}

#[tokio::test]
async fn in_kafka_key_and_headers_are_as_the_document_says() {
    let port = free_port().unwrap();
    let _sidecar = sidecar(port, &Broker::Kafka { bootstrap: kafka() }, None);
    let app = Setup::new().dapr_url(format!("http://127.0.0.1:{port}")).start();
    let user = app.user();
    user.create_due("In Kafka", "2030-01-01T00:00:00Z").await;
    for topic in TOPICS {
        let record = wait_for_record(topic, &user).await;
        let event: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
        let message = message(topic, event["type"].as_str().unwrap());
        let key = String::from_utf8(record.key.unwrap()).unwrap();
        assert_eq!(key, user.id.to_string());
        assert_valid(&validator(&message["bindings"]["kafka"]["key"]), &json!(key));
        let headers: BTreeMap<_, _> = record
            .headers
            .iter()
            .map(|(name, value)| (name, String::from_utf8(value.clone()).unwrap()))
            .collect();
        assert_valid(&validator(&closed(&message["headers"])), &json!(headers));
    }
}

async fn wait_for_record(topic: &str, user: &User) -> Record {
    let is_theirs = |record: &Record| record.key.as_deref() == Some(user.id.to_string().as_bytes());
    wait::until(wait::EVENTUALLY, &format!("a record on {topic} in Kafka"), async || {
        records(&kafka(), topic).await.into_iter().find(is_theirs)
    })
    .await
}
