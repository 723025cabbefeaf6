//! The types of the domain. Each parses once; after that its value is known to keep its rules.

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Detail, Error};

mod invisible;

/// The longest title, in characters.
const MAX_TITLE_CHARACTERS: usize = 500;

/// A task's title: trimmed, 1 to 500 characters, without U+0000 (which Postgres can't store), and
/// one of them at least can be seen ([`invisible`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Title(String);

impl Title {
    /// Parses what a client sent.
    pub fn parse(value: &Value) -> Result<Title, Detail> {
        let invalid = |message| Err(Detail { field: "title", message });
        let Some(title) = value.as_str().map(str::trim) else {
            return invalid("Title must be a string");
        };
        if title.is_empty() {
            return invalid("Title cannot be empty");
        }
        if title.chars().count() > MAX_TITLE_CHARACTERS {
            return invalid("Title must be at most 500 characters");
        }
        if title.contains('\0') {
            return invalid("Title must not contain U+0000");
        }
        if title.chars().all(invisible::is) {
            return invalid("Title cannot be empty");
        }
        Ok(Title(title.to_owned()))
    }

    /// The title's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An instant in UTC with a precision of one microsecond, which is Postgres's. In JSON: RFC 3339 with `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// From microseconds since 1970-01-01 UTC; `None` outside the years that can be written.
    pub fn from_micros(micros: i64) -> Option<Timestamp> {
        DateTime::from_timestamp_micros(micros).map(Timestamp)
    }

    /// Microseconds since 1970-01-01 UTC.
    pub fn micros(self) -> i64 {
        self.0.timestamp_micros()
    }

    /// The same instant for libraries that use chrono.
    pub fn to_utc(self) -> DateTime<Utc> {
        self.0
    }

    /// Parses RFC 3339 with any offset. Digits beyond the microsecond are cut off. `None` when it is something else,
    /// or when its year in UTC is not one of RFC 3339's 0000 to 9999.
    pub fn parse(text: &str) -> Option<Timestamp> {
        // RFC 3339 is ASCII; chrono would take U+2212 for the minus of an offset, too.
        let text = Some(text).filter(|text| text.is_ascii())?;
        let utc = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
        let micros = Timestamp::from_micros(utc.timestamp_micros())?;
        (0..=9999).contains(&micros.0.year()).then_some(micros)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A task as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Its id.
    pub id: Uuid,
    /// Its title.
    pub title: String,
    /// Whether it is done.
    pub completed: bool,
    /// When it is due; a task without a due date has no such field in JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_date: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When one of its values last changed.
    pub updated_at: Timestamp,
}

/// The body of `POST /api/v1/tasks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// The title.
    pub title: Title,
    /// When it is due.
    pub due_date: Option<Timestamp>,
}

impl NewTask {
    /// Parses the body, with one detail for each rule that it breaks.
    pub fn parse(body: &Map<String, Value>) -> Result<NewTask, Error> {
        let title = match body.get("title") {
            Some(value) => Title::parse(value),
            None => Err(Detail { field: "title", message: "Title is required" }),
        };
        match (title, due_date(body)) {
            (Ok(title), Ok(due_date)) => Ok(NewTask { title, due_date: due_date.flatten() }),
            (title, due_date) => Err(broken([title.err(), due_date.err()])),
        }
    }
}

/// The body of `PATCH /api/v1/tasks/{id}`: what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPatch {
    /// The new title.
    pub title: Option<Title>,
    /// Whether it is done from now on.
    pub completed: Option<bool>,
    /// The new due date; `Some(None)` clears it.
    pub due_date: Option<Option<Timestamp>>,
}

impl TaskPatch {
    /// Parses the body, with one detail for each rule that it breaks.
    pub fn parse(body: &Map<String, Value>) -> Result<TaskPatch, Error> {
        let present = |field| body.get(field).filter(|value| !value.is_null());
        let title = present("title").map(Title::parse).transpose();
        let completed = present("completed")
            .map(|value| {
                value.as_bool().ok_or(Detail { field: "completed", message: "Completed must be a boolean" })
            })
            .transpose();
        match (title, completed, due_date(body)) {
            (Ok(title), Ok(completed), Ok(due_date)) => Ok(TaskPatch { title, completed, due_date }),
            (title, completed, due_date) => Err(broken([title.err(), completed.err(), due_date.err()])),
        }
    }

    /// Only marks the task as done, or as not done.
    pub fn completed(completed: bool) -> TaskPatch {
        TaskPatch { completed: Some(completed), ..TaskPatch::default() }
    }
}

/// `None`: no such field. `Some(None)`: it is null.
fn due_date(body: &Map<String, Value>) -> Result<Option<Option<Timestamp>>, Detail> {
    let Some(value) = body.get("due_date") else { return Ok(None) };
    if value.is_null() {
        return Ok(Some(None));
    }
    let parsed = value.as_str().and_then(Timestamp::parse);
    let message = "Due date must be an RFC 3339 date and time, such as 2026-12-01T09:00:00Z";
    parsed.map(|due_date| Some(Some(due_date))).ok_or(Detail { field: "due_date", message })
}

fn broken(details: impl IntoIterator<Item = Option<Detail>>) -> Error {
    Error::Validation(details.into_iter().flatten().collect())
}

/// What was done to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was created.
    Created,
    /// Its fields were patched, perhaps to the values that they had.
    Updated,
    /// It was marked as done, perhaps again.
    Completed,
    /// It was marked as not done, perhaps again.
    Uncompleted,
    /// It was deleted.
    Deleted,
}

impl Action {
    /// The word for it in events and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Created => "created",
            Action::Updated => "updated",
            Action::Completed => "completed",
            Action::Uncompleted => "uncompleted",
            Action::Deleted => "deleted",
        }
    }

    /// The action of that word.
    pub fn parse(word: &str) -> Option<Action> {
        use Action::*;
        [Created, Updated, Completed, Uncompleted, Deleted].into_iter().find(|action| action.as_str() == word)
    }
}

/// One mutation of one task, as the outbox keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose task it is.
    pub user_id: Uuid,
    /// Its position among the user's changes: 1, 2, 3 …
    pub sequence: i64,
    /// The task.
    pub task_id: Uuid,
    /// What was done.
    pub action: Action,
    /// The title right after it (of a deleted task: the last one).
    pub title: String,
    /// Likewise.
    pub completed: bool,
    /// Likewise.
    pub due_date: Option<Timestamp>,
    /// Whether the title became another one.
    pub title_changed: bool,
    /// Whether `completed` became another value.
    pub completed_changed: bool,
    /// Whether the due date became another one, was set or was cleared.
    pub due_date_changed: bool,
    /// When, by the database's clock.
    pub changed_at: Timestamp,
    /// The trace of the request that did it.
    pub trace: crate::trace::Trace,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn messages(error: Error) -> Vec<&'static str> {
        match error {
            Error::Validation(details) => details.into_iter().map(|detail| detail.message).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_title_is_trimmed_and_counted_in_characters() {
        assert_eq!(Title::parse(&json!("  Buy milk\n")).unwrap().as_str(), "Buy milk");
        assert!(Title::parse(&json!("é".repeat(500))).is_ok());
        assert!(Title::parse(&json!("é".repeat(501))).is_err());
        assert!(Title::parse(&json!(format!(" {} ", "x".repeat(500)))).is_ok());
    }

    #[test]
    fn a_bad_title_says_what_is_wrong() {
        for (title, message) in [
            (json!(7), "Title must be a string"),
            (json!(null), "Title must be a string"),
            (json!(" \t"), "Title cannot be empty"),
            (json!("\u{200b}\u{2800} \u{7f}"), "Title cannot be empty"),
            (json!("a\0b"), "Title must not contain U+0000"),
        ] {
            assert_eq!(Title::parse(&title).unwrap_err().message, message);
        }
    }

    #[test]
    fn a_title_that_can_be_seen_keeps_what_can_not() {
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        for title in
            [family, "\u{2764}\u{fe0f}", "\u{feff}x\u{200b}", "\u{3164}\u{2801}", "\u{600}", "\u{301}"]
        {
            assert_eq!(Title::parse(&json!(title)).unwrap().as_str(), title);
        }
    }

    #[test]
    fn every_broken_rule_of_a_body_is_reported() {
        let body = object(json!({"title": "", "completed": "yes", "due_date": "tomorrow"}));
        assert_eq!(messages(TaskPatch::parse(&body).unwrap_err()).len(), 3);
        assert_eq!(messages(NewTask::parse(&body).unwrap_err()).len(), 2);
        assert_eq!(messages(NewTask::parse(&Map::new()).unwrap_err()), ["Title is required"]);
    }

    #[test]
    fn absent_null_and_present_are_three_things_for_a_due_date() {
        let patch = |value| TaskPatch::parse(&object(value)).unwrap().due_date;
        assert_eq!(patch(json!({})), None);
        assert_eq!(patch(json!({"due_date": null})), Some(None));
        assert!(matches!(patch(json!({"due_date": "2026-12-01T09:00:00Z"})), Some(Some(_))));
    }

    #[test]
    fn null_counts_as_absent_for_the_other_fields() {
        let patch = TaskPatch::parse(&object(json!({"title": null, "completed": null, "else": 1}))).unwrap();
        assert_eq!(patch, TaskPatch::default());
    }

    #[test]
    fn an_instant_is_kept_in_utc_to_the_microsecond() {
        let shown = |text| Timestamp::parse(text).map(|parsed| parsed.to_string());
        assert_eq!(shown("2026-12-01T10:30:00+01:30").as_deref(), Some("2026-12-01T09:00:00Z"));
        assert_eq!(shown("2026-12-01T09:00:00.1234567Z").as_deref(), Some("2026-12-01T09:00:00.123456Z"));
        assert_eq!(shown("0000-01-01T00:00:00Z").as_deref(), Some("0000-01-01T00:00:00Z"));
        let minus_sign = "2026-12-01T09:00:00\u{2212}01:00";
        for bad in
            ["2026-12-01", "2026-12-01T09:00:00", "1764579600", "9999-12-31T23:59:59-01:00", minus_sign]
        {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[test]
    fn micros_survive_a_round_trip() {
        for text in
            ["0000-01-01T00:00:00.000001Z", "1969-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"]
        {
            let instant = Timestamp::parse(text).unwrap();
            assert_eq!(Timestamp::from_micros(instant.micros()), Some(instant));
            assert_eq!(instant.to_string(), text);
        }
    }
}
