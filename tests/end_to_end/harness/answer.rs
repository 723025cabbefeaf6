//! An answer of the app, with the checks that docs/contract.md asks of each.

use chrono::{DateTime, Utc};
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::harness::openapi::{self, Sent};
use crate::harness::secrets;

pub(crate) const AUTHENTICATION: &str = "AUTHENTICATION_ERROR";
pub(crate) const VALIDATION: &str = "VALIDATION_ERROR";
pub(crate) const INVALID_INPUT: &str = "Invalid input data";

/// Status, headers and body of one answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Sends the request. Both it and its answer must be as docs/openapi.yaml says, and show no secret. Every answer must say its length,
    /// or a keep-alive client of Spin's waits 40 ms, because Spin leaves TCP_NODELAY off. No cache may keep what is private.
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.expect("a request");
        let sent = Sent::of(&request);
        let response = client.execute(request).await.expect("the app answers");
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let body = response.bytes().await.expect("the body arrives whole").to_vec();
        let answer = Self { status, headers, body };
        // Of a HEAD, it is the length of what GET would give.
        if sent.method != "HEAD" {
            let length = answer.body.len().to_string();
            assert_eq!(
                answer.header("content-length"),
                Some(length.as_str()),
                "content-length of {answer:?}"
            );
        }
        if !sent.path.starts_with("/api/docs") && !sent.path.starts_with("/api/openapi.json") {
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        }
        secrets::assert_none_in(
            &format!("{:?}\n{}", answer.headers, answer.text()),
            secrets::of_answers(),
            "an answer",
        );
        openapi::document().check(&sent, &answer).unwrap_or_else(|difference| panic!("{difference}"));
        answer
    }

    /// The header's first value, when it has one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type").map(media_type), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON, {error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, after checking the status.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "body: {}", self.text());
        self.json()
    }

    /// The task in the body, after checking the status and that it has exactly a task's fields.
    #[track_caller]
    pub(crate) fn task(&self, status: u16) -> Value {
        let task = self.ok(status);
        assert_is_task(&task);
        task
    }

    /// Checks the whole error body; returns its `details`.
    #[track_caller]
    pub(crate) fn error(&self, status: u16, code: &str, message: &str) -> Value {
        let mut body = self.ok(status);
        let details = body["error"]["details"].take();
        assert_eq!(body, json!({"error": {"code": code, "message": message, "details": null}}));
        for detail in details.as_array().expect("details is an array") {
            assert_eq!(keys(detail), ["field", "message"], "keys of a detail");
            assert!(detail["field"].is_string() && detail["message"].is_string(), "{detail}");
        }
        details
    }

    /// Checks an error that has nothing to add.
    #[track_caller]
    pub(crate) fn plain_error(&self, status: u16, code: &str, message: &str) {
        assert_eq!(self.error(status, code, message), json!([]));
    }

    /// Checks a validation error that names this field; returns the message said of it.
    #[track_caller]
    pub(crate) fn invalid(&self, field: &str) -> String {
        let details = self.error(400, VALIDATION, INVALID_INPUT);
        let all = details.as_array().unwrap();
        let detail = all.iter().find(|detail| detail["field"] == field);
        let detail = detail.unwrap_or_else(|| panic!("no detail about {field} in {details}"));
        detail["message"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn access_denied(&self) {
        self.plain_error(403, "AUTHORIZATION_ERROR", "Access denied");
    }

    #[track_caller]
    pub(crate) fn task_not_found(&self) {
        self.plain_error(404, "NOT_FOUND", "Task not found");
    }

    #[track_caller]
    pub(crate) fn database_unavailable(&self) {
        let message = "Database temporarily unavailable. Please try again.";
        self.plain_error(503, "SERVICE_UNAVAILABLE", message);
    }
}

/// An instant written as RFC 3339 in UTC with a `Z`.
#[track_caller]
pub(crate) fn instant(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap_or_else(|| panic!("not a time: {value}"));
    assert!(text.ends_with('Z'), "not written in UTC: {text}");
    DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_utc()
}

/// The id of a task.
#[track_caller]
pub(crate) fn id(task: &Value) -> String {
    task["id"].as_str().expect("a task has an id").to_owned()
}

/// The sorted keys of a JSON object.
#[track_caller]
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[track_caller]
fn assert_is_task(task: &Value) {
    let mut fields = keys(task);
    fields.retain(|field| *field != "due_date");
    assert_eq!(fields, ["completed", "created_at", "id", "title", "updated_at"], "fields of a task");
    uuid::Uuid::parse_str(task["id"].as_str().unwrap()).expect("the id is a UUID");
    assert!(task["title"].is_string() && task["completed"].is_boolean(), "{task}");
    instant(&task["created_at"]);
    instant(&task["updated_at"]);
    if let Some(due_date) = task.get("due_date") {
        instant(due_date);
    }
}

/// `text/html; charset=utf-8` is `text/html`.
pub(crate) fn media_type(header: &str) -> &str {
    header.split(';').next().unwrap_or_default().trim()
}
