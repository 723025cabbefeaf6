//! `GET /internal/metrics`: what an operator sees, and that alerts and dashboard ask for what is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use stack::free_port;

use crate::harness::answer::Answer;
use crate::harness::collector::measured_sidecar;
use crate::harness::environment::{directory, observability, root};
use crate::harness::event::{REMINDERS, TASK_EVENTS, TASK_UPDATES};
use crate::harness::nudge::{self, APP_TOKEN};
use crate::harness::publish::Publish;
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{App, Setup, User, wait};

const PATH: &str = "/internal/metrics";
const RULES: &str = "deploy/observability/alerts.yaml";
const DASHBOARD: &str = "deploy/observability/dashboard.json";

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
    let metrics_port = free_port().unwrap();
    let _sidecar = measured_sidecar(app.dapr_port(), app.port(), APP_TOKEN, metrics_port);
    wait::until(wait::EVENTUALLY, "an empty outbox", async || {
        nudge::tick(&users[0]).await;
        (app.database.outbox_size().await == 0).then_some(())
    })
    .await;
    users[0].create("Goes out alone").await;
    let url = format!("http://127.0.0.1:{metrics_port}/metrics");
    let sidecars = wait::until(wait::SOON, "a tick that the sidecar has counted", async || {
        let text = reqwest::get(&url).await.ok()?.text().await.ok()?;
        text.contains("dapr_component_input_binding_count{").then_some(text)
    })
    .await;
    let directory = directory("metrics");
    let scraped = Scraped { own: directory.join("taskcast.txt"), sidecars: directory.join("dapr.txt") };
    fs::write(&scraped.own, scrape(&users[0]).await).unwrap();
    fs::write(&scraped.sidecars, sidecars).unwrap();
    scraped
}

impl Scraped {
    /// What the checker says; empty when all is well.
    fn check(&self, rules: &Path, dashboard: &Path) -> String {
        let output = Command::new(observability())
            .args([Path::new("--own"), &self.own, Path::new("--metrics"), &self.sidecars])
            .args([Path::new("--rules"), rules, Path::new("--dashboard"), dashboard])
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(i32::from(!text.is_empty())), "{text}");
        text
    }
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_metrics_that_are_there() {
    let scraped = scraped().await;
    let (rules, dashboard) = (root().join(RULES), root().join(DASHBOARD));
    assert_eq!(scraped.check(&rules, &dashboard), "");

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
            "taskcast_outbox_oldest_pending_seconds)",
            "taskcast_outbox_oldest_seconds)",
            "taskcast_outbox_oldest_seconds",
        ),
        ("success=\"true\"", "success=\"yes\"", "success=\"yes\""),
        ("max(taskcast", "maxi(taskcast", "maxi"),
        ("severity: critical", "urgency: critical", "severity"),
        ("alert: TaskcastEventsWait", "alarm: TaskcastEventsWait", "alarm"),
    ] {
        let found = scraped.check(&mistake(&rules, right, wrong), &dashboard);
        assert!(found.contains(said), "{wrong}: {found}");
    }
    for (right, wrong, said) in [
        ("taskcast_outbox_parked_events", "taskcast_parked_events", "taskcast_parked_events"),
        ("\"x\": 6", "\"x\": 0", "lies on"),
        ("\"x\": 18", "\"x\": 20", "no place"),
    ] {
        let found = scraped.check(&rules, &mistake(&dashboard, right, wrong));
        assert!(found.contains(said), "{wrong}: {found}");
    }
}
