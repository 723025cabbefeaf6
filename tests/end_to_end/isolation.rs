//! Two users and random sequences of calls with each other's ids, and with headers that pretend: each gets what a model of the
//! contract says, and nothing that a user is told shows a trace of the other.

use std::fmt::Debug;

use futures::future::join_all;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::sample::subsequence;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::harness::answer::{Answer, id};
use crate::harness::nudge::APP_TOKEN;
use crate::harness::route::unknown_id;
use crate::harness::{App, Route, User, shared};

const SEQUENCES: usize = 24;
const STEPS: usize = 40;

/// Headers by which proxies, Spin and Dapr tell what a request is about. `{task}`, `{user}` and `{token}` are the other's.
const PRETENCES: [(&str, &str); 22] = [
    ("spin-path-match-id", "{task}"),
    ("spin-path-info", "/{task}"),
    ("spin-full-url", "http://127.0.0.1/api/v1/tasks/{task}"),
    ("spin-matched-route", "/internal/relay"),
    ("spin-raw-component-route", "/internal/..."),
    ("spin-component-route", "/internal/relay"),
    ("spin-base-path", "/internal"),
    ("spin-client-addr", "127.0.0.1:1"),
    ("x-forwarded-user", "{user}"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "internal.example.com"),
    ("x-forwarded-prefix", "/internal"),
    ("forwarded", "for=127.0.0.1;host=internal.example.com"),
    ("x-user-id", "{user}"),
    ("x-original-url", "/api/v1/tasks/{task}"),
    ("x-rewrite-url", "/internal/relay"),
    ("x-http-method-override", "DELETE"),
    ("x-method-override", "DELETE"),
    ("dapr-app-id", "taskcast"),
    ("dapr-api-token", APP_TOKEN),
    ("cookie", "auth_token={token}"),
];

/// A task that a call names; a number counts on round and round.
#[derive(Clone, Copy, Debug)]
enum Target {
    Own(usize),
    Others(usize),
    OwnDeleted(usize),
    OthersDeleted(usize),
    Unknown,
}

#[derive(Clone, Debug)]
struct Step {
    /// Which of the two.
    user: usize,
    route: Route,
    target: Target,
    pretences: Vec<(&'static str, &'static str)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let target = prop_oneof![
        4 => any::<usize>().prop_map(Target::Own),
        4 => any::<usize>().prop_map(Target::Others),
        1 => any::<usize>().prop_map(Target::OwnDeleted),
        1 => any::<usize>().prop_map(Target::OthersDeleted),
        1 => Just(Target::Unknown),
    ];
    // More than every seventh call creates a task: there is to be something to go wrong with.
    let routes: Vec<_> = Route::ALL.into_iter().chain([Route::Create; 3]).collect();
    let step = (0..2_usize, prop::sample::select(routes), target, subsequence(PRETENCES.to_vec(), 0..4));
    let step = step.prop_map(|(user, route, target, pretences)| Step { user, route, target, pretences });
    prop::collection::vec(step, STEPS)
}

/// A user, and what they must have.
struct Person {
    user: User,
    /// In everything that they write.
    marker: String,
    /// As the API has shown them, the newest last.
    tasks: Vec<Value>,
    deleted: Vec<String>,
    changes: u64,
}

impl Person {
    fn new(app: &App) -> Self {
        let user = app.user();
        let marker = format!("mark-{}", user.id.simple());
        Self { user, marker, tasks: Vec::new(), deleted: Vec::new(), changes: 0 }
    }

    fn task(&self, number: usize) -> Option<String> {
        self.tasks.get(number.checked_rem(self.tasks.len())?).map(id)
    }

    fn deleted(&self, number: usize) -> Option<String> {
        self.deleted.get(number.checked_rem(self.deleted.len())?).cloned()
    }

    /// Nothing that is told to somebody else may have any of this.
    fn traces(&self) -> Vec<String> {
        let ids = self.tasks.iter().map(id).chain(self.deleted.iter().cloned());
        ids.chain([self.marker.clone(), self.user.id.to_string(), self.user.id.simple().to_string()])
            .collect()
    }
}

/// Whose task a step is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    Own,
    Others,
    Nobodys,
}

struct Pair([Person; 2]);

impl Pair {
    async fn take(&mut self, number: usize, step: &Step) {
        let [one, other] = &self.0;
        let (own, others) = if step.user == 0 { (one, other) } else { (other, one) };
        let (target, whose) = match step.target {
            Target::Own(number) => (own.task(number), Whose::Own),
            Target::Others(number) => (others.task(number), Whose::Others),
            Target::OwnDeleted(number) => (own.deleted(number), Whose::Nobodys),
            Target::OthersDeleted(number) => (others.deleted(number), Whose::Nobodys),
            Target::Unknown => (None, Whose::Nobodys),
        };
        // There may be no such task yet.
        let (task, whose) = target.map_or_else(|| (unknown_id(), Whose::Nobodys), |task| (task, whose));
        let title = format!("{} {number}", own.marker);
        let answer = Answer::to(request(step, &own.user, others, &task, &title)).await;
        let told = format!("{:?} {}", answer.headers, answer.text());
        for trace in others.traces() {
            assert!(!told.contains(&trace), "{step:?} shows {trace}: {told}");
        }
        self.0[step.user].expect(step, whose, &task, &title, &answer);
    }
}

/// With headers that pretend to be about the other.
fn request(step: &Step, user: &User, others: &Person, task: &str, title: &str) -> RequestBuilder {
    let theirs = others.tasks.last().map_or_else(unknown_id, id);
    let request = user.request(step.route.method(), &step.route.path(task));
    let mut request = request.header("x-correlation-id", title.replace(' ', "-"));
    if step.route.body().is_some() {
        request = request.json(&json!({"title": title}));
    }
    for (name, value) in &step.pretences {
        let value = value.replace("{task}", &theirs).replace("{user}", &others.user.id.to_string());
        request = request.header(*name, value.replace("{token}", &others.user.token));
    }
    request
}

impl Person {
    /// Checks the answer by what the user has, and has them have what it says.
    fn expect(&mut self, step: &Step, whose: Whose, task: &str, title: &str, answer: &Answer) {
        let Step { route, .. } = step;
        match (route, whose) {
            (Route::List, _) => {
                let newest_first: Vec<_> = self.tasks.iter().rev().cloned().collect();
                assert_eq!(answer.ok(200), json!({"tasks": newest_first, "count": newest_first.len()}));
                return;
            }
            (Route::Create, _) => {
                let task = answer.task(201);
                assert_eq!(task["title"], title);
                self.tasks.push(task);
            }
            (_, Whose::Others) => return answer.access_denied(),
            (_, Whose::Nobodys) => return answer.task_not_found(),
            (Route::Delete, Whose::Own) => {
                assert_eq!(answer.ok(200), json!({"message": "Task deleted successfully"}));
                self.tasks.retain(|own| id(own) != task);
                self.deleted.push(task.to_owned());
            }
            (_, Whose::Own) => {
                let own = self.tasks.iter_mut().find(|own| id(own) == task).unwrap();
                let shown = answer.task(200);
                let mut expected = own.clone();
                match route {
                    Route::Update => expected["title"] = json!(title),
                    Route::Complete | Route::Uncomplete => {
                        expected["completed"] = json!(*route == Route::Complete)
                    }
                    _ => {}
                }
                if expected != *own {
                    assert!(shown["updated_at"].as_str() > own["updated_at"].as_str(), "{step:?}");
                    expected["updated_at"] = shown["updated_at"].clone();
                }
                assert_eq!(shown, expected, "{step:?}");
                *own = shown;
            }
        }
        if *route != Route::Read {
            self.changes += 1;
        }
    }

    /// Their tasks are as they were told, and their events are of their own changes, in order.
    async fn assert_alone(&self, app: &App, other: &Self) {
        let newest_first: Vec<_> = self.tasks.iter().rev().cloned().collect();
        assert_eq!(self.user.list().await, newest_first);
        let heard = app.heard(&self.user).await;
        heard.assert_each_once(self.changes);
        let traces = other.traces();
        for event in &heard.events {
            let told = event.raw.to_string();
            assert!(!traces.iter().any(|trace| told.contains(trace)), "{told}");
        }
    }
}

/// Says what a failing sequence was.
struct OnFailure<T: Debug>(T);

impl<T: Debug> Drop for OnFailure<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the sequence was {:#?}", self.0);
        }
    }
}

#[tokio::test]
async fn two_users_never_see_a_trace_of_each_other() {
    let app = shared();
    let mut runner = TestRunner::deterministic();
    let sequences: Vec<_> =
        (0..SEQUENCES).map(|_| steps().new_tree(&mut runner).unwrap().current()).collect();
    join_all(sequences.into_iter().map(|steps| run(&app, steps))).await;
}

async fn run(app: &App, steps: Vec<Step>) {
    let mut pair = Pair([Person::new(app), Person::new(app)]);
    let steps = OnFailure(steps);
    for (number, step) in steps.0.iter().enumerate() {
        pair.take(number, step).await;
    }
    let Pair([one, other]) = &pair;
    one.assert_alone(app, other).await;
    other.assert_alone(app, one).await;
}

/// Not only some of them, and on every route.
#[tokio::test]
async fn all_pretences_at_once_change_nothing() {
    let app = shared();
    let mut pair = Pair([Person::new(&app), Person::new(&app)]);
    let step = |user, route, target| Step { user, route, target, pretences: PRETENCES.to_vec() };
    let mut number = 0;
    for user in [0, 1, 0, 1] {
        for route in Route::ALL {
            for target in [Target::Own(0), Target::Others(0), Target::OthersDeleted(0), Target::Unknown] {
                number += 1;
                pair.take(number, &step(user, route, target)).await;
            }
        }
    }
    let Pair([one, other]) = &pair;
    one.assert_alone(&app, other).await;
    other.assert_alone(&app, one).await;
}
