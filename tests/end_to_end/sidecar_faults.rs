//! A sidecar that is stopped, refuses, answers garbage, hangs or answers without end: no caller notices, and nothing is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::harness::answer::id;
use crate::harness::collector::Dapr;
use crate::harness::event::{Event, TASK_EVENTS, TASK_UPDATES};
use crate::harness::load::{burst, steady};
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{App, Route, Setup, User, nudge, turn, wait};

/// How much longer than with a healthy sidecar 99 of 100 requests may take.
const TOLERANCE: Duration = Duration::from_millis(5);

/// How long the app waits for a sidecar that hangs. A request that took as long would have waited with it.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// How a sidecar fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Stopped,
    Refuses,
    Garbage,
    Hangs,
    Floods,
}

impl Fault {
    const ALL: [Self; 5] = [Self::Stopped, Self::Refuses, Self::Garbage, Self::Hangs, Self::Floods];

    /// The failing sidecar; `None` when nobody listens at all.
    fn stub(self) -> Option<Stub> {
        match self {
            Self::Stopped => None,
            Self::Refuses => Some(Stub::start(Behaviour::status(500))),
            Self::Garbage => Some(Stub::start(Behaviour::Garbage)),
            Self::Hangs => Some(Stub::start(Behaviour::Hang)),
            Self::Floods => Some(Stub::start(Behaviour::Flood)),
        }
    }
}

fn setup(stub: Option<&Stub>) -> Setup {
    match stub {
        Some(stub) => Setup::new().dapr_url(stub.url()),
        None => Setup::new(),
    }
}

#[tokio::test]
async fn with_a_stopped_sidecar_all_routes_answer_and_the_events_come_later() {
    assert_outage_goes_unnoticed(Fault::Stopped).await;
}

#[tokio::test]
async fn with_a_refusing_sidecar_all_routes_answer_and_the_events_come_later() {
    assert_outage_goes_unnoticed(Fault::Refuses).await;
}

#[tokio::test]
async fn with_a_sidecar_that_answers_garbage_all_routes_answer_and_the_events_come_later() {
    assert_outage_goes_unnoticed(Fault::Garbage).await;
}

#[tokio::test]
async fn with_a_hanging_sidecar_all_routes_answer_and_the_events_come_later() {
    assert_outage_goes_unnoticed(Fault::Hangs).await;
}

#[tokio::test]
async fn with_a_sidecar_that_answers_without_end_all_routes_answer_and_the_events_come_later() {
    assert_outage_goes_unnoticed(Fault::Floods).await;
}

/// The app reads 64 KiB; what is on its way then is in buffers of the system and the host.
#[tokio::test]
async fn of_an_answer_without_end_only_the_start_is_read() {
    let stub = Stub::start(Behaviour::Flood);
    let app = setup(Some(&stub)).start();
    let task = app.user().new_task_id().await;
    wait::until(wait::SOON, "a logged failure of each topic", async || {
        (app.log().failures_of(&task).len() >= 2).then_some(())
    })
    .await;
    let length = stub.longest_flood();
    assert!((64 * 1024..16 * 1024 * 1024).contains(&length), "{length} bytes");
}

async fn assert_outage_goes_unnoticed(fault: Fault) {
    let stub = fault.stub();
    let app = setup(stub.as_ref()).start();
    let users = app.users(2);
    for user in &users {
        assert_all_routes_answer(user).await;
    }
    for user in &users {
        // Six changes; the task is gone at the end.
        assert_eq!(app.database.outbox_of(user.id).await, [1, 2, 3, 4, 5, 6], "{fault:?}");
    }
    drop(stub);
    let dapr = Dapr::start_on(app.dapr_port());
    for user in &users {
        let events = nudge::until_delivered(&app.user(), &dapr, user.id, 2 * 6).await;
        assert_in_order(&events, 6);
        app.database.wait_delivered(user.id, wait::SOON).await;
    }
}

/// Calls each route once; six of the calls change something.
async fn assert_all_routes_answer(user: &User) {
    let task = user.create("Made while the sidecar is away").await;
    for route in Route::ALL {
        let answer = user.call(route, &id(&task)).await;
        assert_eq!(answer.status, route.success(), "{route:?}: {}", answer.text());
    }
}

/// Each topic has the events of changes 1 to `last` in order; an event may come again.
fn assert_in_order(events: &[Event], last: u64) {
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        let mut sequences: Vec<_> =
            events.iter().filter(|event| event.topic == topic).map(|event| event.sequence).collect();
        sequences.dedup();
        assert_eq!(sequences, (1..=last).collect::<Vec<_>>(), "{topic}");
    }
}

#[tokio::test]
async fn a_failed_publish_is_logged_with_what_it_was_and_without_secrets() {
    for fault in Fault::ALL {
        let stub = fault.stub();
        let app = setup(stub.as_ref()).start();
        let user = app.user();
        let request = user.on(Route::Create, "").json(&json!({"title": "A private matter"}));
        let request = request.header("x-correlation-id", "seen-in-the-log");
        let task = id(&crate::harness::answer::Answer::to(request).await.task(201));
        let failures = wait::until(wait::SOON, &format!("a logged failure of {fault:?}"), async || {
            let failures = app.log().failures_of(&task);
            (failures.len() >= 2).then_some(failures)
        })
        .await;
        for (event_type, topic) in [("task.created", TASK_EVENTS), ("sync.task", TASK_UPDATES)] {
            let failure = failures.iter().find(|entry| entry["topic"] == topic).expect(topic);
            assert_eq!(failure["event_type"], event_type, "{fault:?}");
            assert_eq!(failure["correlation_id"], "seen-in-the-log", "{fault:?}");
            assert_eq!(failure["attempt"], 1, "{fault:?}");
            assert!(failure["error"].as_str().is_some_and(|error| !error.is_empty()), "{failure}");
        }
        assert_log_has_no_secrets(&app, &user);
    }
}

fn assert_log_has_no_secrets(app: &App, user: &User) {
    let log = app.log().text();
    let password = app.database.password();
    for secret in ["A private matter", &user.token, crate::harness::user::SECRET, &password] {
        assert!(!log.contains(secret), "the log contains {secret}");
    }
}

#[tokio::test]
async fn every_attempt_is_logged_with_its_number() {
    let stub = Stub::start(Behaviour::status(500));
    let app = setup(Some(&stub)).start();
    let task = app.user().new_task_id().await;
    let attempts = wait::until(wait::EVENTUALLY, "three attempts in the log", async || {
        nudge::tick(&app.user()).await;
        let mut failures = app.log().failures_of(&task);
        failures.retain(|failure| failure["topic"] == TASK_EVENTS);
        (failures.len() >= 3).then_some(failures)
    })
    .await;
    let numbers: Vec<_> = attempts.iter().take(3).map(|failure| failure["attempt"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

/// A drain of its own for each change would make a call to the sidecar for each, too, and two statements.
#[tokio::test]
async fn changes_during_an_outage_share_attempts_and_go_out_when_it_is_over() {
    let _turn = turn::beside();
    let stub = Stub::start(Behaviour::status(500));
    let app = setup(Some(&stub)).start();
    let users = app.users(60);
    for user in &users {
        user.create("Made during an outage").await;
        wait::pass(Duration::from_millis(10)).await;
    }
    let attempts = stub.wait_attempts(2 * users.len()).await;
    let calls: BTreeSet<_> = attempts.iter().map(|attempt| attempt.call).collect();
    assert!(
        calls.len() <= users.len() / 2,
        "{} calls for the events of {} changes",
        calls.len(),
        users.len()
    );
    stub.behave(Behaviour::accept());
    let user = app.user();
    user.create("Made after it").await;
    stub.wait_accepted(2).await;
    app.database.wait_delivered(user.id, wait::SOON).await;
}

/// An app under load, with its failing or healthy sidecar.
struct Loaded {
    name: String,
    app: App,
    users: Vec<User>,
    _stub: Option<Stub>,
}

impl Loaded {
    fn start(name: String, stub: Option<Stub>) -> Self {
        let timeout = PUBLISH_TIMEOUT.as_millis().to_string();
        let app = setup(stub.as_ref()).variable("publish_timeout_ms", timeout).launch();
        let users = app.users(50);
        Self { name, app, users, _stub: stub }
    }

    async fn p99(&self) -> Duration {
        steady(&self.users, REQUESTS, 100).await.p99()
    }
}

/// Requests of one app in one round.
const REQUESTS: usize = 200;

/// Number of rounds. Odd, so that one of them is the median.
const ROUNDS: usize = 7;

/// The median of what the rounds say, in each of which all series run one right after the other: what else the machine does
/// during some rounds does not count, a property of the app is there in most of them.
fn median_slowdown(rounds: &[(Duration, Duration)]) -> Duration {
    let mut slowdowns: Vec<_> =
        rounds.iter().map(|(faulty, healthy)| faulty.saturating_sub(*healthy)).collect();
    slowdowns.sort_unstable();
    slowdowns[slowdowns.len() / 2]
}

#[test]
fn a_slowdown_counts_when_most_rounds_have_it() {
    let millis = Duration::from_millis;
    let (slow, fast) = ((millis(30), millis(10)), (millis(9), millis(10)));
    assert_eq!(median_slowdown(&[slow, fast, slow, slow, fast, slow, fast]), millis(20));
    assert_eq!(median_slowdown(&[slow, fast, fast, slow, fast, slow, fast]), Duration::ZERO);
}

#[tokio::test]
async fn requests_are_as_fast_as_with_a_healthy_sidecar() {
    let _turn = turn::alone();
    let healthy = Loaded::start("healthy".to_owned(), Some(Stub::start(Behaviour::accept())));
    let faulty = Fault::ALL.map(|fault| Loaded::start(format!("{fault:?}"), fault.stub()));
    for loaded in faulty.iter().chain([&healthy]) {
        // Warms the app up; not measured.
        steady(&loaded.users, 50, 100).await;
    }
    let mut rounds = Fault::ALL.map(|_| Vec::new());
    let all: Vec<_> = faulty.iter().chain([&healthy]).collect();
    for round in 0..ROUNDS {
        let mut p99s = vec![Duration::ZERO; all.len()];
        // Each round begins with another one, so that no series is always the first.
        for turn in round..round + all.len() {
            let index = turn % all.len();
            p99s[index] = all[index].p99().await;
        }
        for (rounds, faulty) in rounds.iter_mut().zip(&p99s) {
            rounds.push((*faulty, p99s[all.len() - 1]));
        }
    }
    let mut slow = Vec::new();
    for (loaded, rounds) in faulty.iter().zip(&rounds) {
        let slowdown = median_slowdown(rounds);
        println!("{}: slower by {slowdown:?}, of the rounds {rounds:?}", loaded.name);
        if slowdown > TOLERANCE {
            slow.push(format!("{} by {slowdown:?}", loaded.name));
        }
    }
    assert!(slow.is_empty(), "slower than with a healthy sidecar: {}", slow.join("; "));
}

#[tokio::test]
async fn a_thousand_requests_over_64_connections_all_succeed_whatever_the_sidecar_does() {
    let _turn = turn::alone();
    for fault in Fault::ALL {
        let loaded = Loaded::start(format!("{fault:?}"), fault.stub());
        let durations = burst(&loaded.users, 1000, 64).await;
        println!("{}: p99 {:?}, longest {:?}", loaded.name, durations.p99(), durations.longest());
        assert!(durations.longest() < PUBLISH_TIMEOUT, "{}: {:?}", loaded.name, durations.longest());
        assert_eq!(loaded.app.database.outbox_size().await, 1000, "{fault:?}: changes in the outbox");
    }
}
