//! The CloudEvents of a change (docs/contract.md §2). A change always gives the same events, to the byte: a retry repeats them.

use std::fmt::Arguments;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
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

    /// Its bit in a set of topics.
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
    pub body: Box<RawValue>,
}

/// What a topic is told of a change; `None` when the change means nothing to it.
///
/// `source` is the prefix of the CloudEvents `source`, which continues `/users/{user_id}`.
pub fn envelope(change: &Change, topic: Topic, source: &str) -> Result<Option<Envelope>, Error> {
    let Some(Content { event_type, schema, data }) = content(change, topic) else { return Ok(None) };
    let id = event_id(change, event_type);
    let (traceparent, tracestate) = (change.trace.traceparent.as_str(), change.trace.event_tracestate());
    let event = Event {
        correlationid: &change.trace.correlation_id,
        data,
        datacontenttype: "application/json",
        dataschema: format_args!("urn:taskcast:schema:{schema}:1"),
        id,
        partitionkey: change.user_id,
        sequence: format_args!("{:020}", change.sequence),
        source: format_args!("{source}/users/{}", change.user_id),
        specversion: "1.0",
        subject: change.task_id,
        time: change.changed_at,
        traceid: traceparent,
        traceparent,
        tracestate: &tracestate,
        event_type,
    };
    let body =
        to_raw_value(&event).map_err(|error| Error::Internal(format!("writing {event_type}: {error}")))?;
    Ok(Some(Envelope { id: id.to_string(), event_type, body }))
}

/// A CloudEvent in structured mode. Its members, and those of its data, are in alphabetical order, so that the same
/// event is always the same bytes, and those bytes are what the CloudEvents SDK writes with sorted keys.
#[derive(Serialize)]
struct Event<'a> {
    correlationid: &'a str,
    data: Data<'a>,
    datacontenttype: &'static str,
    dataschema: Arguments<'a>,
    id: Uuid,
    partitionkey: Uuid,
    sequence: Arguments<'a>,
    source: Arguments<'a>,
    specversion: &'static str,
    subject: Uuid,
    time: Timestamp,
    /// Dapr overwrites the traceparent of an event that has no traceid.
    traceid: &'a str,
    traceparent: &'a str,
    tracestate: &'a str,
    #[serde(rename = "type")]
    event_type: &'static str,
}

/// The data of any of the events; each has the members that its schema in `docs/schemas` gives it.
#[derive(Serialize)]
struct Data<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Changes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_date: Option<Timestamp>,
    task_id: Uuid,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    user_id: Uuid,
}

/// The fields whose value became another one, with the new value: a due date may have become none.
#[derive(Serialize)]
struct Changes<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_date: Option<Option<Timestamp>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
}

/// Names the change and the type, and also task and instant: a database that was set back to an earlier state gives
/// out the same sequence numbers again, for other changes.
fn event_id(change: &Change, event_type: &str) -> Uuid {
    let Change { user_id, sequence, task_id, changed_at, .. } = change;
    let name = format!("{user_id}/{sequence}/{task_id}/{}/{event_type}", changed_at.micros());
    Uuid::new_v5(&EVENT_IDS, name.as_bytes())
}

/// What is particular to a topic.
struct Content<'a> {
    event_type: &'static str,
    /// The name of the schema of `data`.
    schema: &'static str,
    data: Data<'a>,
}

fn content(change: &Change, topic: Topic) -> Option<Content<'_>> {
    match topic {
        Topic::TaskEvents => {
            let (event_type, data) = (lifecycle_type(change.action), task_event(change));
            Some(Content { event_type, schema: "task-event", data })
        }
        Topic::TaskUpdates => {
            let data = sync_event(change, change.action.as_str());
            Some(Content { event_type: "sync.task", schema: "sync-event", data })
        }
        Topic::Reminders => reminder(change),
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
fn task_event(change: &Change) -> Data<'_> {
    let changes = Changes {
        completed: change.completed_changed.then_some(change.completed),
        due_date: change.due_date_changed.then_some(change.due_date),
        title: change.title_changed.then_some(&change.title),
    };
    Data {
        changes: (change.action == Action::Updated).then_some(changes),
        completed: Some(change.completed),
        due_date: change.due_date,
        title: Some(&change.title),
        ..sync_event(change, change.action.as_str())
    }
}

/// Shape: `docs/schemas/sync-event.v1.json`. It is broadcast, so it says nothing of the task's content.
fn sync_event(change: &Change, action: &'static str) -> Data<'static> {
    Data {
        action,
        changes: None,
        completed: None,
        due_date: None,
        task_id: change.task_id,
        timestamp: change.changed_at,
        title: None,
        user_id: change.user_id,
    }
}

/// Shape: `docs/schemas/reminder-event.v1.json`. Only a due date that is there and new is worth a reminder.
fn reminder(change: &Change) -> Option<Content<'static>> {
    let due_date = change.due_date.filter(|_| change.due_date_changed)?;
    let (event_type, action) = match change.action {
        Action::Created => ("reminder.scheduled", "scheduled"),
        Action::Updated => ("reminder.rescheduled", "rescheduled"),
        _ => return None,
    };
    let data = Data { due_date: Some(due_date), ..sync_event(change, action) };
    Some(Content { event_type, schema: "reminder-event", data })
}

#[cfg(test)]
mod tests {
    use cloudevents::{EventBuilder, EventBuilderV10};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::trace::Trace;

    const SOURCE: &str = "/taskcast";
    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

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
            trace: Trace { correlation_id: "c-1".into(), traceparent: TRACEPARENT.into(), tracestate: None },
        }
    }

    fn event(change: &Change, topic: Topic) -> Value {
        serde_json::from_str(envelope(change, topic, SOURCE).unwrap().unwrap().body.get()).unwrap()
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
                "traceid": TRACEPARENT,
                "traceparent": TRACEPARENT,
                "tracestate": "taskcast=00f067aa0ba902b7",
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

    /// The same event by way of the CloudEvents SDK, whose extensions are in a hash map: as a JSON value, keys are sorted.
    fn by_sdk(change: &Change, topic: Topic) -> String {
        let ours = event(change, topic);
        let text = |name: &str| ours[name].as_str().unwrap().to_owned();
        let Trace { correlation_id, traceparent, .. } = &change.trace;
        let builder = EventBuilderV10::new()
            .id(text("id"))
            .source(text("source"))
            .ty(text("type"))
            .subject(change.task_id.to_string())
            .time(change.changed_at.to_utc())
            .data_with_schema("application/json", text("dataschema"), ours["data"].clone())
            .extension("correlationid", correlation_id.as_str())
            .extension("sequence", text("sequence"))
            .extension("partitionkey", change.user_id.to_string())
            .extension("traceparent", traceparent.as_str())
            .extension("traceid", traceparent.as_str())
            .extension("tracestate", change.trace.event_tracestate().into_owned());
        serde_json::to_value(builder.build().unwrap()).unwrap().to_string()
    }

    fn any_change() -> impl Strategy<Value = Change> {
        use Action::*;
        let actions = prop::sample::select(vec![Created, Updated, Completed, Uncompleted, Deleted]);
        let instants =
            || (-62_167_219_200_000_000..253_402_300_800_000_000_i64).prop_map(Timestamp::from_micros);
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        let due_date = prop_oneof![Just(None), instants()];
        let trace = ("[a-f0-9-]{55}", prop::option::of("[a-z]=[ -~]{0,20}"));
        let ids = (any::<u128>(), any::<u128>(), 1..i64::MAX, instants());
        (actions, ".{0,40}", flags, due_date, trace, ids, "[A-Za-z0-9._-]{1,128}").prop_map(
            |(action, title, flags, due_date, trace, (user, task, sequence, changed_at), correlation_id)| {
                let (completed, title_changed, completed_changed, due_date_changed) = flags;
                let (traceparent, tracestate) = trace;
                Change {
                    user_id: Uuid::from_u128(user),
                    sequence,
                    task_id: Uuid::from_u128(task),
                    action,
                    title,
                    completed,
                    due_date,
                    title_changed,
                    completed_changed,
                    due_date_changed,
                    changed_at: changed_at.unwrap(),
                    trace: Trace { correlation_id, traceparent, tracestate },
                }
            },
        )
    }

    proptest! {
        /// A change gives the same bytes every time, and they are those of an implementation that is not ours.
        #[test]
        fn an_event_has_the_bytes_that_the_sdk_writes(change in any_change()) {
            for topic in Topic::ALL {
                if let Some(envelope) = envelope(&change, topic, SOURCE).unwrap() {
                    prop_assert_eq!(envelope.body.get(), by_sdk(&change, topic));
                }
            }
        }
    }

    /// Also the instant's: digits are written in threes, and none for a whole second.
    #[test]
    fn a_whole_second_is_written_without_digits() {
        let changed_at = Timestamp::from_micros(1_764_579_600_000_000).unwrap();
        let change = Change { changed_at, ..change(Action::Created) };
        assert_eq!(event(&change, Topic::TaskUpdates)["time"], "2025-12-01T09:00:00Z");
        assert_eq!(
            envelope(&change, Topic::TaskUpdates, SOURCE).unwrap().unwrap().body.get(),
            by_sdk(&change, Topic::TaskUpdates)
        );
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
        change.trace.tracestate = Some("a=1".into());
        let event = event(&change, Topic::TaskUpdates);
        assert_eq!(event["traceparent"], event["traceid"]);
        assert_eq!(event["traceparent"], TRACEPARENT);
        assert_eq!(event["tracestate"], "a=1");
    }
}
