//! One JSON line per event on standard error, which Spin writes to the terminal and to `.spin/logs`.

use std::io::Write;

use serde_json::{Value, json};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Worth a look: the system copes.
    Warn,
    /// A request or an event failed.
    Error,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }
}

/// Writes a line with `time`, `level`, `message` and the members of the object `fields`.
///
/// Titles, tokens and connection strings never belong in `fields`.
pub fn write(level: Level, message: &str, fields: Value) {
    let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let mut line = json!({"time": time, "level": level.as_str(), "message": message});
    if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
        line.extend(fields);
    }
    // In one write: standard error has no buffer, and each write is a call to the host.
    let text = format!("{line}\n");
    // Nothing can be done about a log that can't be written, and a component must not panic.
    _ = std::io::stderr().write_all(text.as_bytes());
}
