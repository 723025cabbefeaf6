//! What no library would send: each case is written to a socket byte by byte, and has an answer of its own. None may hang, end an
//! instance, leave a task that nobody was told of, or be read as more requests than it is.
//!
//! An answer without `X-Correlation-ID` is the host's: Spin's HTTP server (hyper) refuses what is no HTTP before a component sees it.

use std::time::Duration;

use futures::future::join_all;

use crate::harness::answer::Answer;
use crate::harness::openapi::{Sent, document};
use crate::harness::raw::{DEADLINE, Then, exchange};
use crate::harness::{App, User, shared};

mod framing;
mod heads;
mod json;
mod late;
mod mutated;
mod smuggling;
mod targets;

/// Where it is not known beforehand: anything but a 5xx, except Spin's for a header that is not UTF-8.
const ANY: &str = "any";

/// What is sent, and the outcomes that are right, separated by `|`: statuses in their order, or `closed`.
struct Case {
    name: String,
    sent: Vec<u8>,
    then: Then,
    expected: &'static str,
    /// What the last answer says, among other things.
    says: &'static str,
    deadline: Duration,
}

/// A request of a new user, in which these stand for something: `<create>` and `<list>` for the beginning of a good request, up to and
/// without the empty line, `<health>` for a good last one, `<smuggled>` for one that must not be read as one, `<auth>` for the header with
/// the token, `<host>` for the app's address, `<id>` and `<ID>` for that of a task that the user has.
fn case(name: &str, sent: impl Into<Vec<u8>>, expected: &'static str) -> Case {
    Case {
        name: name.to_owned(),
        sent: sent.into(),
        then: Then::Wait,
        expected,
        says: "",
        deadline: DEADLINE,
    }
}

/// Sends them all at once, each for a user of its own.
async fn check(cases: Vec<Case>) {
    let app = shared();
    let users = app.users(cases.len());
    let results = join_all(cases.iter().zip(&users).map(|(case, user)| case.run(&app, user))).await;
    let mut wrong = Vec::new();
    let mut changed_nothing = Vec::new();
    for ((case, user), result) in cases.iter().zip(users).zip(results) {
        match result {
            Ok(0) => changed_nothing.push(user.id.to_string()),
            Ok(_) => (),
            Err(what) => wrong.push(format!("{}: {what}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
    let sql = "SELECT count(*) FROM user_streams WHERE user_id::text = ANY($1)";
    let streams: i64 = app.database.client().await.query_one(sql, &[&changed_nothing]).await.unwrap().get(0);
    assert_eq!(streams, 0, "users who have changed something after all");
    app.log().assert_no_panic();
    app.user().create("The app still answers").await;
}

impl Case {
    /// How many tasks the user has then. Errors: what was wrong.
    async fn run(&self, app: &App, user: &User) -> Result<usize, String> {
        let has_task = self.mentions("<id>") || self.mentions("<ID>");
        let id = if has_task { user.new_task_id().await } else { String::new() };
        let sent = self.filled(app, user, &id);
        let received = exchange(&app.address(), &sent, self.then, self.deadline).await.ok_or("hangs")?;
        let outcome = received.outcome();
        if !self.is_expected(&outcome) {
            let rest = received.rest.escape_ascii();
            return Err(format!("{outcome} instead of {}; what is no answer: {rest}", self.expected));
        }
        let last = received.answers.last().map(Answer::text).unwrap_or_default();
        if !last.contains(self.says) {
            return Err(format!("{last} does not say {}", self.says));
        }
        received.answers.iter().try_for_each(|answer| self.check_form(answer))?;
        let created = received.answers.iter().filter(|answer| answer.status == 201).count();
        let tasks = created + usize::from(has_task);
        check_tasks(app, user, tasks).await.map(|()| tasks)
    }

    fn is_expected(&self, outcome: &str) -> bool {
        if self.expected != ANY {
            return self.expected.split('|').any(|expected| expected == outcome);
        }
        let text = std::str::from_utf8(&self.sent).is_ok();
        outcome.split(' ').all(|status| !status.starts_with('5') || (status == "500" && !text))
    }

    fn mentions(&self, text: &str) -> bool {
        self.sent.windows(text.len()).any(|window| window == text.as_bytes())
    }

    fn filled(&self, app: &App, user: &User, id: &str) -> Vec<u8> {
        let common = "Host: <host>\r\n<auth>\r\n";
        let texts = [
            ("<smuggled>", "<create>Content-Length: 20\r\n\r\n{\"title\":\"Smuggled\"}"),
            (
                "<create>",
                &format!("POST /api/v1/tasks HTTP/1.1\r\n{common}Content-Type: application/json\r\n"),
            ),
            ("<list>", &format!("GET /api/v1/tasks HTTP/1.1\r\n{common}")),
            ("<health>", "GET /api/v1/health HTTP/1.1\r\nHost: <host>\r\nConnection: close\r\n\r\n"),
            ("<auth>", &format!("Authorization: Bearer {}", user.token)),
            ("<host>", &app.address()),
            ("<id>", id),
            ("<ID>", &id.to_uppercase()),
        ];
        texts.iter().fold(self.sent.clone(), |sent, (name, text)| replaced(&sent, name, text))
    }

    /// What a component answers has the contract's form; what the host answers says nothing.
    fn check_form(&self, answer: &Answer) -> Result<(), String> {
        let status = answer.status;
        if answer.header("x-correlation-id").is_none() {
            return if answer.body.is_empty() {
                Ok(())
            } else {
                Err(format!("the host says {}", answer.text()))
            };
        }
        if answer.header("content-length") != Some(&answer.body.len().to_string()) || status >= 500 {
            return Err(format!("{answer:?}"));
        }
        // What the document says of a good answer needs the body of the request.
        if status < 400 { Ok(()) } else { document().check(&self.first_line(), answer) }
    }

    /// Method and path of the first request.
    fn first_line(&self) -> Sent {
        let line = self.sent.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).replace("<create>", "POST /api/v1/tasks ");
        let line = line.replace("<list>", "GET /api/v1/tasks ");
        let mut words = line.split([' ', '?']).map(str::to_owned);
        Sent {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            ..Sent::default()
        }
    }
}

/// The user must have so many tasks, and as many events.
async fn check_tasks(app: &App, user: &User, expected: usize) -> Result<(), String> {
    let tasks = user.list().await;
    if tasks.len() != expected {
        return Err(format!("{expected} tasks expected, there are {tasks:?}"));
    }
    if expected == 0 {
        return Ok(());
    }
    let heard = app.heard(user).await;
    let events = heard.events.iter().filter(|event| event.kind == "task.created").count();
    if events == expected { Ok(()) } else { Err(format!("{expected} events expected, there were {events}")) }
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(place) = rest.windows(from.len()).position(|window| window == from.as_bytes()) {
        result.extend_from_slice(&rest[..place]);
        result.extend_from_slice(to.as_bytes());
        rest = &rest[place + from.len()..];
    }
    result.extend_from_slice(rest);
    result
}
