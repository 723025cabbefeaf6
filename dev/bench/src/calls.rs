//! The requests that clients send.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::json;
use uuid::Uuid;

use crate::client::Call;
use crate::load::Make;

/// How long tokens are valid: longer than any run.
const VALID: Duration = Duration::from_secs(24 * 3_600);

/// Users, each with a token and so many tasks.
#[derive(Clone)]
pub(crate) struct Users {
    name: &'static str,
    users: Arc<Vec<User>>,
    tasks: u64,
}

struct User {
    id: Uuid,
    authorization: String,
}

impl Users {
    /// Always the same for the same name.
    pub(crate) fn new(name: &'static str, count: u64, tasks: u64) -> Self {
        let user = |number| {
            let id = id(&format!("{name} {number}"));
            let token = stack::token::mint(stack::system::SECRET, &id.to_string(), VALID);
            User { id, authorization: format!("Bearer {token}") }
        };
        Self { name, users: Arc::new((0..count).map(user).collect()), tasks }
    }

    fn of(&self, call: u64) -> Option<&User> {
        self.users.get(usize::try_from(call.checked_rem(self.users.len() as u64)?).ok()?)
    }

    /// Creates tasks of all users in turn.
    pub(crate) fn create(&self) -> Make {
        let users = self.clone();
        Arc::new(move |call| {
            let body = json!({"title": format!("Task number {call} of this run")});
            users.request(call, Method::POST, "/api/v1/tasks", body.to_string())
        })
    }

    /// Reads tasks of all users in turn.
    pub(crate) fn read(&self) -> Make {
        let users = self.clone();
        Arc::new(move |call| users.request(call, Method::GET, &users.task(call), String::new()))
    }

    /// Asks what may be done, which is answered without a token and without the database.
    pub(crate) fn preflight(&self) -> Make {
        let users = self.clone();
        Arc::new(move |call| users.request(call, Method::OPTIONS, "/api/v1/tasks", String::new()))
    }

    /// Asks whether the API can work, which needs no token.
    pub(crate) fn health(&self) -> Make {
        let users = self.clone();
        Arc::new(move |call| users.request(call, Method::GET, "/api/v1/health", String::new()))
    }

    /// Lists all tasks of a user.
    pub(crate) fn list(&self) -> Make {
        let users = self.clone();
        Arc::new(move |call| users.request(call, Method::GET, "/api/v1/tasks?completed=true", String::new()))
    }

    /// Gives tasks of all users in turn another title.
    pub(crate) fn update(&self) -> Make {
        let users = self.clone();
        Arc::new(move |call| {
            let body = json!({"title": format!("Changed by call {call}")});
            users.request(call, Method::PATCH, &users.task(call), body.to_string())
        })
    }

    /// Completes tasks of all users in turn, once more.
    pub(crate) fn complete(&self) -> Make {
        let users = self.clone();
        Arc::new(move |call| {
            users.request(call, Method::POST, &format!("{}/complete", users.task(call)), String::new())
        })
    }

    /// Gives each user completed tasks, which the calls above expect: an API that creates others does not disturb them.
    pub(crate) async fn seed(&self, database_url: &str) -> Result<()> {
        self.seed_with("A task to read", database_url).await
    }

    /// The same with this title.
    pub(crate) async fn seed_with(&self, title: &str, database_url: &str) -> Result<()> {
        let owners = self.users.iter().flat_map(|user| (0..self.tasks).map(|_| user.id));
        let (owners, tasks): (Vec<Uuid>, Vec<Uuid>) =
            owners.zip((0..).map(|number| self.task_id(number))).unzip();
        let sql = "insert into tasks (id, user_id, title, completed)
            select task, owner, $3, true from unnest($1::uuid[], $2::uuid[]) as seed (task, owner)";
        crate::connect(database_url).await?.execute(sql, &[&tasks, &owners, &title]).await?;
        Ok(())
    }

    /// The path of a task of the user that the call is for.
    fn task(&self, call: u64) -> String {
        let users = self.users.len() as u64;
        let (user, turn) = (call.checked_rem(users).unwrap_or(0), call.checked_div(users).unwrap_or(0));
        let task = turn.checked_rem(self.tasks).unwrap_or(0);
        format!("/api/v1/tasks/{}", self.task_id(user * self.tasks + task))
    }

    fn task_id(&self, number: u64) -> Uuid {
        id(&format!("{} task {number}", self.name))
    }

    fn request(&self, call: u64, method: Method, path: &str, body: String) -> Call {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(header::HOST, header::HeaderValue::from_static("127.0.0.1"));
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        if let Some(value) = self.of(call).and_then(|user| user.authorization.parse().ok()) {
            headers.insert(header::AUTHORIZATION, value);
        }
        request
    }
}

fn id(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}
