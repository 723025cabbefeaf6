//! `cargo xtask tail`, beside a running `cargo xtask up` and from Kafka.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use reqwest::Method;
use serde_json::{Value, json};
use stack::{Broker, Sidecar, free_port};
use uuid::Uuid;

use crate::asyncapi;
use crate::harness::answer::{Answer, id};
use crate::harness::checkout::{Checkout, Up};
use crate::harness::collector::sidecar;
use crate::harness::environment::kafka;
use crate::harness::event::{Event, REMINDERS, TASK_EVENTS, TASK_UPDATES};
use crate::harness::{Own, Route, Setup, User, turn, wait};

const DUE: &str = "2030-01-01T00:00:00Z";

/// A running `tail` and what it has printed.
struct Tail {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Tail {
    fn start(clone: &Checkout, arguments: &[impl AsRef<OsStr>]) -> Self {
        let mut child = command(clone, arguments).spawn().unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let (sink, output) = (Arc::clone(&lines), BufReader::new(child.stdout.take().unwrap()));
        let reader = std::thread::spawn(move || {
            output.lines().for_each(|line| sink.lock().unwrap().push(line.unwrap()));
        });
        Self { child, lines, reader: Some(reader) }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    async fn wait_for(&self, count: usize) -> Vec<String> {
        wait::until(wait::EVENTUALLY, &format!("{count} lines of tail"), async || {
            let lines = self.lines();
            (lines.len() >= count).then_some(lines)
        })
        .await
    }

    /// As Ctrl-C does.
    fn interrupt(&self) {
        let kill = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Waits for its end; returns how it ended, and what it said of that.
    async fn end(&mut self) -> (ExitStatus, String) {
        let status =
            wait::until(wait::EVENTUALLY, "the end of tail", async || self.child.try_wait().unwrap()).await;
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status, std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap())
    }

    /// Interrupts it, which is no failure; returns everything that it has printed.
    async fn interrupted(mut self) -> Vec<String> {
        self.interrupt();
        let (status, said) = self.end().await;
        assert_eq!((status.code(), said.as_str()), (Some(0), ""));
        self.lines()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // It has ended already, unless the test has failed.
        let _ = self.child.kill();
    }
}

fn command(clone: &Checkout, arguments: &[impl AsRef<OsStr>]) -> Command {
    let mut command = clone.xtask();
    command.arg("tail").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    command
}

/// One `up` for all tests that leave it alone.
fn shared() -> (&'static Checkout, &'static Up, turn::Beside) {
    static RUNNING: OnceLock<(Checkout, Up)> = OnceLock::new();
    let turn = turn::beside();
    let (clone, up) = RUNNING.get_or_init(|| {
        let clone = Checkout::new();
        let up = clone.up();
        (clone, up)
    });
    (clone, up, turn)
}

/// The columns of a line.
fn columns(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn event(line: &str) -> Event {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    Event::verified(event["topic"].as_str().unwrap(), &event)
}

#[tokio::test]
async fn each_event_is_a_line_as_it_is_delivered() {
    let (clone, up, _turn) = shared();
    let user = up.user();
    let tail = Tail::start(clone, &["--user", &user.id.to_string()]);
    tail.wait_for(1).await;
    let request = user.request(Method::POST, "/api/v1/tasks").json(&json!({"title": "A"}));
    let task = id(&Answer::to(request.header("x-correlation-id", "seen-by-tail")).await.task(201));
    tail.wait_for(3).await;
    let lines = tail.interrupted().await;
    assert_eq!(columns(&lines[0]), ["TOPIC", "TYPE", "SEQ", "TASK", "CORRELATION", "ID"]);
    let mut events: Vec<_> = lines[1..].iter().map(|line| columns(line)).collect();
    events.sort_unstable();
    assert_eq!(
        events,
        [
            [TASK_EVENTS, "task.created", "1", &task, "seen-by-tail"],
            [TASK_UPDATES, "sync.task", "1", &task, "seen-by-tail"]
        ]
    );
}

#[tokio::test]
async fn each_filter_lets_only_its_events_through_until_the_stack_ends() {
    let _turn = turn::beside();
    let clone = Checkout::new();
    let up = clone.up();
    let (user, other) = (up.user(), up.user());
    let (one, another) = (user.id.to_string(), other.id.to_string());
    let filters: [(&[&str], usize); 8] = [
        (&[], 9),
        (&["--user", &one], 7),
        (&["--user", &one, "--user", &another], 9),
        (&["--topic", REMINDERS], 1),
        (&["--topic", REMINDERS, "--topic", TASK_UPDATES], 5),
        (&["--type", "task.completed"], 1),
        (&["--type", "task.created", "--user", &another], 1),
        (&["--type", "task.completed", "--topic", TASK_UPDATES], 0),
    ];
    let tails = filters
        .map(|(filter, _)| Tail::start(&clone, &[&["--json", "--from-beginning"][..], filter].concat()));
    let task = id(&user.create_due("A", DUE).await);
    user.task_after(Route::Complete, &task).await;
    user.call(Route::Delete, &task).await.ok(200);
    other.create("B").await;
    tails[0].wait_for(9).await;
    up.end();
    for (mut tail, (filter, count)) in tails.into_iter().zip(filters) {
        let (status, said) = tail.end().await;
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(
            said.starts_with("error: ") && said.contains("has ended") && said.lines().count() == 1,
            "{said}"
        );
        let events: Vec<_> = tail.lines().iter().map(|line| event(line)).collect();
        assert_eq!(events.len(), count, "{filter:?}: {events:?}");
        assert!(events.iter().all(|event| passes(event, filter)), "{filter:?}: {events:?}");
    }
}

/// Whether an event is of one of the values that are named for each attribute.
fn passes(event: &Event, filter: &[&str]) -> bool {
    let user = event.user.to_string();
    let attributes = [("--user", &user), ("--type", &event.kind), ("--topic", &event.topic)];
    attributes.iter().all(|(name, value)| {
        let mut named = filter.chunks(2).filter(|pair| pair[0] == *name).peekable();
        named.peek().is_none() || named.any(|pair| pair[1] == value.as_str())
    })
}

#[tokio::test]
async fn from_the_beginning_it_shows_what_has_come_before() {
    let (clone, up, _turn) = shared();
    let user = up.user();
    let first = ["--json", "--from-beginning", "--user", &user.id.to_string()];
    user.create("Before").await;
    Tail::start(clone, &first).wait_for(2).await;
    let again = Tail::start(clone, &first);
    let new = Tail::start(clone, &["--user", &user.id.to_string()]);
    again.wait_for(2).await;
    new.wait_for(1).await;
    user.create("After").await;
    new.wait_for(3).await;
    again.wait_for(4).await;
    let new = new.interrupted().await;
    assert!(new[1..].iter().all(|line| columns(line)[2] == "2"), "{new:?}");
    let sequences: Vec<_> = again.interrupted().await.iter().map(|line| event(line).sequence).collect();
    assert_eq!(sequences.iter().filter(|sequence| **sequence == 1).count(), 2, "{sequences:?}");
    assert_eq!(sequences.len(), 4);
}

#[tokio::test]
async fn a_closed_pipe_ends_it_quietly_and_at_once() {
    let (clone, _, _turn) = shared();
    let nobody = Uuid::new_v4().to_string();
    let mut child = command(clone, &["--user", &nobody]).spawn().unwrap();
    let mut heading = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut heading).unwrap();
    assert!(heading.starts_with("TOPIC"));
    let status = wait::until(wait::SOON, "the end of tail", async || child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(std::io::read_to_string(child.stderr.take().unwrap()).unwrap(), "");
}

/// Runs it to its end, which must be a failure; returns what it said.
#[track_caller]
fn advice(clone: &Checkout, arguments: &[&str]) -> String {
    let output = command(clone, arguments).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn where_nothing_runs_it_says_what_to_do() {
    let clone = Checkout::new();
    let said = advice(&clone, &[]);
    for part in ["error: ", "cargo xtask up", "in this clone", "--kafka HOST:PORT"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(said.lines().count(), 1);
    // What an earlier run has left is not one that runs.
    std::fs::create_dir_all(clone.path.join(".local")).unwrap();
    std::fs::write(clone.path.join(".local/events.jsonl"), "{}\n").unwrap();
    assert_eq!(advice(&clone, &["--from-beginning"]), said);
}

#[test]
fn where_no_kafka_answers_it_says_so() {
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    for address in [address.as_str(), "not-an-address"] {
        let said = advice(&Checkout::new(), &["--kafka", address]);
        assert!(said.contains(address) && said.contains("HOST:PORT") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_filter_that_can_match_nothing_is_refused() {
    let clone = Checkout::new();
    let said = advice(&clone, &["--type", "task.archived"]);
    for (_, kind) in asyncapi::messages().into_keys() {
        assert!(said.contains(kind), "{kind} is not in: {said}");
    }
    assert!(advice(&clone, &["--topic", "tasks"]).contains(TASK_EVENTS));
    assert!(advice(&clone, &["--user", "me"]).contains("UUID"));
    assert!(advice(&clone, &["--group", "mine"]).contains("--kafka"));
}

/// An app whose sidecar publishes to the suite's Kafka.
fn app_on_kafka() -> (Own, Sidecar) {
    let port = free_port().unwrap();
    let sidecar = sidecar(port, &Broker::Kafka { bootstrap: kafka() }, None);
    (Setup::new().dapr_url(format!("http://127.0.0.1:{port}")).start(), sidecar)
}

/// All task events of a user that there are, from where the group ended.
fn kafka_arguments(group: &str, user: &User) -> Vec<String> {
    let user = user.id.to_string();
    [
        "--kafka",
        &kafka(),
        "--group",
        group,
        "--from-beginning",
        "--json",
        "--topic",
        TASK_EVENTS,
        "--user",
        &user,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn from_kafka(clone: &Checkout, group: &str, user: &User) -> Tail {
    Tail::start(clone, &kafka_arguments(group, user))
}

fn sequences(lines: &[String]) -> Vec<u64> {
    lines.iter().map(|line| event(line).sequence).collect()
}

#[tokio::test]
async fn a_kafka_group_goes_on_where_it_ended() {
    let (app, _sidecar) = app_on_kafka();
    let (user, clone) = (app.user(), Checkout::new());
    let group = format!("tail-{}", user.id);
    let task = user.new_task_id().await;
    user.update(&task, &json!({"title": "B"})).await;
    let first = from_kafka(&clone, &group, &user);
    first.wait_for(2).await;
    assert_eq!(sequences(&first.interrupted().await), [1, 2]);
    user.update(&task, &json!({"title": "C"})).await;
    let second = from_kafka(&clone, &group, &user);
    second.wait_for(1).await;
    user.update(&task, &json!({"title": "D"})).await;
    second.wait_for(2).await;
    assert_eq!(sequences(&second.interrupted().await), [3, 4]);
}

#[tokio::test]
async fn nothing_is_lost_or_shown_twice_when_it_is_interrupted_in_the_midst_of_a_backlog() {
    const COUNT: usize = 1_000;
    let (app, _sidecar) = app_on_kafka();
    let (user, clone) = (app.user(), Checkout::new());
    let group = format!("tail-{}", user.id);
    let mut changes = tokio::task::JoinSet::new();
    for client in 0..8 {
        let user = user.clone();
        changes.spawn(async move {
            for number in 0..COUNT / 8 {
                user.create(&format!("Task {number} of client {client}")).await;
            }
        });
    }
    changes.join_all().await;
    app.database.wait_delivered(user.id, wait::EVENTUALLY).await;
    let first = from_kafka(&clone, &group, &user);
    first.wait_for(1).await;
    let mut all = sequences(&first.interrupted().await);
    let second = from_kafka(&clone, &group, &user);
    second.wait_for(COUNT - all.len()).await;
    all.extend(sequences(&second.interrupted().await));
    assert_eq!(all, (1..=COUNT as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_closed_pipe_has_not_taken_is_shown_to_the_next_one_of_the_group() {
    let (app, _sidecar) = app_on_kafka();
    let (user, clone) = (app.user(), Checkout::new());
    let group = format!("tail-{}", user.id);
    for _ in 0..3 {
        user.create("A").await;
    }
    let mut first = command(&clone, &kafka_arguments(&group, &user)).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(first.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(event(&line).sequence, 1);
    let status = wait::until(wait::SOON, "the end of tail", async || first.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
    let second = from_kafka(&clone, &group, &user);
    second.wait_for(3).await;
    assert_eq!(sequences(&second.interrupted().await), [1, 2, 3]);
}
