//! Rows that statements return as JSON.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::delivery::{Claim, Claimed, Unreadable, Window};
use crate::error::Error;
use crate::task::{Action, Change, Timestamp};
use crate::trace::Trace;

/// What `next_pass` returns.
#[derive(Deserialize)]
struct StoredPass<'a> {
    promised_until: Option<i64>,
    running: Vec<i64>,
    left: Vec<Uuid>,
    unsettled: Vec<Uuid>,
    #[serde(borrow)]
    claims: Vec<StoredClaim<'a>>,
}

#[derive(Deserialize)]
struct StoredClaim<'a> {
    user_id: Uuid,
    lease_token: i64,
    last_sequence: i64,
    delivered: [i64; 3],
    attempts: [i32; 3],
    waiting_topics: i32,
    goes_on: bool,
    #[serde(borrow)]
    windows: Vec<StoredWindow<'a>>,
}

#[derive(Deserialize)]
struct StoredWindow<'a> {
    after: i64,
    #[serde(borrow)]
    changes: Vec<&'a RawValue>,
}

/// Reads what `next_pass` has returned. A change that this version can't read stops its user alone.
///
/// Errors: `Internal` when it is not in that form.
pub fn read_pass(text: &str) -> Result<Claimed, Error> {
    let stored: StoredPass<'_> = read(text)?;
    let StoredPass { promised_until, running, left, unsettled, claims } = stored;
    let claims = claims.into_iter().map(StoredClaim::claim).collect();
    Ok(Claimed { promised_until, running, left, unsettled, claims })
}

/// Reads a change of that user.
///
/// Errors: `Internal` when a value is none that this version writes.
pub(super) fn read_change(text: &str, user_id: Uuid) -> Result<Change, Error> {
    read::<StoredChange>(text)?.change(user_id)
}

/// Reads JSON that a statement has written.
pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Internal(format!("reading JSON: {error}")))
}

impl StoredClaim<'_> {
    fn claim(self) -> Claim {
        let StoredClaim { user_id, lease_token, last_sequence, delivered, attempts, .. } = self;
        let StoredClaim { waiting_topics, goes_on, windows, .. } = self;
        let windows = windows.into_iter().map(|window| window.window(user_id)).collect();
        Claim { user_id, lease_token, last_sequence, delivered, attempts, waiting_topics, goes_on, windows }
    }
}

impl StoredWindow<'_> {
    fn window(self, user_id: Uuid) -> Window {
        let mut window = Window { after: self.after, changes: Vec::new(), unreadable: None };
        for change in self.changes {
            match read_change(change.get(), user_id) {
                Ok(change) => window.changes.push(change),
                Err(error) => {
                    let stored = serde_json::from_str(change.get()).unwrap_or_default();
                    window.unreadable = Some(Unreadable { stored, error: error.to_string() });
                    break;
                }
            }
        }
        window
    }
}

/// A change as the statements give it; instants in microseconds.
#[derive(Deserialize)]
struct StoredChange {
    sequence: i64,
    task_id: Uuid,
    action: String,
    title: String,
    completed: bool,
    due_date: Option<i64>,
    title_changed: bool,
    completed_changed: bool,
    due_date_changed: bool,
    changed_at: i64,
    correlation_id: String,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

impl StoredChange {
    fn change(self, user_id: Uuid) -> Result<Change, Error> {
        let StoredChange { correlation_id, traceparent, tracestate, .. } = self;
        Ok(Change {
            user_id,
            sequence: self.sequence,
            task_id: self.task_id,
            action: Action::parse(&self.action)
                .ok_or_else(|| Error::Internal(format!("{:?} is not an action", self.action)))?,
            title: self.title,
            completed: self.completed,
            due_date: self.due_date.map(instant).transpose()?,
            title_changed: self.title_changed,
            completed_changed: self.completed_changed,
            due_date_changed: self.due_date_changed,
            changed_at: instant(self.changed_at)?,
            trace: Trace::stored(correlation_id, traceparent, tracestate, user_id, self.sequence),
        })
    }
}

/// The instant at so many microseconds since 1970.
///
/// Errors: `Internal` outside the years 0000 to 9999.
pub(super) fn instant(micros: i64) -> Result<Timestamp, Error> {
    Timestamp::from_micros(micros).ok_or_else(|| Error::Internal(format!("{micros} µs is not an instant")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn change(sequence: i64, action: &str) -> Value {
        json!({
            "sequence": sequence, "task_id": Uuid::from_u128(2), "action": action, "title": "x", "completed": false,
            "due_date": null, "title_changed": true, "completed_changed": true, "due_date_changed": false,
            "changed_at": 0, "correlation_id": "c", "traceparent": null, "tracestate": null
        })
    }

    fn claim(user: u128, changes: &[Value]) -> Value {
        json!({
            "user_id": Uuid::from_u128(user), "lease_token": 1, "last_sequence": 9, "delivered": [0, 0, 0],
            "attempts": [0, 0, 0], "waiting_topics": 0, "goes_on": true,
            "windows": [{"after": 0, "changes": changes}]
        })
    }

    #[test]
    fn a_change_that_cannot_be_read_stops_its_user_alone() {
        let without_title = {
            let mut change = change(1, "created");
            change.as_object_mut().unwrap().remove("title");
            change
        };
        let claims = [
            claim(1, &[change(1, "created"), change(2, "archived"), change(3, "deleted")]),
            claim(2, &[without_title]),
            claim(3, &[change(1, "created")]),
        ];
        let pass = json!({
            "promised_until": 0, "running": [], "left": [], "unsettled": [], "claims": claims
        });
        let claimed = read_pass(&pass.to_string()).unwrap();
        let windows: Vec<_> = claimed.claims.iter().flat_map(|claim| &claim.windows).collect();
        assert_eq!(windows.iter().map(|window| window.changes.len()).collect::<Vec<_>>(), [1, 0, 1]);
        let unreadable = windows[0].unreadable.as_ref().unwrap();
        assert_eq!(unreadable.stored["sequence"], 2);
        assert!(unreadable.error.contains("\"archived\" is not an action"), "{}", unreadable.error);
        assert!(windows[1].unreadable.as_ref().unwrap().error.contains("title"));
        assert_eq!(windows[2].unreadable, None);
    }

    #[test]
    fn a_change_without_a_trace_always_gets_the_same_one() {
        let read = || read_change(&change(1, "created").to_string(), Uuid::from_u128(1)).unwrap().trace;
        assert_eq!(read(), read());
    }
}
