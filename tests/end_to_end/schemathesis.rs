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
use crate::harness::openapi::document;
use crate::harness::program::Ended;
use crate::harness::{App, Setup, User, python};

/// How many cases are enough beside all other tests.
const ENOUGH: u64 = 700;

/// How many cases the examples and the edges of the schemas give at least, and how many operations are then called as often as
/// wanted.
const FIXED: u64 = 500;
const ENDLESS: u64 = 10;

/// How many cases there are in a sequence at least, on average.
const IN_SEQUENCE: u64 = 7;

/// What was sent and answered.
#[derive(Debug, Default)]
struct Calls {
    /// How many, by schemathesis' own count.
    cases: u64,
    /// How many of them the document does not allow.
    forbidden: u64,
    created: usize,
    deleted: usize,
    /// All mutations that succeeded, these included.
    changes: u64,
}

/// Calls every operation for itself, and then several in sequence, with what earlier answers say. In one run with the first,
/// schemathesis has made some twenty sequences, alone hundreds.
fn call(app: &App, owner: &User, other: &User) -> Calls {
    let cases = number_or("TASKCAST_TEST_API_CASES", ENOUGH);
    let in_sequences = cases / 4;
    let mut calls = Calls::default();
    let alone = (cases - in_sequences).saturating_sub(FIXED) / ENDLESS + 1;
    calls.make(app, [owner, other], &["examples", "coverage", "fuzzing"], alone);
    calls.make(app, [owner, other], &["stateful"], in_sequences / IN_SEQUENCE + 1);
    println!("{calls:?}");
    assert!(calls.cases >= cases, "{calls:?} instead of {cases}");
    assert!(calls.forbidden * 20 >= calls.cases, "{calls:?}");
    calls
}

impl Calls {
    /// Runs schemathesis to its end, which must be a success in each of the phases.
    fn make(&mut self, app: &App, [owner, other]: [&User; 2], phases: &[&str], each: u64) {
        let directory = directory("schemathesis");
        let users = [("owner", owner), ("other", other)].map(|(name, user)| {
            let header = json!({"name": "Authorization", "value": format!("Bearer {}", user.token)});
            json!({"name": name, "fixedHeaders": [header]})
        });
        fs::write(directory.join("users.json"), json!({"auth": users}).to_string()).unwrap();
        let seed = number_or("TASKCAST_TEST_API_SEED", 1);
        let mut python = python::python();
        python.args(["-m", "schemathesis.cli", "--no-color", "--config-file"]);
        python.arg(python::file("schemathesis.toml")).arg("run").arg(root().join("docs/openapi.yaml"));
        python.args(["--url", &app.url(), "--seed", &seed.to_string(), "--phases", &phases.join(",")]);
        python.args(["--max-examples", &each.to_string(), "--continue-on-failure"]);
        python.args(["--report-json-path", "report.json", "--report-ndjson-path", "calls.ndjson"]);
        println!("{}", Ended::of(python.current_dir(&directory)).success("schemathesis"));
        self.check_report(&directory.join("report.json"), phases);
        self.read(&directory.join("calls.ndjson"));
    }

    /// Its verdict says that nothing was left out.
    fn check_report(&mut self, file: &Path, phases: &[&str]) {
        let report: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(report["complete"], true, "{report}");
        let operations: usize = document().methods().values().map(Vec::len).sum();
        // Sequences leave out what no answer leads to.
        let called = if phases.contains(&"stateful") { "selected" } else { "tested" };
        assert_eq!(report["operations"][called], operations, "{report}");
        for phase in phases {
            assert_eq!(report["phases"][phase]["status"], "success", "{phase} of {report}");
        }
        self.cases += report["test_cases"]["generated"].as_u64().unwrap();
    }

    /// What schemathesis notes of its calls.
    fn read(&mut self, file: &Path) {
        for line in BufReader::new(File::open(file).unwrap()).lines() {
            let line: Line = serde_json::from_str(&line.unwrap()).unwrap();
            let Some(Scenario { recorder }) = line.scenario else { continue };
            let modes = recorder.cases.values().map(|case| &case.value["meta"]["generation"]["mode"]);
            self.forbidden += modes.filter(|mode| **mode == "negative").count() as u64;
            recorder.interactions.values().for_each(|call| self.add(call));
        }
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

#[tokio::test]
async fn whatever_is_sent_the_answer_is_one_of_the_document() {
    let app = Setup::new().with_dapr().start();
    let (owner, other) = (app.user(), app.user());
    let calls = call(&app, &owner, &other);
    assert_eq!(owner.list().await.len(), calls.created - calls.deleted, "{calls:?}");
    assert!(other.list().await.is_empty());
    app.heard(&owner).await.assert_each_once(calls.changes);
    app.log().assert_no_panic();
    let mut errors = app.log().entries();
    errors.retain(|entry| entry["level"] == "error");
    assert!(errors.is_empty(), "{errors:?}");
}
