//! The versions of the schemas of the events' data: within a version, what a consumer relied on goes on holding
//! (docs/schemas/README.md).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::harness::environment::root;

/// They say something to people and nothing about events.
const ANNOTATIONS: [&str; 6] = ["$comment", "default", "deprecated", "description", "examples", "title"];

fn read(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn directory() -> PathBuf {
    root().join("docs/schemas")
}

/// The schemas of events in a directory: `task-event.v1.json`.
fn schemas_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|file| file.to_string_lossy().contains("-event.v")).collect()
}

/// What in a new text of a schema breaks the promises of the released one. Both are open and events of both are around,
/// in Kafka and in consumers' databases, for old and new consumers alike. So what was said of a field neither becomes weaker,
/// which would break those who read new events by the old text, nor stronger, which would break those who read old events
/// by the new one. Only a field may be added that need not be there.
fn broken_promises(released: &Value, current: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    compare("", released, current, &mut broken);
    broken
}

fn compare(path: &str, released: &Value, current: &Value, broken: &mut Vec<String>) {
    let (Some(before), Some(after)) = (released.as_object(), current.as_object()) else {
        return must_be_same(path, Some(released), Some(current), broken);
    };
    for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let path = format!("{path}/{name}");
        match (name.as_str(), before.get(name), after.get(name)) {
            (name, ..) if ANNOTATIONS.contains(&name) => (),
            ("properties", Some(before), Some(after)) => compare_fields(&path, before, after, broken),
            (_, before, after) => must_be_same(&path, before, after, broken),
        }
    }
}

/// A field that is new is no matter.
fn compare_fields(path: &str, released: &Value, current: &Value, broken: &mut Vec<String>) {
    for (name, before) in released.as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        match current.get(name) {
            Some(after) => compare(&path, before, after, broken),
            None => broken.push(format!("{path} is gone")),
        }
    }
}

fn must_be_same(path: &str, before: Option<&Value>, after: Option<&Value>, broken: &mut Vec<String>) {
    if before.map(normal) != after.map(normal) {
        let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
        broken.push(format!("{path}: {} has become {}", text(before), text(after)));
    }
}

/// Of the lists in a schema (`required`, `enum`, `type`) the order means nothing.
fn normal(value: &Value) -> Value {
    let Some(list) = value.as_array() else { return value.clone() };
    let mut list = list.clone();
    list.sort_by_key(Value::to_string);
    Value::Array(list)
}

#[test]
fn within_a_version_every_promise_of_a_released_schema_holds() {
    let releases = std::fs::read_dir(directory().join("released")).unwrap();
    let mut compared = 0;
    for file in releases.flat_map(|release| schemas_in(&release.unwrap().path())) {
        let broken = broken_promises(&read(&file), &read(&directory().join(file.file_name().unwrap())));
        assert!(broken.is_empty(), "{} promised otherwise: {broken:#?}", file.display());
        compared += 1;
    }
    assert!(compared >= 3, "the first release had three schemas");
}

#[test]
fn a_schema_is_named_after_its_version_and_open() {
    for file in schemas_in(&directory()) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let (name, version) = name.split_once(".v").unwrap();
        let schema = read(&file);
        assert_eq!(schema["$id"], format!("urn:taskcast:schema:{name}:{version}"));
        let text = schema.to_string();
        for closing in ["additionalProperties", "unevaluatedProperties"] {
            assert!(!text.contains(closing), "{name}: with {closing}, no field could be added");
        }
    }
}

/// Something that is done to a schema.
type Change = fn(&mut Value);

fn task_event() -> Value {
    read(&directory().join("task-event.v1.json"))
}

fn object<'a>(schema: &'a mut Value, pointer: &str) -> &'a mut Map<String, Value> {
    schema.pointer_mut(pointer).unwrap().as_object_mut().unwrap()
}

fn list<'a>(schema: &'a mut Value, pointer: &str) -> &'a mut Vec<Value> {
    schema.pointer_mut(pointer).unwrap().as_array_mut().unwrap()
}

#[test]
fn what_would_break_a_consumer_is_noticed() {
    let changes: [(&str, Change); 15] = [
        ("a field is removed", |schema| drop(object(schema, "/properties").remove("due_date"))),
        ("a field has another type", |schema| schema["properties"]["completed"]["type"] = json!("string")),
        ("a field may also be null", |schema| {
            schema["properties"]["title"]["type"] = json!(["string", "null"])
        }),
        ("a field has another format", |schema| schema["properties"]["timestamp"]["format"] = json!("date")),
        ("a field may be longer", |schema| schema["properties"]["title"]["maxLength"] = json!(600)),
        ("a field must be shorter", |schema| schema["properties"]["title"]["maxLength"] = json!(400)),
        ("a field is no longer guaranteed", |schema| drop(list(schema, "/required").remove(0))),
        ("a field is newly required", |schema| list(schema, "/required").push(json!("due_date"))),
        ("a new field is required", |schema| {
            object(schema, "/properties").insert("priority".to_owned(), json!({"type": "integer"}));
            list(schema, "/required").push(json!("priority"));
        }),
        ("a value is removed", |schema| drop(list(schema, "/properties/action/enum").remove(0))),
        ("a value is added", |schema| list(schema, "/properties/action/enum").push(json!("archived"))),
        ("a field within a field is removed", |schema| {
            object(schema, "/properties/changes/properties").remove("due_date");
        }),
        ("it is closed", |schema| schema["additionalProperties"] = json!(false)),
        ("a field is ruled out for some events", |schema| {
            schema["else"]["properties"]["title"] = json!(false)
        }),
        ("what depends on the action changes", |schema| drop(object(schema, "").remove("then"))),
    ];
    for (what, change) in changes {
        let mut schema = task_event();
        change(&mut schema);
        assert!(!broken_promises(&task_event(), &schema).is_empty(), "{what}");
    }
}

#[test]
fn a_field_may_be_added_and_be_described_better() {
    let changes: [(&str, Change); 4] = [
        ("a field is added", |schema| schema["properties"]["priority"] = json!({"type": "integer"})),
        ("a field within a field is added", |schema| {
            schema["properties"]["changes"]["properties"]["priority"] = json!({"type": "integer"});
        }),
        ("a description changes", |schema| {
            schema["properties"]["title"]["description"] = json!("For people.")
        }),
        ("the order of a list changes", |schema| list(schema, "/required").reverse()),
    ];
    for (what, change) in changes {
        let mut schema = task_event();
        change(&mut schema);
        assert_eq!(broken_promises(&task_event(), &schema), Vec::<String>::new(), "{what}");
    }
}
