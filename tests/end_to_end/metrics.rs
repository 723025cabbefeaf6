//! `GET /internal/metrics`: what an operator sees, and that alerts and dashboard ask for what is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use stack::{Broker, Deliver, Process, SidecarOptions, free_port, probe};

use crate::harness::answer::Answer;
use crate::harness::environment::{daprd, directory, observability, root};
use crate::harness::event::{REMINDERS, TASK_EVENTS, TASK_UPDATES};
use crate::harness::nudge::{self, APP_TOKEN};
use crate::harness::publish::Publish;
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{App, Setup, User, wait};

const PATH: &str = "/internal/metrics";
const RULES: &str = "deploy/observability/alerts.yaml";
const RULE_TESTS: &str = "tests/alerts/rules.test.yaml";
const DASHBOARD: &str = "deploy/observability/dashboard.json";

/// The app id and the namespace of the relay (deploy).
const RELAY: &str = "taskcast-relay";
const NAMESPACE: &str = "taskcast";

async fn scrape(user: &User) -> String {
    let answer = Answer::to(user.anonymous(Method::GET, PATH).bearer_auth(APP_TOKEN)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text()
}

/// Every sample by its name with its labels.
async fn samples(user: &User) -> BTreeMap<String, f64> {
    let text = scrape(user).await;
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Waits until these samples have these values.
async fn wait_for(app: &App, expected: &[(String, f64)]) {
    let user = app.user();
    wait::until(wait::SOON, &format!("{expected:?}"), async || {
        let samples = samples(&user).await;
        expected.iter().all(|(name, value)| samples.get(name) == Some(value)).then_some(())
    })
    .await;
}

fn of(name: &str, topic: &str) -> String {
    format!("{name}{{topic=\"{topic}\"}}")
}

fn published(topic: &str) -> String {
    of("taskcast_events_published_total", topic)
}

fn failed(topic: &str, class: &str) -> String {
    format!("taskcast_events_failed_total{{topic=\"{topic}\",class=\"{class}\"}}")
}

#[tokio::test]
async fn metrics_are_for_who_has_the_apps_token() {
    let app = Setup::new().start();
    let user = app.user();
    let ask = |token: Option<&str>| {
        let request = user.anonymous(Method::GET, PATH);
        Answer::to(token.iter().fold(request, |request, token| request.bearer_auth(token)))
    };
    for token in [None, Some(""), Some("the-token-of-the-sidecaR"), Some(user.token.as_str())] {
        ask(token).await.plain_error(401, "AUTHENTICATION_ERROR", "Not authenticated");
    }
    scrape(&user).await;
    let by_sidecar = user.anonymous(Method::GET, PATH).header("dapr-api-token", APP_TOKEN);
    assert_eq!(Answer::to(by_sidecar).await.status, 200);
}

#[tokio::test]
async fn what_is_published_refused_and_requeued_is_counted_once() {
    let poison = |publish: &Publish| {
        if publish.topic == TASK_EVENTS && publish.sequence() == 2 { 400 } else { 204 }
    };
    let stub = Stub::start(Behaviour::judge(poison));
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    for _ in 0..2 {
        user.create("One of three").await;
    }
    user.create_due("The third", "2030-01-01T00:00:00Z").await;
    let settled = [
        (published(TASK_EVENTS), 2.0),
        (published(TASK_UPDATES), 3.0),
        (published(REMINDERS), 1.0),
        (failed(TASK_EVENTS, "reject"), 1.0),
        (failed(TASK_UPDATES, "reject"), 0.0),
        (failed(TASK_EVENTS, "retry"), 0.0),
        (of("taskcast_outbox_parked_events", TASK_EVENTS), 1.0),
        (of("taskcast_outbox_pending_changes", TASK_EVENTS), 0.0),
        ("taskcast_outbox_oldest_pending_seconds".to_owned(), 0.0),
    ];
    wait_for(&app, &settled).await;
    stub.behave(Behaviour::accept());
    app.database.execute("UPDATE parked_events SET requeued_at = now()").await;
    nudge::tick(&user).await;
    let requeued = [(published(TASK_EVENTS), 3.0), (of("taskcast_outbox_parked_events", TASK_EVENTS), 0.0)];
    wait_for(&app, &requeued).await;
}

#[tokio::test]
async fn what_waits_and_what_fails_is_seen() {
    let stub = Stub::start(Behaviour::status(500));
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    user.create("Waits").await;
    user.create("Waits, too").await;
    let pending = of("taskcast_outbox_pending_changes", TASK_EVENTS);
    let seen = wait::until(wait::SOON, "two changes that wait, and a failure", async || {
        let samples = samples(&user).await;
        (samples[&pending] == 2.0 && samples[&failed(TASK_UPDATES, "retry")] > 0.0).then_some(samples)
    })
    .await;
    assert!(seen["taskcast_outbox_oldest_pending_seconds"] > 0.0);
    let buckets =
        seen.iter().filter(|(name, _)| name.starts_with("taskcast_delivery_pass_duration_seconds_b"));
    let most = buckets.map(|(_, value)| *value).fold(0.0, f64::max);
    assert!(most > 0.0);
    assert_eq!(most, seen["taskcast_delivery_pass_duration_seconds_count"]);
}

/// A real sidecar as on Kubernetes, where its metrics say in which namespace it is.
struct Measured {
    _process: Process,
    metrics_port: u16,
}

impl Measured {
    /// Starts one that listens on that port. It shows the app this token, if it ticks.
    async fn start(app_id: &str, port: u16, app: &App, deliver: Deliver, app_token: &str) -> Self {
        let files = directory("measured-sidecar");
        let resources = files.join("resources");
        stack::write_resources(&resources, &Broker::InMemory, deliver).unwrap();
        let metrics_port = free_port().unwrap();
        let options = SidecarOptions {
            daprd: daprd(),
            app_id: app_id.to_owned(),
            http_port: port,
            resources: &resources,
            configuration: None,
            app_port: Some(app.port()),
            api_token: None,
            app_token: Some(app_token.to_owned()),
            metrics_port: Some(metrics_port),
            log: files.join("daprd.log"),
            on_log: None,
            yielding: false,
        };
        let process = stack::sidecar::launch(options).unwrap().env("NAMESPACE", NAMESPACE).start().unwrap();
        wait::until(wait::SOON, "a sidecar", async || {
            (probe::status(port, "/v1.0/healthz") == Some(204)).then_some(())
        })
        .await;
        Self { _process: process, metrics_port }
    }

    async fn scrape(&self) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics_port);
        reqwest::get(&url).await.unwrap().text().await.unwrap()
    }

    /// What it shows once it has counted a tick, and the series that it counts ticks in.
    async fn ticked(&self) -> (String, Vec<String>) {
        wait::until(wait::SOON, "a tick that the sidecar has counted", async || {
            let text = self.scrape().await;
            let ticks = ticks(&text);
            (!ticks.is_empty()).then_some((text, ticks))
        })
        .await
    }
}

/// The series that a sidecar counts ticks in.
fn ticks(scraped: &str) -> Vec<String> {
    let series = scraped.lines().filter(|line| line.starts_with("dapr_component_input_binding_count{"));
    series.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

fn tick_series(app_id: &str, success: bool) -> String {
    format!(
        "dapr_component_input_binding_count{{app_id=\"{app_id}\",component=\"relay\",namespace=\"{NAMESPACE}\",success=\"{success}\"}}"
    )
}

/// The cases that tests/alerts supposes: what a sidecar of this version shows in each of them.
#[tokio::test]
async fn a_sidecar_counts_the_relays_calls_in_one_series_for_each_outcome() {
    let app = Setup::new().start();
    let start = async |app_id: &str, deliver: Deliver, token: &str| {
        Measured::start(app_id, free_port().unwrap(), &app, deliver, token).await
    };
    let called = start(RELAY, Deliver::Ticks, APP_TOKEN).await;
    let refused = start(RELAY, Deliver::Ticks, "another token").await;
    let of_another_app = start("billing", Deliver::Ticks, APP_TOKEN).await;
    let without_binding = start(RELAY, Deliver::Nothing, APP_TOKEN).await;
    assert_eq!(called.ticked().await.1, [tick_series(RELAY, true)]);
    assert_eq!(refused.ticked().await.1, [tick_series(RELAY, false)]);
    assert_eq!(of_another_app.ticked().await.1, [tick_series("billing", true)]);
    let text = without_binding.scrape().await;
    assert!(text.contains(&format!("app_id=\"{RELAY}\"")), "{text}");
    assert_eq!(ticks(&text), Vec::<String>::new());
}

/// Metrics as they were scraped from the running parts.
struct Scraped {
    own: PathBuf,
    sidecars: PathBuf,
}

/// With a bulk call, single calls and ticks, so that the sidecar has something to count.
async fn scraped() -> Scraped {
    let app = Setup::new().start();
    let users = app.users(5);
    for user in &users {
        user.create("Waits for the sidecar").await;
    }
    let sidecar = Measured::start(RELAY, app.dapr_port(), &app, Deliver::Ticks, APP_TOKEN).await;
    wait::until(wait::EVENTUALLY, "an empty outbox", async || {
        nudge::tick(&users[0]).await;
        (app.database.outbox_size().await == 0).then_some(())
    })
    .await;
    users[0].create("Goes out alone").await;
    let (sidecars, _) = sidecar.ticked().await;
    let directory = directory("metrics");
    let scraped = Scraped { own: directory.join("taskcast.txt"), sidecars: directory.join("dapr.txt") };
    fs::write(&scraped.own, scrape(&users[0]).await).unwrap();
    fs::write(&scraped.sidecars, sidecars).unwrap();
    scraped
}

impl Scraped {
    /// What the checker says of these files; empty when all is well.
    fn check<const N: usize>(&self, files: [(&str, &Path); N]) -> String {
        let mut checker = Command::new(observability());
        checker.args([Path::new("--own"), &self.own, Path::new("--metrics"), &self.sidecars]);
        for (option, file) in files {
            checker.arg(option).arg(file);
        }
        let output = checker.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(!text.is_empty())), "{text}");
        text
    }
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_metrics_that_are_there() {
    let scraped = scraped().await;
    let (rules, dashboard, tests) = (root().join(RULES), root().join(DASHBOARD), root().join(RULE_TESTS));
    let all = [("--rules", rules.as_path()), ("--dashboard", &dashboard), ("--rule-tests", &tests)];
    assert_eq!(scraped.check(all), "");

    let copies = directory("mistakes");
    let mistake = |original: &Path, right: &str, wrong: &str| {
        let text = fs::read_to_string(original).unwrap();
        assert!(text.contains(right), "{right}");
        let copy = copies.join(original.file_name().unwrap());
        fs::write(&copy, text.replacen(right, wrong, 1)).unwrap();
        copy
    };
    for (right, wrong, said) in [
        (
            "taskcast_outbox_oldest_pending_seconds{",
            "taskcast_outbox_oldest_seconds{",
            "taskcast_outbox_oldest_seconds",
        ),
        ("success=\"true\"", "success=\"yes\"", "success=\"yes\""),
        ("max(taskcast", "maxi(taskcast", "maxi"),
        ("severity: critical", "urgency: critical", "severity"),
        ("alert: TaskcastEventsWait", "alarm: TaskcastEventsWait", "alarm"),
    ] {
        let found = scraped.check([("--rules", &mistake(&rules, right, wrong))]);
        assert!(found.contains(said), "{wrong}: {found}");
    }
    for (right, wrong, said) in [
        ("taskcast_outbox_parked_events", "taskcast_parked_events", "taskcast_parked_events"),
        ("\"x\": 6", "\"x\": 0", "lies on"),
        ("\"x\": 18", "\"x\": 20", "no place"),
    ] {
        let found = scraped.check([("--dashboard", &mistake(&dashboard, right, wrong))]);
        assert!(found.contains(said), "{wrong}: {found}");
    }
    for (right, wrong, said) in [
        (
            "app_id=\"billing\",component=\"relay\"",
            "app_id=\"billing\",binding=\"relay\"",
            "binding=\"relay\"",
        ),
        ("series: taskcast_build_info{", "series: taskcast_version{", "taskcast_version"),
        (
            "values: 0+15x10 stale",
            "values: 0+15x60",
            "expected [{alertname=\"TaskcastRelayIsNotCalled\"} 1], got []",
        ),
        (
            "alertname=\"TaskcastRelayIsNotCalled\"",
            "alertname=\"TaskcastRelay\"",
            "got [{alertname=\"TaskcastRelayIsNotCalled\"} 1]",
        ),
    ] {
        let copy = mistake(&tests, right, wrong);
        let text = fs::read_to_string(&copy).unwrap();
        fs::write(&copy, text.replace("../../deploy", root().join("deploy").to_str().unwrap())).unwrap();
        let found = scraped.check([("--rule-tests", &copy)]);
        assert!(found.contains(said), "{wrong}: {found}");
    }
}

/// Whoever holds it: an operator's session, a backup, a transaction that was left open.
#[tokio::test]
async fn a_snapshot_that_is_held_is_seen_by_its_age() {
    const CHANGES: u8 = 20;
    let app = Setup::new().start();
    let user = app.user();
    let name = "taskcast_database_oldest_snapshot_transactions";
    let other = app.database.client().await;
    for begin in ["BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1", "BEGIN; SELECT txid_current()"] {
        other.batch_execute(begin).await.unwrap();
        for _ in 0..CHANGES {
            user.create("While a snapshot is held").await;
        }
        let held = samples(&user).await[name];
        assert!(held >= f64::from(CHANGES), "{begin}: {held}");
        other.batch_execute("ROLLBACK").await.unwrap();
        // Statements that are under way have snapshots, too, but short ones.
        wait::until(wait::SOON, "the snapshot to be gone", async || {
            (samples(&user).await[name] < f64::from(CHANGES)).then_some(())
        })
        .await;
    }
}
