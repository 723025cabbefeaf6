//! The running API against docs/openapi.yaml, by schemathesis: with what the document allows and with what it does not, in
//! sequences too, and as another user. tests/python/schemathesis.toml says how; `cargo xtask fuzz api` does the same with
//! many more cases.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::environment::{directory, number_or, root};
use crate::harness::event::{TASK_EVENTS, TASK_UPDATES};
use crate::harness::openapi::document;
use crate::harness::program::Ended;
use crate::harness::{App, Setup, User, python};

/// How many cases are enough beside all other tests.
const ENOUGH: u64 = 600;

/// How many cases come from examples and from the edges of schemas, at least, and how many operations are then called as
/// often as wanted.
const FIXED: u64 = 500;
const ENDLESS: u64 = 10;

/// What schemathesis has done.
struct Run {
    /// Its verdict.
    report: Value,
    calls: Calls,
}

/// What was answered.
#[derive(Debug, Default)]
struct Calls {
    created: usize,
    deleted: usize,
    /// All mutations that succeeded, these included.
    changes: u64,
    /// Cases that the document does not allow.
    forbidden: u64,
}

impl Run {
    /// Runs it to its end, which must be a success.
    fn of(app: &App, owner: &User, other: &User) -> Self {
        let (cases, seed) =
            (number_or("TASKCAST_TEST_API_CASES", ENOUGH), number_or("TASKCAST_TEST_API_SEED", 1));
        let directory = directory("schemathesis");
        let users = [("owner", owner), ("other", other)].map(|(name, user)| {
            let header = json!({"name": "Authorization", "value": format!("Bearer {}", user.token)});
            json!({"name": name, "fixedHeaders": [header]})
        });
        fs::write(directory.join("users.json"), json!({"auth": users}).to_string()).unwrap();
        let each = cases.saturating_sub(FIXED) / ENDLESS + 1;
        let mut python = python::python();
        python.args(["-m", "schemathesis.cli", "--no-color", "--config-file"]);
        python.arg(python::file("schemathesis.toml")).arg("run").arg(root().join("docs/openapi.yaml"));
        python.args(["--url", &app.url(), "--seed", &seed.to_string()]);
        python.args(["--max-examples", &each.to_string(), "--continue-on-failure"]);
        python.args(["--report-json-path", "report.json", "--report-ndjson-path", "calls.ndjson"]);
        println!("{}", Ended::of(python.current_dir(&directory)).success("schemathesis"));
        let report = fs::read_to_string(directory.join("report.json")).unwrap();
        let report = serde_json::from_str(&report).unwrap();
        let run = Self { report, calls: Calls::read(&directory.join("calls.ndjson")) };
        run.assert_whole(cases);
        run
    }

    /// Everything was called, by every way of calling, and as often as was asked for.
    fn assert_whole(&self, cases: u64) {
        let report = &self.report;
        assert_eq!(report["complete"], true, "{report}");
        let operations: usize = document().methods().values().map(Vec::len).sum();
        assert_eq!(report["operations"]["tested"], operations, "{report}");
        for phase in ["examples", "coverage", "fuzzing", "stateful"] {
            assert_eq!(report["phases"][phase]["status"], "success", "{phase} of {report}");
        }
        let done = report["test_cases"]["generated"].as_u64().unwrap();
        assert!(done >= cases, "{done} cases instead of {cases}");
        assert!(self.calls.forbidden * 20 >= done, "{:?} of {done}", self.calls);
    }
}

/// A line of what schemathesis notes of its calls, as far as it matters here: the answers are long.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "ScenarioFinished")]
    scenario: Option<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    recorder: Recorder,
}

#[derive(Deserialize)]
struct Recorder {
    #[serde(default)]
    cases: BTreeMap<String, Case>,
    #[serde(default)]
    interactions: BTreeMap<String, Interaction>,
}

#[derive(Deserialize)]
struct Case {
    value: Value,
}

#[derive(Deserialize)]
struct Interaction {
    request: Request,
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Request {
    method: String,
}

#[derive(Deserialize)]
struct Response {
    status_code: u16,
}

impl Calls {
    fn read(file: &Path) -> Self {
        let mut calls = Self::default();
        for line in BufReader::new(File::open(file).unwrap()).lines() {
            let line: Line = serde_json::from_str(&line.unwrap()).unwrap();
            let Some(Scenario { recorder }) = line.scenario else { continue };
            let modes = recorder.cases.values().map(|case| &case.value["meta"]["generation"]["mode"]);
            calls.forbidden += modes.filter(|mode| **mode == "negative").count() as u64;
            recorder.interactions.values().for_each(|call| calls.add(call));
        }
        calls
    }

    fn add(&mut self, Interaction { request, response }: &Interaction) {
        let status = response.as_ref().map(|response| response.status_code);
        if matches!(status, Some(200 | 201)) {
            self.created += usize::from(status == Some(201));
            self.deleted += usize::from(request.method == "DELETE");
            self.changes += u64::from(["POST", "PATCH", "DELETE"].contains(&request.method.as_str()));
        }
    }
}

#[tokio::test]
async fn whatever_is_sent_the_answer_is_one_of_the_document() {
    let app = Setup::new().with_dapr().start();
    let (owner, other) = (app.user(), app.user());
    let Run { calls, .. } = Run::of(&app, &owner, &other);
    assert_eq!(owner.list().await.len(), calls.created - calls.deleted, "{calls:?}");
    assert!(other.list().await.is_empty());
    assert_each_change_is_heard(&app, &owner, calls.changes).await;
    let log = app.log().text();
    for end in ["panicked", "An instance of"] {
        assert!(!log.contains(end), "{log}");
    }
    let mut errors = app.log().entries();
    errors.retain(|entry| entry["level"] == "error");
    assert!(errors.is_empty(), "{errors:?}");
}

/// Once on both topics, in order and without gaps: what succeeded was published, and nothing else.
async fn assert_each_change_is_heard(app: &App, user: &User, changes: u64) {
    let heard = app.heard(user).await;
    assert_eq!(heard.sentinel, changes + 1);
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        let sequences: Vec<_> = heard.on(topic).iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=changes).collect::<Vec<_>>(), "{topic}");
    }
}
