//! One line for each event that the sidecar delivers.

use serde_json::Value;

/// The heads of the columns that [`line`] fills.
pub(crate) fn heading() -> String {
    columns("TOPIC", "TYPE", "SEQ", "TASK", "CORRELATION ID")
}

/// Topic, type, sequence, task and correlation id of an event, in columns.
pub(crate) fn line(topic: &str, event: &Value) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("-");
    let sequence = match text("sequence").trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    columns(topic, text("type"), sequence, text("subject"), text("correlationid"))
}

fn columns(topic: &str, kind: &str, sequence: &str, task: &str, correlation: &str) -> String {
    format!("{topic:<12}  {kind:<20}  {sequence:>5}  {task:<36}  {correlation}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_shows_the_sequence_without_its_zeros() {
        let event = json!({"type": "task.created", "sequence": "00000000000000000120", "subject": "t", "correlationid": "c"});
        let fields: Vec<String> = line("task-events", &event).split_whitespace().map(str::to_owned).collect();
        assert_eq!(fields, ["task-events", "task.created", "120", "t", "c"]);
    }

    #[test]
    fn what_an_event_lacks_is_a_dash() {
        assert!(line("reminders", &json!({})).contains(" - "));
    }
}
