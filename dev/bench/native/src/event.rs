//! The events of a change: taskcast's own, with its default settings.

use serde_json::json;
use shared::dapr::Message;
use shared::error::Error;
use shared::event::{Envelope, Topic};
use shared::log::{self, Level};
use shared::task::Change;

/// What the CloudEvents `source` starts with: the default of `spin.toml`.
const SOURCE: &str = "/taskcast";

/// What a topic is told of a change; `None` when the change means nothing to it.
pub(crate) fn envelope(change: &Change, topic: Topic) -> Result<Option<Envelope>, Error> {
    shared::event::envelope(change, topic, SOURCE)
}

/// An event of the change, with the key that keeps its user's events in one partition.
pub(crate) fn message<'a>(change: &'a Change, envelope: &'a Envelope) -> Message<'a> {
    Message { partition_key: change.user_id.to_string(), envelope, trace: &change.trace }
}

/// Says that an event was not published.
pub(crate) fn log_failure(change: &Change, topic: Topic, event_type: &str, error: &str) {
    let fields = json!({
        "event_type": event_type,
        "task_id": change.task_id,
        "topic": topic.name(),
        "sequence": change.sequence,
        "correlation_id": change.trace.correlation_id,
        "error": error,
    });
    log::write(Level::Error, "event not published", fields);
}
