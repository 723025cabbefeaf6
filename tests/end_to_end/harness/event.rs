//! One event, taken apart by a parser that is not the app's own and checked against its schema.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use cloudevents::event::SpecVersion;
use cloudevents::{AttributesReader, Event as Envelope};
use jsonschema::Validator;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::answer::{instant, keys};
use crate::harness::environment::root;

pub(crate) const TASK_EVENTS: &str = "task-events";
pub(crate) const TASK_UPDATES: &str = "task-updates";
pub(crate) const REMINDERS: &str = "reminders";
pub(crate) const TOPICS: [&str; 3] = [TASK_EVENTS, TASK_UPDATES, REMINDERS];

/// The attributes of docs/contract.md §2.
pub(crate) const ATTRIBUTES: [&str; 15] = [
    "correlationid",
    "data",
    "datacontenttype",
    "dataschema",
    "id",
    "partitionkey",
    "sequence",
    "source",
    "specversion",
    "subject",
    "time",
    "traceid",
    "traceparent",
    "tracestate",
    "type",
];

/// What Dapr adds on the way.
const ADDITIONS: [&str; 2] = ["pubsubname", "topic"];

/// An event that holds everything docs/contract.md §2 says of every event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) topic: String,
    /// As delivered.
    pub(crate) raw: Value,
    pub(crate) id: Uuid,
    pub(crate) user: Uuid,
    pub(crate) kind: String,
    pub(crate) time: DateTime<Utc>,
    pub(crate) sequence: u64,
}

impl Event {
    /// Parses and checks it; a broken event fails the test that looks at it.
    #[track_caller]
    pub(crate) fn verified(topic: &str, raw: &Value) -> Self {
        let envelope: Envelope = serde_json::from_value(raw.clone()).expect("a CloudEvent");
        assert_eq!(envelope.specversion(), SpecVersion::V10);
        assert_eq!(envelope.datacontenttype(), Some("application/json"));
        assert_attributes(raw);
        assert_matches_schema(topic, &envelope, &raw["data"]);
        let event = Self {
            topic: topic.to_owned(),
            raw: raw.clone(),
            id: Uuid::parse_str(envelope.id()).expect("the event's id is a UUID"),
            user: Uuid::parse_str(text(raw, "partitionkey")).expect("the partition key is a UUID"),
            kind: envelope.ty().to_owned(),
            time: instant(&raw["time"]),
            sequence: sequence(text(raw, "sequence")),
        };
        event.assert_consistent(&envelope);
        event
    }

    pub(crate) fn data(&self) -> &Value {
        &self.raw["data"]
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.raw[name].as_str()
    }

    #[track_caller]
    fn assert_consistent(&self, envelope: &Envelope) {
        let task = Some(text(&self.raw["data"], "task_id"));
        assert_eq!(envelope.subject(), task, "the subject is the task");
        assert_eq!(text(&self.raw["data"], "user_id"), self.user.to_string());
        assert_eq!(envelope.time(), Some(&self.time));
        assert_eq!(instant(&self.raw["data"]["timestamp"]), self.time, "the timestamp is the event's time");
        let source = envelope.source().to_string();
        assert!(source.ends_with(&format!("/users/{}", self.user)), "source {source}");
    }
}

/// The task as it must appear in a TaskEvent.
pub(crate) fn task_data(task: &Value, user: Uuid, action: &str, changes: Option<Value>) -> Value {
    let mut data = json!({
        "task_id": task["id"],
        "user_id": user,
        "action": action,
        "title": task["title"],
        "completed": task["completed"],
    });
    for (name, value) in [("due_date", task.get("due_date").cloned()), ("changes", changes)] {
        if let Some(value) = value {
            data[name] = value;
        }
    }
    data
}

fn sequence(text: &str) -> u64 {
    assert!(text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit()), "sequence {text}");
    text.parse().unwrap()
}

#[track_caller]
fn assert_attributes(raw: &Value) {
    let found: Vec<_> = keys(raw).into_iter().filter(|key| !ADDITIONS.contains(key)).collect();
    assert_eq!(found, ATTRIBUTES, "attributes of {raw}");
    assert!(!text(raw, "correlationid").is_empty(), "{raw}");
}

#[track_caller]
fn assert_matches_schema(topic: &str, envelope: &Envelope, data: &Value) {
    let (id, validator) = &schemas()[topic];
    assert_eq!(envelope.dataschema().map(ToString::to_string).as_ref(), Some(id), "dataschema on {topic}");
    let errors: Vec<_> = validator.iter_errors(data).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{data} against {id}: {errors:?}");
}

/// For each topic the URI of its schema, and the schema.
fn schemas() -> &'static BTreeMap<&'static str, (String, Validator)> {
    static SCHEMAS: OnceLock<BTreeMap<&str, (String, Validator)>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let files = ["task-event.v1.json", "sync-event.v1.json", "reminder-event.v1.json"];
        TOPICS.into_iter().zip(files.map(schema)).collect()
    })
}

fn schema(file: &str) -> (String, Validator) {
    let text = std::fs::read_to_string(root().join("docs/schemas").join(file)).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let id = schema["$id"].as_str().expect("a schema has an $id").to_owned();
    (id, validator(&closed(&schema)))
}

pub(crate) fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).expect("a JSON Schema")
}

/// The schema without room for fields that it does not name. As published it is open, so that fields can be added
/// (docs/events.md); but each must be described before the app may send it.
pub(crate) fn closed(schema: &Value) -> Value {
    let mut closed = schema.clone();
    if let Some(properties) = closed.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|property| *property = self::closed(property));
        closed["unevaluatedProperties"] = json!(false);
    }
    closed
}

#[track_caller]
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is not a string in {value}"))
}
