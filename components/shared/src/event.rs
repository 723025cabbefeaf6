//! The CloudEvents of a change (docs/contract.md §2). A change always gives the same events, to the byte: a retry repeats them.

use cloudevents::{EventBuilder, EventBuilderV10};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::error::Error;
use crate::task::{Action, Change, Timestamp};

/// The namespace of event ids (UUIDv5, RFC 9562 §5.5).
const EVENT_IDS: Uuid = Uuid::from_u128(0x6f1c_2a52_9f0e_4c7b_8d43_5b1d_77c9_0e31);

/// The topics, in the order in which the database keeps a user's position on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// What happened to a task, in full.
    TaskEvents,
    /// That something happened to a task, for broadcasting.
    TaskUpdates,
    /// When to remind a user.
    Reminders,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Topic; 3] = [Topic::TaskEvents, Topic::TaskUpdates, Topic::Reminders];

    /// Its name at the broker.
    pub fn name(self) -> &'static str {
        match self {
            Topic::TaskEvents => "task-events",
            Topic::TaskUpdates => "task-updates",
            Topic::Reminders => "reminders",
        }
    }

    /// The topic of that name.
    pub fn parse(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// Its bit in `user_streams.blocked_topics`.
    pub fn bit(self) -> i32 {
        1 << self as i32
    }
}

/// An event that is ready to be sent.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The CloudEvents `id`.
    pub id: String,
    /// The CloudEvents `type`.
    pub event_type: &'static str,
    /// The whole event in structured mode, `application/cloudevents+json`.
    pub body: String,
}

/// What a topic is told of a change; `None` when the change means nothing to it.
///
/// `source` is the prefix of the CloudEvents `source`, which continues `/users/{user_id}`.
pub fn envelope(change: &Change, topic: Topic, source: &str) -> Result<Option<Envelope>, Error> {
    let Some((event_type, schema, data)) = content(change, topic) else { return Ok(None) };
    let id = event_id(change, event_type).to_string();
    let mut builder = EventBuilderV10::new()
        .id(&id)
        .source(format!("{source}/users/{}", change.user_id))
        .ty(event_type)
        .subject(change.task_id.to_string())
        .time(change.changed_at.to_utc())
        .data_with_schema("application/json", format!("urn:taskcast:schema:{schema}:1"), data)
        .extension("correlationid", change.trace.correlation_id.as_str())
        .extension("sequence", format!("{:020}", change.sequence))
        .extension("partitionkey", change.user_id.to_string());
    if let Some(traceparent) = &change.trace.traceparent {
        // Dapr overwrites the traceparent of an event that has no traceid.
        builder =
            builder.extension("traceparent", traceparent.as_str()).extension("traceid", traceparent.as_str());
    }
    if let Some(tracestate) = &change.trace.tracestate {
        builder = builder.extension("tracestate", tracestate.as_str());
    }
    let event =
        builder.build().map_err(|error| Error::Internal(format!("building {event_type}: {error}")))?;
    let body =
        canonical(&event).map_err(|error| Error::Internal(format!("writing {event_type}: {error}")))?;
    Ok(Some(Envelope { id, event_type, body }))
}

/// The event keeps its extensions in a hash map, whose order differs from process to process: by way of a JSON value,
/// whose keys are sorted, the same event is always the same bytes.
fn canonical(event: &cloudevents::Event) -> serde_json::Result<String> {
    Ok(serde_json::to_value(event)?.to_string())
}

/// Names the change and the type, and also task and instant: a database that was set back to an earlier state gives
/// out the same sequence numbers again, for other changes.
fn event_id(change: &Change, event_type: &str) -> Uuid {
    let Change { user_id, sequence, task_id, changed_at, .. } = change;
    let name = format!("{user_id}/{sequence}/{task_id}/{}/{event_type}", changed_at.micros());
    Uuid::new_v5(&EVENT_IDS, name.as_bytes())
}

/// The type, the name of the schema of `data`, and `data`.
fn content(change: &Change, topic: Topic) -> Option<(&'static str, &'static str, Value)> {
    match topic {
        Topic::TaskEvents => Some((lifecycle_type(change.action), "task-event", task_event(change))),
        Topic::TaskUpdates => Some(("sync.task", "sync-event", sync_event(change))),
        Topic::Reminders => reminder_event(change),
    }
}

fn lifecycle_type(action: Action) -> &'static str {
    match action {
        Action::Created => "task.created",
        Action::Updated => "task.updated",
        Action::Completed => "task.completed",
        Action::Uncompleted => "task.uncompleted",
        Action::Deleted => "task.deleted",
    }
}

/// Shape: `docs/schemas/task-event.v1.json`.
fn task_event(change: &Change) -> Value {
    let mut data = json!({
        "task_id": change.task_id,
        "user_id": change.user_id,
        "action": change.action.as_str(),
        "title": change.title,
        "completed": change.completed,
        "timestamp": change.changed_at,
    });
    if let Some(due_date) = change.due_date {
        insert(&mut data, "due_date", due_date);
    }
    if change.action == Action::Updated {
        insert(&mut data, "changes", changes(change));
    }
    data
}

/// The fields whose value became another one, with the new value.
fn changes(change: &Change) -> Map<String, Value> {
    let mut changes = Map::new();
    if change.title_changed {
        changes.insert("title".into(), json!(change.title));
    }
    if change.completed_changed {
        changes.insert("completed".into(), json!(change.completed));
    }
    if change.due_date_changed {
        changes.insert("due_date".into(), json!(change.due_date));
    }
    changes
}

/// Shape: `docs/schemas/sync-event.v1.json`. It is broadcast, so it says nothing of the task's content.
fn sync_event(change: &Change) -> Value {
    json!({
        "task_id": change.task_id,
        "user_id": change.user_id,
        "action": change.action.as_str(),
        "timestamp": change.changed_at,
    })
}

/// Shape: `docs/schemas/reminder-event.v1.json`. Only a due date that is there and new is worth a reminder.
fn reminder_event(change: &Change) -> Option<(&'static str, &'static str, Value)> {
    let due_date: Timestamp = change.due_date.filter(|_| change.due_date_changed)?;
    let (event_type, action) = match change.action {
        Action::Created => ("reminder.scheduled", "scheduled"),
        Action::Updated => ("reminder.rescheduled", "rescheduled"),
        _ => return None,
    };
    let data = json!({
        "task_id": change.task_id,
        "user_id": change.user_id,
        "due_date": due_date,
        "action": action,
        "timestamp": change.changed_at,
    });
    Some((event_type, "reminder-event", data))
}

fn insert(object: &mut Value, field: &str, value: impl Serialize) {
    if let Some(object) = object.as_object_mut() {
        object.insert(field.to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    const SOURCE: &str = "/taskcast";

    fn change(action: Action) -> Change {
        Change {
            user_id: Uuid::from_u128(1),
            sequence: 7,
            task_id: Uuid::from_u128(2),
            action,
            title: "Buy milk".into(),
            completed: false,
            due_date: None,
            title_changed: false,
            completed_changed: false,
            due_date_changed: false,
            changed_at: Timestamp::from_micros(1_764_579_600_123_456).unwrap(),
            trace: Trace { correlation_id: "c-1".into(), traceparent: None, tracestate: None },
        }
    }

    fn event(change: &Change, topic: Topic) -> Value {
        serde_json::from_str(&envelope(change, topic, SOURCE).unwrap().unwrap().body).unwrap()
    }

    #[test]
    fn an_event_has_every_attribute_of_the_contract() {
        let event = event(&change(Action::Created), Topic::TaskEvents);
        assert_eq!(
            event,
            json!({
                "specversion": "1.0",
                "id": event["id"],
                "source": "/taskcast/users/00000000-0000-0000-0000-000000000001",
                "type": "task.created",
                "time": "2025-12-01T09:00:00.123456Z",
                "subject": "00000000-0000-0000-0000-000000000002",
                "datacontenttype": "application/json",
                "dataschema": "urn:taskcast:schema:task-event:1",
                "correlationid": "c-1",
                "sequence": "00000000000000000007",
                "partitionkey": "00000000-0000-0000-0000-000000000001",
                "data": {
                    "task_id": "00000000-0000-0000-0000-000000000002",
                    "user_id": "00000000-0000-0000-0000-000000000001",
                    "action": "created",
                    "title": "Buy milk",
                    "completed": false,
                    "timestamp": "2025-12-01T09:00:00.123456Z",
                },
            })
        );
    }

    #[test]
    fn a_change_gives_the_same_bytes_every_time() {
        let change = change(Action::Deleted);
        let first = envelope(&change, Topic::TaskEvents, SOURCE).unwrap().unwrap().body;
        for _ in 0..20 {
            assert_eq!(envelope(&change, Topic::TaskEvents, SOURCE).unwrap().unwrap().body, first);
        }
        let keys: Vec<_> = first.match_indices("\":").collect();
        assert!(keys.len() > 10 && first.starts_with("{\"correlationid\""), "keys are sorted: {first}");
    }

    #[test]
    fn the_events_of_a_change_have_different_ids() {
        let change = change(Action::Updated);
        let ids = [Topic::TaskEvents, Topic::TaskUpdates].map(|topic| event(&change, topic)["id"].clone());
        assert_ne!(ids[0], ids[1]);
        let restored = Change { changed_at: Timestamp::from_micros(0).unwrap(), ..change };
        assert_ne!(event(&restored, Topic::TaskEvents)["id"], ids[0]);
    }

    #[test]
    fn an_update_lists_the_fields_whose_value_changed() {
        let mut change = change(Action::Updated);
        assert_eq!(event(&change, Topic::TaskEvents)["data"]["changes"], json!({}));
        change.title_changed = true;
        change.due_date_changed = true;
        assert_eq!(
            event(&change, Topic::TaskEvents)["data"]["changes"],
            json!({"title": "Buy milk", "due_date": null})
        );
        let completed = Change { action: Action::Completed, completed_changed: true, ..change };
        assert_eq!(event(&completed, Topic::TaskEvents)["data"].get("changes"), None);
    }

    #[test]
    fn a_reminder_needs_a_due_date_that_is_new() {
        let due_date = Timestamp::from_micros(1_764_579_600_000_000);
        let reminder = |action, due_date, due_date_changed| {
            let change = Change { due_date, due_date_changed, ..change(action) };
            envelope(&change, Topic::Reminders, SOURCE).unwrap().map(|envelope| envelope.event_type)
        };
        assert_eq!(reminder(Action::Created, due_date, true), Some("reminder.scheduled"));
        assert_eq!(reminder(Action::Updated, due_date, true), Some("reminder.rescheduled"));
        assert_eq!(reminder(Action::Updated, due_date, false), None);
        assert_eq!(reminder(Action::Updated, None, true), None);
        assert_eq!(reminder(Action::Created, None, false), None);
        assert_eq!(reminder(Action::Deleted, due_date, false), None);
    }

    #[test]
    fn the_callers_trace_travels_with_the_event() {
        let mut change = change(Action::Created);
        change.trace.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
        change.trace.tracestate = Some("a=1".into());
        let event = event(&change, Topic::TaskUpdates);
        assert_eq!(event["traceparent"], event["traceid"]);
        assert_eq!(event["traceparent"].as_str(), change.trace.traceparent.as_deref());
        assert_eq!(event["tracestate"], "a=1");
    }
}
