//! Which events are shown, and how.

use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use serde_json::Value;
use stack::topics::TOPICS;

use crate::{event_lines, token};

/// Every type of the events (docs/asyncapi.yaml).
const TYPES: [&str; 8] = [
    "task.created",
    "task.updated",
    "task.completed",
    "task.uncompleted",
    "task.deleted",
    "sync.task",
    "reminder.scheduled",
    "reminder.rescheduled",
];

/// The arguments of `cargo xtask tail` that say so.
#[derive(clap::Args)]
pub(super) struct Selection {
    /// Only events of this user; may be repeated, as the other filters
    #[arg(long = "user", value_name = "UUID", value_parser = token::parse_user)]
    users: Vec<String>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(TYPES))]
    types: Vec<String>,
    /// Only events on this topic
    #[arg(long = "topic", value_name = "TOPIC", value_parser = PossibleValuesParser::new(TOPICS))]
    topics: Vec<String>,
    /// Print each event as it is, one a line
    #[arg(long)]
    json: bool,
}

impl Selection {
    /// The topics that can have something to show.
    pub(super) fn topics(&self) -> Vec<&str> {
        if self.topics.is_empty() {
            TOPICS.to_vec()
        } else {
            self.topics.iter().map(String::as_str).collect()
        }
    }

    fn choose(&self, event: &Value) -> bool {
        let chosen = |names: &[String], attribute| {
            names.is_empty() || names.iter().any(|name| name == text(event, attribute))
        };
        chosen(&self.users, "partitionkey") && chosen(&self.types, "type") && chosen(&self.topics, "topic")
    }
}

/// The terminal, or the program that reads ours.
pub(super) struct Output<'a> {
    selection: &'a Selection,
    closed: bool,
}

impl<'a> Output<'a> {
    pub(super) fn new(selection: &'a Selection) -> Self {
        Self { selection, closed: false }
    }

    /// Prints what comes before the first event.
    pub(super) fn begin(&mut self) -> Result<()> {
        if self.selection.json { Ok(()) } else { self.print(&event_lines::heading()) }
    }

    /// Prints the event, if it is one of those that are wanted.
    pub(super) fn show(&mut self, event: &Value) -> Result<()> {
        if !self.selection.choose(event) {
            return Ok(());
        }
        if self.selection.json {
            self.print(&event.to_string())
        } else {
            self.print(&event_lines::line(text(event, "topic"), event))
        }
    }

    /// Whether somebody has asked us to end, or nobody reads any more.
    pub(super) fn is_over(&self) -> bool {
        stack::interrupt::requested() || self.is_closed()
    }

    /// Whether nobody reads any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed || stack::pipe::is_closed()
    }

    fn print(&mut self, line: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            printed => printed.context("print"),
        }
    }
}

fn text<'a>(event: &'a Value, attribute: &str) -> &'a str {
    event.get(attribute).and_then(Value::as_str).unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selection(users: &[&str], types: &[&str], topics: &[&str]) -> Selection {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Selection { users: owned(users), types: owned(types), topics: owned(topics), json: false }
    }

    #[test]
    fn filters_of_one_kind_add_up_and_each_kind_must_pass() {
        let event = json!({"partitionkey": "u", "type": "task.created", "topic": "task-events"});
        for (selection, passes) in [
            (selection(&[], &[], &[]), true),
            (selection(&["v", "u"], &[], &["task-events"]), true),
            (selection(&["v"], &["task.created"], &[]), false),
            (selection(&["u"], &["sync.task"], &[]), false),
            (selection(&[], &["sync.task", "task.created"], &["reminders"]), false),
        ] {
            assert_eq!(selection.choose(&event), passes);
        }
    }
}
