//! The events of one change, which the topics have independently of each other.

use std::collections::HashMap;

use serde_json::Value;

use super::{Delivery, EVERY_CHANGE, REMINDERS};
use crate::events::Event;

impl Delivery {
    /// A change has a reminder exactly when its event on `task-events` says that there is a new due date, whether or not a
    /// client got the answer; and its events agree about its task, correlation id, trace and instant.
    pub(super) fn check_changes(&mut self, firsts: &[&Event]) {
        let on = |topic: &'static str| firsts.iter().copied().filter(move |event| event.topic == topic);
        let changes: HashMap<_, _> = on(EVERY_CHANGE[0]).map(|event| (change(event), event)).collect();
        let reminders: HashMap<_, _> = on(REMINDERS).map(|event| (change(event), event)).collect();
        for event in on(EVERY_CHANGE[0]).filter(|event| has_reminder(&event.data)) {
            if !reminders.contains_key(&change(event)) {
                self.lost.push(format!("the reminder of {}", event.name()));
            }
        }
        for event in on(REMINDERS) {
            if !changes.get(&change(event)).is_some_and(|change| has_reminder(&change.data)) {
                self.strange.push(event.name());
            }
        }
        for event in firsts {
            if let Some(first) = changes.get(&change(event))
                && !agree(first, event)
            {
                self.wrong.push(format!("{} is of another change than {}", event.name(), first.name()));
            }
            if !is_traceparent(&event.traceparent) {
                self.untraced.push(format!("{} has the traceparent {:?}", event.name(), event.traceparent));
            }
        }
    }
}

/// User and sequence number, which all events of a change share.
fn change(event: &Event) -> (&str, u64) {
    (&event.key, event.sequence)
}

/// Whether a TaskEvent says that its change set a new due date.
fn has_reminder(data: &Value) -> bool {
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    match text("action") {
        Some("created") => text("due_date").is_some(),
        _ => data.pointer("/changes/due_date").is_some_and(Value::is_string),
    }
}

fn agree(one: &Event, other: &Event) -> bool {
    one.correlation == other.correlation
        && one.traceparent == other.traceparent
        && one.time == other.time
        && one.data.get("task_id") == other.data.get("task_id")
}

/// Whether this is a trace as CloudEvents' extension for distributed tracing wants it (W3C Trace Context §3.2.2).
fn is_traceparent(value: &str) -> bool {
    let fields: Vec<&str> = value.split('-').collect();
    let is_hex = |field: &str, length| {
        field.len() == length && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |field: &str, length| is_hex(field, length) && field.bytes().any(|byte| byte != b'0');
    matches!(fields[..], ["00", trace, parent, flags]
        if is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reminder_belongs_to_a_new_due_date_only() {
        let due = "2030-01-01T00:00:00Z";
        for (data, expected) in [
            (json!({"action": "created", "due_date": due}), true),
            (json!({"action": "created"}), false),
            (json!({"action": "updated", "due_date": due, "changes": {"due_date": due}}), true),
            (json!({"action": "updated", "due_date": due, "changes": {"title": "T"}}), false),
            (json!({"action": "updated", "changes": {"due_date": null}}), false),
            (json!({"action": "completed", "due_date": due}), false),
        ] {
            assert_eq!(has_reminder(&data), expected, "{data}");
        }
    }

    #[test]
    fn an_empty_or_broken_trace_is_none() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for bad in [
            "",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "00-00000000000000000000000000000000-0000000000000000-00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
