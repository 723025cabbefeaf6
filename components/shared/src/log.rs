//! One JSON line per event on standard error, which Spin writes to the terminal and to `.spin/logs`. docs/logs.md has every
//! line and what an operator does about it; their schema is docs/schemas/log-line.v1.json.

use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::trace::Trace;

/// How much a line matters, the weightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A request or an event failed.
    Error,
    /// Worth a look: the system copes.
    Warn,
    /// Worth knowing.
    Info,
    /// Every request, and every pass of a drain.
    Debug,
}

impl Level {
    /// The word for it, in a line and in the variable `log_level`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }

    /// The level of that word.
    pub fn parse(word: &str) -> Option<Level> {
        use Level::*;
        [Error, Warn, Info, Debug].into_iter().find(|level| level.as_str() == word)
    }
}

/// The last level whose lines this instance writes.
static LAST: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// From now on, lines of this level and of weightier ones are written.
pub fn set_level(level: Level) {
    LAST.store(level as u8, Ordering::Relaxed);
}

/// Whether lines of this level are written.
pub fn is_on(level: Level) -> bool {
    level as u8 <= LAST.load(Ordering::Relaxed)
}

/// Writes a line about no single request: `time`, `level`, `message` and the members of the object `fields`.
///
/// Titles, tokens and connection strings never belong in `fields`.
pub fn write(level: Level, message: &str, fields: Value) {
    if is_on(level) {
        write_line(&line(level, message, None, fields));
    }
}

/// Writes a line about a request, or about what it has changed: [`write()`] with the request's correlation id and trace id.
pub fn write_about(trace: &Trace, level: Level, message: &str, fields: Value) {
    if is_on(level) {
        write_line(&line(level, message, Some(trace), fields));
    }
}

/// A duration as lines have it: in milliseconds, to the microsecond.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

fn line(level: Level, message: &str, trace: Option<&Trace>, fields: Value) -> Value {
    let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let mut line = json!({"time": time, "level": level.as_str(), "message": message});
    if let Some(members) = line.as_object_mut() {
        if let Some(trace) = trace {
            members.insert("correlation_id".to_owned(), trace.correlation_id.as_str().into());
            members.insert("trace_id".to_owned(), trace.trace_id().into());
        }
        if let Value::Object(fields) = fields {
            members.extend(fields);
        }
    }
    line
}

fn write_line(line: &Value) {
    // In one write: standard error has no buffer, and each write is a call to the host.
    let text = format!("{line}\n");
    // Nothing can be done about a log that can't be written, and a component must not panic.
    _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn members(trace: Option<&Trace>) -> Value {
        let mut line = line(Level::Warn, "something", trace, json!({"status": 1}));
        assert!(line["time"].take().as_str().is_some_and(|time| time.ends_with('Z')));
        line
    }

    #[test]
    fn a_line_about_no_request_has_no_correlation_id() {
        let expected = json!({"time": null, "level": "warn", "message": "something", "status": 1});
        assert_eq!(members(None), expected);
    }

    #[test]
    fn a_line_about_a_request_names_it_and_its_trace() {
        let trace = Trace { correlation_id: "c-1".into(), traceparent: TRACEPARENT.into(), tracestate: None };
        let expected = json!({
            "time": null, "level": "warn", "message": "something", "status": 1, "correlation_id": "c-1",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"
        });
        assert_eq!(members(Some(&trace)), expected);
    }

    #[test]
    fn a_level_is_on_when_it_is_as_weighty_as_the_last() {
        assert!(is_on(Level::Info) && !is_on(Level::Debug), "before a level is set");
        set_level(Level::Warn);
        assert_eq!(
            ["error", "warn", "info"].map(|word| is_on(Level::parse(word).unwrap())),
            [true, true, false]
        );
        set_level(Level::Info);
        for other in ["", "INFO", "trace", " warn"] {
            assert_eq!(Level::parse(other), None, "{other:?}");
        }
    }
}
