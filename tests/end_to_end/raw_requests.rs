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
mod smuggling;
mod targets;

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
    let differences = join_all(cases.iter().map(|case| case.difference(&app))).await;
    let differences: Vec<_> = differences.into_iter().flatten().collect();
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), cases.len(), differences.join("\n"));
    assert!(!app.log().text().contains("ended with all its requests"), "an instance ended");
    app.user().create("The app still answers").await;
}

impl Case {
    /// What was wrong.
    async fn difference(&self, app: &App) -> Option<String> {
        let user = app.user();
        let id = if self.mentions("<id>") || self.mentions("<ID>") {
            user.new_task_id().await
        } else {
            String::new()
        };
        let sent = self.filled(app, &user, &id);
        let Some(received) = exchange(&app.address(), &[sent], self.then, self.deadline).await else {
            return Some(format!("{}: hangs", self.name));
        };
        let outcome = received.outcome();
        let created = received.answers.iter().filter(|answer| answer.status == 201).count();
        let wrong = if self.expected.split('|').any(|expected| expected == outcome) {
            self.unlike_the_contract(&received.answers)
        } else {
            Some(format!("{outcome} instead of {}", self.expected))
        };
        let wrong = match wrong {
            None => left_behind(app, &user, created + usize::from(!id.is_empty())).await,
            wrong => wrong,
        };
        wrong.map(|wrong| format!("{}: {wrong}", self.name))
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

    fn unlike_the_contract(&self, answers: &[Answer]) -> Option<String> {
        let last = answers.last().map(Answer::text).unwrap_or_default();
        if !last.contains(self.says) {
            return Some(format!("{last} does not say {}", self.says));
        }
        answers.iter().find_map(|answer| self.unlike_the_document(answer))
    }

    /// What a component answers has the contract's form; what the host answers says nothing.
    fn unlike_the_document(&self, answer: &Answer) -> Option<String> {
        if answer.header("x-correlation-id").is_none() {
            return (!answer.body.is_empty()).then(|| format!("the host says {}", answer.text()));
        }
        if answer.header("content-length") != Some(&answer.body.len().to_string()) {
            return Some(format!("the length of {answer:?}"));
        }
        let first_line = String::from_utf8_lossy(self.sent.split(|byte| *byte == b'\n').next()?).into_owned();
        let mut words = first_line.replace("<create>", "POST /api/v1/tasks ");
        words = words.replace("<list>", "GET /api/v1/tasks ");
        let (method, target) = words.split_once(' ')?;
        let path = target.split([' ', '?']).next()?;
        let sent = Sent { method: method.to_owned(), path: path.to_owned(), ..Sent::default() };
        // What the document says of a good answer needs the body of the request.
        if answer.status >= 400 { document().check(&sent, answer).err() } else { None }
    }
}

/// The user must have so many tasks, none of them from within another request, and as many events.
async fn left_behind(app: &App, user: &User, expected: usize) -> Option<String> {
    let tasks = user.list().await;
    if tasks.len() != expected || tasks.iter().any(|task| task["title"] == "Smuggled") {
        return Some(format!("{expected} tasks expected, there are {tasks:?}"));
    }
    let heard = app.heard(user).await;
    let events = heard.events.iter().filter(|event| event.kind == "task.created").count();
    (events != expected).then(|| format!("{expected} events expected, there were {events}"))
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
