//! What the app wrote to its log.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The log file of a running app.
pub(crate) struct Log(PathBuf);

impl Log {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.0).unwrap_or_default()).into_owned()
    }

    /// The lines that are JSON, without the component's id that the host puts before them.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let text = self.text();
        text.lines().filter_map(|line| serde_json::from_str(line.get(line.find('{')?..)?).ok()).collect()
    }

    /// The failed publishes of one task.
    pub(crate) fn failures_of(&self, task: &str) -> Vec<Value> {
        let mut entries = self.entries();
        entries.retain(|entry| entry["task_id"] == task && entry.get("error").is_some());
        entries
    }
}
