//! Clients that change tasks without pause and write down what each change came to. A task belongs to one client, which
//! therefore knows how it must look; a user belongs to all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Options;
use crate::mutation::{Action, Mutation, Outcome, Task};
use crate::random::Random;
use crate::secrets::IN_TITLES;

/// What a client waits between two calls, in milliseconds. Together they leave the machine room for what is broken and
/// started again beside them, so that latencies are the API's and not the queue's for the processor.
const PAUSE: (u64, u64) = (100, 500);

/// Share of the calls that have the correlation id of the call before them, in percent.
const SAME_CORRELATION: u64 = 5;

/// A client stops creating at this many tasks.
const MOST_TASKS: usize = 30;

/// The clients, at work.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    working: JoinSet<Vec<Mutation>>,
}

struct Shared {
    http: Client,
    urls: Vec<String>,
    users: Vec<User>,
    seed: u64,
    count: AtomicUsize,
    stopped: AtomicBool,
    /// A replica, and the fault that the next creation there takes along.
    armed: Mutex<Option<(usize, &'static str)>>,
}

struct User {
    id: String,
    token: String,
}

impl Clients {
    /// Each client's calls follow from the seed and from what the API answers.
    pub(crate) fn start(runtime: &Runtime, options: &Options, seed: u64, urls: Vec<String>) -> Self {
        let shared = Arc::new(Shared {
            http: http(),
            urls,
            users: users(options, seed),
            seed,
            count: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            armed: Mutex::new(None),
        });
        let mut working = JoinSet::new();
        for number in 1..=options.clients {
            working.spawn_on(at_work(Arc::clone(&shared), number), runtime.handle());
        }
        Self { shared, working }
    }

    /// How many calls have been made.
    pub(crate) fn count(&self) -> usize {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// Has the next creation on this replica take the fault along.
    pub(crate) fn arm(&self, replica: usize, fault: &'static str) {
        *self.shared.armed() = Some((replica, fault));
    }

    /// Whether that creation is still to come.
    pub(crate) fn is_armed(&self) -> bool {
        self.shared.armed().is_some()
    }

    /// Lets each finish its call, and returns what all of them wrote down.
    pub(crate) async fn stop(mut self) -> Result<Vec<Mutation>> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(mutations) = self.working.join_next().await {
            all.extend(mutations.context("a client failed")?);
        }
        Ok(all)
    }
}

impl Shared {
    fn armed(&self) -> std::sync::MutexGuard<'_, Option<(usize, &'static str)>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disarm(&self, replica: usize) -> Option<&'static str> {
        self.armed().take_if(|(at, _)| *at == replica).map(|(_, fault)| fault)
    }
}

/// A client sends no request longer than a hung part may take: 30 s.
fn http() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap_or_default()
}

fn users(options: &Options, seed: u64) -> Vec<User> {
    let mut random = Random::new(seed, u64::MAX);
    let valid = Duration::from_secs(options.minutes * 60 + 3_600);
    let user = |id: String| User { token: stack::token::mint(stack::system::SECRET, &id, valid), id };
    (0..options.users).map(|_| user(random.uuid().to_string())).collect()
}

async fn at_work(shared: Arc<Shared>, number: u64) -> Vec<Mutation> {
    let random = Random::new(shared.seed, number);
    let mut worker = Worker { shared, number, random, tasks: Vec::new(), mutations: Vec::new() };
    while !worker.shared.stopped.load(Ordering::Relaxed) {
        let call = worker.choose();
        worker.make(call).await;
        tokio::time::sleep(worker.random.millis(PAUSE.0, PAUSE.1)).await;
    }
    worker.mutations
}

struct Worker {
    shared: Arc<Shared>,
    number: u64,
    random: Random,
    /// By their user's index.
    tasks: Vec<(usize, Task)>,
    mutations: Vec<Mutation>,
}

/// A call that is to be made.
struct Call {
    user: usize,
    action: Action,
    method: Method,
    path: String,
    body: Option<Value>,
    /// As it was before; `None` when there is none yet.
    task: Option<Task>,
}

impl Worker {
    fn choose(&mut self) -> Call {
        let creates = self.tasks.len() < MOST_TASKS && self.random.percent(30);
        if creates || self.tasks.is_empty() {
            return self.create();
        }
        let (user, task) = self.tasks.swap_remove(self.random.index(self.tasks.len()));
        let path = format!("/api/v1/tasks/{}", task.id);
        let (action, method, path, body) = match self.random.below(100) {
            0..45 => (Action::Updated, Method::PATCH, path, Some(self.changes(&task))),
            45..65 => (Action::Completed, Method::POST, format!("{path}/complete"), None),
            65..80 => (Action::Uncompleted, Method::POST, format!("{path}/uncomplete"), None),
            _ => (Action::Deleted, Method::DELETE, path, None),
        };
        Call { user, action, method, path, body, task: Some(task) }
    }

    /// Some are refused on purpose: they must leave no event.
    fn create(&mut self) -> Call {
        let mut body = json!({"title": self.title()});
        if self.random.percent(50) {
            body = json!({"title": self.title(), "due_date": self.due_date()});
        }
        if self.random.percent(5) {
            body = json!({"title": " "});
        }
        let (user, path) = (self.random.index(self.shared.users.len()), "/api/v1/tasks".to_owned());
        Call { user, action: Action::Created, method: Method::POST, path, body: Some(body), task: None }
    }

    fn changes(&mut self, task: &Task) -> Value {
        match self.random.below(6) {
            0 => json!({"title": self.title()}),
            1 => json!({"completed": self.random.percent(50)}),
            2 => json!({"due_date": self.due_date()}),
            3 => json!({"due_date": null}),
            4 => json!({"title": task.title, "due_date": self.due_date()}),
            _ => json!({}),
        }
    }

    fn title(&mut self) -> String {
        format!("Task {} of client {}, {IN_TITLES}", self.random.below(1_000_000), self.number)
    }

    fn due_date(&mut self) -> String {
        let mut two = |end| self.random.below(end);
        format!("20{}-0{}-1{}T1{}:3{}:00Z", 30 + two(60), 1 + two(9), two(10), two(10), two(10))
    }

    async fn make(&mut self, call: Call) {
        let replica = self.random.index(self.shared.urls.len());
        let (correlation, traceparent) = (self.correlation(), self.traceparent());
        let Some(request) = self.request(&call, replica, &correlation, traceparent.as_deref()) else {
            return;
        };
        let started = Instant::now();
        let answer = read(request.send().await).await;
        let took = started.elapsed();
        let outcome = outcome(&call, answer);
        self.keep(&call, &outcome);
        let user = self.shared.users.get(call.user).map(|user| user.id.clone()).unwrap_or_default();
        self.mutations.push(Mutation {
            user,
            action: call.action,
            task_id: call.task.map(|task| task.id),
            correlation,
            traceparent,
            outcome,
            replica,
            started,
            took,
        });
        self.shared.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A new id, or that of the last call: a caller may give all calls of one piece of work the same.
    fn correlation(&mut self) -> String {
        let again = self.random.percent(SAME_CORRELATION);
        match self.mutations.last() {
            Some(last) if again => last.correlation.clone(),
            _ => format!("chaos-{}-{}", self.number, self.mutations.len() + 1),
        }
    }

    /// Half of the calls have a trace; of the others, the app begins one.
    fn traceparent(&mut self) -> Option<String> {
        let trace = self.random.uuid().simple();
        self.random.percent(50).then(|| format!("00-{trace}-00f067aa0ba902b7-01"))
    }

    fn request(
        &self,
        call: &Call,
        replica: usize,
        correlation: &str,
        traceparent: Option<&str>,
    ) -> Option<RequestBuilder> {
        let (url, user) = (self.shared.urls.get(replica)?, self.shared.users.get(call.user)?);
        let mut request = self
            .shared
            .http
            .request(call.method.clone(), format!("{url}{}", call.path))
            .bearer_auth(&user.token)
            .header("x-correlation-id", correlation);
        if let Some(traceparent) = traceparent {
            request = request.header("traceparent", traceparent);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let faulty = call.action == Action::Created && call.body.as_ref()?.get("title")? != " ";
        match faulty.then(|| self.shared.disarm(replica)).flatten() {
            Some(fault) => Some(request.header("x-taskcast-fault", fault)),
            None => Some(request),
        }
    }

    /// A task whose state is not known for certain is left alone from now on.
    fn keep(&mut self, call: &Call, outcome: &Outcome) {
        match outcome {
            Outcome::Acknowledged { task, .. } if call.action != Action::Deleted => {
                self.tasks.push((call.user, task.clone()));
            }
            Outcome::NotSent => self.tasks.extend(call.task.clone().map(|task| (call.user, task))),
            _ => {}
        }
    }
}

/// Status and body, or why there is no answer and whether the request was sent.
type Answer = Result<(StatusCode, Value), (bool, String)>;

async fn read(response: reqwest::Result<Response>) -> Answer {
    let failed = |error: reqwest::Error| (!error.is_connect(), format!("{:#}", anyhow::Error::from(error)));
    let response = response.map_err(failed)?;
    let status = response.status();
    let body = response.bytes().await.map_err(failed)?;
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

fn outcome(call: &Call, answer: Answer) -> Outcome {
    let wrong = call.body.as_ref().is_some_and(|body| body.get("title") == Some(&json!(" ")));
    match answer {
        Err((true, error)) => Outcome::Failed(error),
        Err((false, _)) => Outcome::NotSent,
        Ok((status, _)) if wrong && status == 400 => Outcome::Refused,
        Ok((status, body)) if status.is_success() && !wrong => acknowledged(call, &body),
        Ok((status, body)) if status == 503 && body == unavailable() => Outcome::Unavailable,
        Ok((status, body)) => Outcome::Failed(format!("{status} {body}")),
    }
}

/// The contract's words, to the letter.
fn unavailable() -> Value {
    json!({"error": {
        "code": "SERVICE_UNAVAILABLE",
        "message": "Database temporarily unavailable. Please try again.",
        "details": [],
    }})
}

fn acknowledged(call: &Call, body: &Value) -> Outcome {
    let task = match (call.action, &call.task) {
        (Action::Deleted, Some(task)) => Some(task.clone()),
        _ => task(body),
    };
    let Some(task) = task else { return Outcome::Failed(format!("an answer without a task: {body}")) };
    let due_before = call.task.as_ref().and_then(|task| task.due_date.as_ref());
    let moved = task.due_date.is_some() && task.due_date.as_ref() != due_before;
    let reminder = match call.action {
        Action::Created if moved => Some("scheduled"),
        Action::Updated if moved => Some("rescheduled"),
        _ => None,
    };
    Outcome::Acknowledged { task, reminder }
}

fn task(body: &Value) -> Option<Task> {
    Some(Task {
        id: body.get("id")?.as_str()?.to_owned(),
        title: body.get("title")?.as_str()?.to_owned(),
        completed: body.get("completed")?.as_bool()?,
        due_date: body.get("due_date").and_then(Value::as_str).map(str::to_owned),
    })
}
