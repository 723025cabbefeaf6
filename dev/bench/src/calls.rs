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

/// How many tasks each user has for reading.
pub(crate) const TASKS_PER_USER: usize = 20;

/// Users, each with a token.
#[derive(Clone)]
pub(crate) struct Users(Arc<Vec<User>>);

struct User {
    id: Uuid,
    authorization: String,
}

impl Users {
    /// Always the same for the same name.
    pub(crate) fn new(name: &str, count: u64) -> Self {
        let user = |number| {
            let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{name} {number}").as_bytes());
            let token = stack::token::mint(stack::system::SECRET, &id.to_string(), VALID);
            User { id, authorization: format!("Bearer {token}") }
        };
        Self(Arc::new((0..count).map(user).collect()))
    }

    fn of(&self, call: u64) -> Option<&User> {
        let count = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        self.0.get(usize::try_from(call.checked_rem(count)?).ok()?)
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

    /// Gives each user completed tasks, which the calls above expect: an API that creates others does not disturb them.
    pub(crate) async fn seed(&self, database_url: &str) -> Result<()> {
        let owners = self.0.iter().flat_map(|user| [user.id; TASKS_PER_USER]);
        let (owners, tasks): (Vec<Uuid>, Vec<Uuid>) = owners.zip((0..).map(task)).unzip();
        let sql = "insert into tasks (id, user_id, title, completed)
            select task, owner, 'A task to read', true from unnest($1::uuid[], $2::uuid[]) as seed (task, owner)";
        crate::connect(database_url).await?.execute(sql, &[&tasks, &owners]).await?;
        Ok(())
    }

    /// The path of a task of the user that the call is for.
    fn task(&self, call: u64) -> String {
        let (users, tasks) = (self.0.len() as u64, TASKS_PER_USER as u64);
        let (user, turn) = (call.checked_rem(users).unwrap_or(0), call.checked_div(users).unwrap_or(0));
        format!("/api/v1/tasks/{}", task(user * tasks + turn % tasks))
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

fn task(number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("task {number}").as_bytes())
}
