//! docs/openapi.yaml: that it is about what `spin.toml` has, that its examples are right, and that what it says is enforced.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::{Value, json};

use crate::harness::answer::Answer;
use crate::harness::environment::manifest;
use crate::harness::openapi::{Sent, document};
use crate::harness::route::unknown_id;
use crate::harness::shared;

const ID: &str = "0975dfa9-af9d-460d-833a-3fea61f7a1a2";
const TASKS: &str = "/api/v1/tasks";
const LOCATION: (&str, &str) = ("location", "/api/v1/tasks/0975dfa9-af9d-460d-833a-3fea61f7a1a2");

fn sent(method: &str, path: &str, body: &Value) -> Sent {
    let content_type = (!body.is_null()).then(|| "application/json".to_owned());
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    Sent { method: method.to_owned(), path: path.to_owned(), query: String::new(), content_type, body }
}

fn answered(status: u16, headers: &[(&str, &str)], body: &Value) -> Answer {
    let body = body.to_string().into_bytes();
    let length = body.len().to_string();
    let always =
        [("content-length", &*length), ("content-type", "application/json"), ("x-correlation-id", "a")];
    let mut map = HeaderMap::new();
    for (name, value) in always.iter().chain(headers) {
        map.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    Answer { status, headers: map, body }
}

fn task() -> Value {
    let time = "2026-11-02T08:30:00.5Z";
    json!({"id": ID, "title": "A", "completed": false, "created_at": time, "updated_at": time})
}

fn task_with(field: &str, value: Value) -> Value {
    let mut task = task();
    task[field] = value;
    task
}

fn error(code: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message, "details": []}})
}

#[track_caller]
fn assert_allowed(sent: &Sent, answer: &Answer) {
    document().check(sent, answer).unwrap();
}

/// The message says route and status, and what is wrong.
#[track_caller]
fn assert_refused(sent: &Sent, answer: &Answer, what: &str) {
    let message = document().check(sent, answer).expect_err(what);
    let place = format!("{} {}", sent.method, sent.path);
    for part in [&*place, &*answer.status.to_string(), what] {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn right_answers_pass() {
    let one = format!("{TASKS}/{ID}");
    assert_allowed(&sent("GET", &one, &Value::Null), &answered(200, &[], &task()));
    assert_allowed(&sent("GET", &format!("{one}/"), &Value::Null), &answered(200, &[], &task()));
    let due = task_with("due_date", json!("2030-01-01T09:00:00Z"));
    assert_allowed(&sent("POST", TASKS, &json!({"title": " A "})), &answered(201, &[LOCATION], &due));
    let not_found = error("NOT_FOUND", "Task not found");
    assert_allowed(&sent("GET", &one, &Value::Null), &answered(404, &[], &not_found));
    let bearer = [("www-authenticate", "Bearer")];
    let unauthenticated = error("AUTHENTICATION_ERROR", "Not authenticated");
    assert_allowed(&sent("GET", TASKS, &Value::Null), &answered(401, &bearer, &unauthenticated));
}

#[test]
fn a_body_that_differs_is_refused() {
    let sent = sent("GET", &format!("{TASKS}/{ID}"), &Value::Null);
    let mut without_title = task();
    without_title.as_object_mut().unwrap().remove("title");
    for (body, what) in [
        (task_with("owner", json!("x")), "'owner' was unexpected"),
        (task_with("due_date", json!(null)), "/due_date"),
        (task_with("completed", json!("no")), "/completed"),
        (task_with("id", json!("7")), "/id"),
        (task_with("created_at", json!("2026-11-02")), "/created_at"),
        (task_with("updated_at", json!("2026-11-02T08:30:00+01:00")), "/updated_at"),
        (without_title, "\"title\" is a required property"),
        (json!([]), "is not of type \"object\""),
    ] {
        assert_refused(&sent, &answered(200, &[], &body), what);
    }
    let mut garbage = answered(200, &[], &task());
    garbage.body.truncate(9);
    assert_refused(&sent, &garbage, "not JSON");
}

#[test]
fn an_error_that_differs_is_refused() {
    let sent = sent("GET", &format!("{TASKS}/{ID}"), &Value::Null);
    for (status, body, what) in [
        (404, error("NOT_FOUND", "No such task"), "\"Task not found\" was expected"),
        (403, error("NOT_FOUND", "Access denied"), "\"AUTHORIZATION_ERROR\" was expected"),
        (400, error("VALIDATION_ERROR", "Invalid input data"), "/error/details"),
        (
            404,
            json!({"error": {"code": "NOT_FOUND", "message": "Task not found"}}),
            "\"details\" is a required",
        ),
        (500, json!({"detail": "no such column"}), "'detail' was unexpected"),
    ] {
        assert_refused(&sent, &answered(status, &[], &body), what);
    }
}

#[test]
fn a_header_that_is_missing_or_differs_is_refused() {
    let list = sent("GET", TASKS, &Value::Null);
    let empty = json!({"tasks": [], "count": 0});
    let mut answer = answered(200, &[], &empty);
    answer.headers.remove("x-correlation-id");
    assert_refused(&list, &answer, "X-Correlation-ID is missing");
    assert_refused(&list, &answered(200, &[("x-correlation-id", "a b")], &empty), "X-Correlation-ID: ");
    assert_refused(
        &list,
        &answered(200, &[("x-powered-by", "us")], &empty),
        "x-powered-by is not documented",
    );
    let all = "https://app.example.com, *";
    let answer = answered(200, &[("access-control-allow-origin", all)], &empty);
    assert_refused(&list, &answer, "Access-Control-Allow-Origin: ");
    assert_refused(&list, &answered(200, &[("content-type", "text/plain")], &empty), "text/plain is not");
    let answer = answered(401, &[], &error("AUTHENTICATION_ERROR", "Not authenticated"));
    assert_refused(&list, &answer, "WWW-Authenticate is missing");
}

#[test]
fn what_is_not_documented_is_refused() {
    let empty = json!({"tasks": [], "count": 0});
    assert_refused(&sent("GET", TASKS, &Value::Null), &answered(202, &[], &empty), "no such status");
    assert_refused(&sent("PUT", TASKS, &Value::Null), &answered(200, &[], &empty), "no such method");
    let elsewhere = sent("GET", "/api/v1/lists", &Value::Null);
    assert_refused(&elsewhere, &answered(200, &[], &empty), "no such path");
    assert_refused(&elsewhere, &answered(404, &[], &empty), "no such path");
    let by_host = Answer { status: 404, headers: HeaderMap::new(), body: Vec::new() };
    assert_allowed(&elsewhere, &by_host);
    assert_allowed(
        &sent("POST", "/internal/relay", &Value::Null),
        &answered(200, &[], &json!({"changes": 0})),
    );
}

#[test]
fn a_method_that_is_refused_names_the_others() {
    let not_allowed = error("METHOD_NOT_ALLOWED", "Method not allowed");
    let put = sent("PUT", TASKS, &Value::Null);
    assert_allowed(&put, &answered(405, &[("allow", "GET, HEAD, POST, OPTIONS")], &not_allowed));
    assert_refused(&put, &answered(405, &[("allow", "GET, OPTIONS")], &not_allowed), "Allow is GET, OPTIONS");
    assert_refused(&put, &answered(405, &[], &not_allowed), "Allow is missing");
}

#[test]
fn a_request_that_the_document_does_not_allow_must_be_refused() {
    let created = answered(201, &[LOCATION], &task());
    for (body, what) in [
        (json!({}), "\"title\" is a required property"),
        (json!({"title": " \u{85}\n"}), "/title"),
        (json!({"title": "\u{200b}\u{2800}\u{7}"}), "/title"),
        (json!({"title": "\u{e0020}\u{1d173}"}), "/title"),
        (json!({"title": "a\u{0}b"}), "/title"),
        (json!({"title": "é".repeat(501)}), "/title"),
        (json!({"title": "A", "due_date": "2030-01-01"}), "/due_date"),
        (json!([]), "is not of type \"object\""),
    ] {
        assert_refused(&sent("POST", TASKS, &body), &created, what);
    }
    let as_text =
        Sent { content_type: Some("text/plain".to_owned()), ..sent("POST", TASKS, &json!({"title": "A"})) };
    assert_refused(&as_text, &created, "its content type is text/plain");
    let filtered = Sent { query: "completed=TRUE".to_owned(), ..sent("GET", TASKS, &Value::Null) };
    assert_refused(&filtered, &answered(200, &[], &json!({"tasks": [], "count": 0})), "parameter completed");
    let one = sent("GET", &format!("{TASKS}/7"), &Value::Null);
    assert_refused(&one, &answered(200, &[], &task()), "parameter id");
    let failed = error("INTERNAL_ERROR", "An unexpected error occurred.");
    assert_refused(&one, &answered(500, &[], &failed), "parameter id");
}

#[test]
fn what_the_contract_allows_is_allowed() {
    let padded = format!("\u{2003}{}\n", "🦀".repeat(500));
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    for body in [
        json!({"title": padded}),
        json!({"title": family}),
        json!({"title": "x", "due_date": null}),
        json!({"title": "x", "due_date": "2030-01-01T10:30:00+01:30", "owner": 7}),
    ] {
        assert_allowed(&sent("POST", TASKS, &body), &answered(201, &[LOCATION], &task()));
    }
    for body in
        [json!({}), json!({"title": null, "completed": null, "due_date": null}), json!({"completed": true})]
    {
        assert_allowed(&sent("PATCH", &format!("{TASKS}/{ID}"), &body), &answered(200, &[], &task()));
    }
    let untyped = Sent { content_type: None, ..sent("POST", TASKS, &json!({"title": "x"})) };
    assert_allowed(&untyped, &answered(201, &[LOCATION], &task()));
}

/// A route of Spin's as the paths that it answers: `/...` is the path itself and one more part.
fn templates(route: &str) -> Vec<String> {
    let named = |part: &str| part.strip_prefix(':').map_or(part.to_owned(), |name| format!("{{{name}}}"));
    match route.strip_suffix("/...") {
        Some(prefix) => vec![prefix.to_owned(), format!("{prefix}/{{file}}")],
        None => vec![route.split('/').map(named).collect::<Vec<_>>().join("/")],
    }
}

#[test]
fn the_documents_paths_are_the_manifests() {
    let manifest = manifest();
    let triggers = manifest["trigger"]["http"].as_array().unwrap();
    let routes = triggers.iter().map(|trigger| trigger["route"].as_str().unwrap());
    let public = routes.filter(|route| !route.starts_with("/internal/"));
    let expected: BTreeSet<String> = public.flat_map(templates).collect();
    let documented: BTreeSet<String> = document().methods().into_keys().map(str::to_owned).collect();
    assert_eq!(documented, expected);
}

/// `Answer::to` compares what the app says with the document.
#[tokio::test]
async fn the_documents_methods_are_the_apps() {
    let app = shared();
    let user = app.user();
    for (template, methods) in document().methods() {
        let path = template.replace("{id}", &unknown_id()).replace("{file}", "page.js");
        let answer = Answer::to(user.request(Method::OPTIONS, &path)).await;
        assert_eq!(answer.header("allow").unwrap().split(", ").count(), methods.len(), "{template}");
        for method in methods {
            let answer = Answer::to(user.request(method.parse().unwrap(), &path)).await;
            assert_ne!(answer.status, 405, "{method} {template}");
        }
    }
}

#[test]
fn the_examples_are_right() {
    let mut count = 0;
    walk(&document().root, "", &mut |place, value| {
        let examples = examples(value);
        if examples.is_empty() || place.ends_with("/properties") {
            return;
        }
        let schema = if value.get("schema").is_some() { &value["schema"] } else { value };
        let validator = document().validator(schema);
        for example in examples {
            let wrong: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{place}: {example}: {wrong:?}");
            count += 1;
        }
    });
    assert!(count > 30, "only {count} examples were found");
}

/// The examples of a media type, a parameter, a header or a schema.
fn examples(value: &Value) -> Vec<&Value> {
    let one = value.get("example");
    let several = match value.get("examples") {
        Some(Value::Object(named)) => named.values().map(|example| &example["value"]).collect(),
        Some(Value::Array(plain)) => plain.iter().collect(),
        _ => Vec::new(),
    };
    one.into_iter().chain(several).collect()
}

fn walk(value: &Value, place: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(place, value);
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            if !matches!(name.as_str(), "example" | "examples") {
                walk(member, &format!("{place}/{name}"), visit);
            }
        }),
        Value::Array(items) => items.iter().for_each(|item| walk(item, place, visit)),
        _ => (),
    }
}

#[test]
fn each_operation_has_a_name_of_its_own_and_says_what_it_is() {
    let mut names = BTreeMap::new();
    for (path, item) in document().root["paths"].as_object().unwrap() {
        for (method, operation) in
            item.as_object().unwrap().iter().filter(|(_, value)| value["responses"].is_object())
        {
            let name =
                operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name"));
            assert!(names.insert(name, path).is_none(), "{name} is there twice");
            assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{method} {path}");
        }
    }
    for name in
        ["listTasks", "createTask", "getTask", "updateTask", "deleteTask", "completeTask", "uncompleteTask"]
    {
        assert!(names.contains_key(name), "{name}");
    }
}
