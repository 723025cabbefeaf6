//! A body is a task or a patch exactly when each of its fields keeps the contract's rules.

#![no_main]

use fuzz::rules;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use shared::error::Error;
use shared::http::object;
use shared::task::{NewTask, TaskPatch, Timestamp};

fuzz_target!(|bytes: &[u8]| {
    let Ok(body) = object(bytes) else {
        assert!(!matches!(serde_json::from_slice(bytes), Ok(Value::Object(_))));
        return;
    };
    let title = body.get("title").and_then(Value::as_str).and_then(rules::title);
    let due_date = body.get("due_date").and_then(Value::as_str).and_then(Timestamp::parse);
    let due_date_fits = is_null(&body, "due_date") || due_date.is_some();
    match NewTask::parse(&body) {
        Ok(new) => {
            assert_eq!(Some(new.title.as_str()), title.as_deref());
            assert_eq!(new.due_date, due_date);
            assert!(due_date_fits);
        }
        Err(error) => {
            assert!(title.is_none() || !due_date_fits, "{error:?}");
            check_details(&error, &["title", "due_date"]);
        }
    }
    let title_fits = is_null(&body, "title") || title.is_some();
    let completed = body.get("completed").and_then(Value::as_bool);
    let completed_fits = is_null(&body, "completed") || completed.is_some();
    match TaskPatch::parse(&body) {
        Ok(patch) => {
            assert!(title_fits && completed_fits && due_date_fits);
            assert_eq!(patch.title.as_ref().map(|title| title.as_str()), title.as_deref());
            assert_eq!(patch.completed, completed);
            assert_eq!(patch.due_date, body.contains_key("due_date").then_some(due_date));
        }
        Err(error) => {
            assert!(!title_fits || !completed_fits || !due_date_fits, "{error:?}");
            check_details(&error, &["title", "completed", "due_date"]);
        }
    }
});

/// Null or not there.
fn is_null(body: &Map<String, Value>, field: &str) -> bool {
    body.get(field).is_none_or(Value::is_null)
}

/// At least one detail, and each about a field that there is, at most once.
fn check_details(error: &Error, fields: &[&str]) {
    let Error::Validation(details) = error else { panic!("{error:?}") };
    let mut named: Vec<&str> = details.iter().map(|detail| detail.field).collect();
    assert!(!named.is_empty() && named.iter().all(|field| fields.contains(field)), "{named:?}");
    named.dedup();
    assert_eq!(named.len(), details.len(), "a field is named twice");
    assert_eq!(error.status(), 400);
}
