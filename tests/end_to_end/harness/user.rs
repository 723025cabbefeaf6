//! A user of the API with a token of their own.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::Route;
use crate::harness::answer::{Answer, id};

/// The secret that every app of the suite signs with; 32 bytes is the least that is accepted.
pub(crate) const SECRET: &str = "a-secret-for-tests-of-44-bytes-0123456789abc";

/// A user id, a token for it and a client of their own.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) token: String,
    base: String,
    http: Client,
}

impl User {
    /// A user whom the app at `base` has never seen.
    pub(crate) fn new(base: &str) -> Self {
        Self::with_id(base, Uuid::new_v4())
    }

    pub(crate) fn with_id(base: &str, id: Uuid) -> Self {
        let token = stack::token::mint(SECRET, &id.to_string(), Duration::from_secs(3600));
        Self { id, token, base: base.to_owned(), http: client() }
    }

    /// A request without any token.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// A request with the user's token as bearer.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    /// A request with the user's token as cookie.
    pub(crate) fn by_cookie(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).header("cookie", format!("auth_token={}", self.token))
    }

    /// A request on one of the seven routes that the app accepts when `id` is a task of this user.
    pub(crate) fn on(&self, route: Route, id: &str) -> RequestBuilder {
        with_body(route, self.request(route.method(), &route.path(id)))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    pub(crate) async fn call(&self, route: Route, id: &str) -> Answer {
        Answer::to(self.on(route, id)).await
    }

    /// `POST /api/v1/tasks` with this body.
    pub(crate) async fn post_task(&self, body: &Value) -> Answer {
        Answer::to(self.request(Method::POST, "/api/v1/tasks").json(body)).await
    }

    /// `PATCH` of a task with this body.
    pub(crate) async fn patch(&self, id: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::PATCH, &Route::Update.path(id)).json(body)).await
    }

    /// Creates a task, which must succeed; returns it.
    pub(crate) async fn create(&self, title: &str) -> Value {
        self.post_task(&json!({"title": title})).await.task(201)
    }

    /// Creates a task with a due date, which must succeed; returns it.
    pub(crate) async fn create_due(&self, title: &str, due_date: &str) -> Value {
        self.post_task(&json!({"title": title, "due_date": due_date})).await.task(201)
    }

    /// The task, which must exist.
    pub(crate) async fn read(&self, id: &str) -> Value {
        self.call(Route::Read, id).await.task(200)
    }

    /// Changes a task, which must succeed; returns it.
    pub(crate) async fn update(&self, id: &str, body: &Value) -> Value {
        self.patch(id, body).await.task(200)
    }

    /// Completes, uncompletes or reads a task, which must succeed; returns it.
    pub(crate) async fn task_after(&self, route: Route, id: &str) -> Value {
        self.call(route, id).await.task(200)
    }

    /// The user's tasks, newest first.
    pub(crate) async fn list(&self) -> Vec<Value> {
        self.listed("").await
    }

    /// The user's tasks with a query such as `?completed=true`.
    pub(crate) async fn listed(&self, query: &str) -> Vec<Value> {
        let body = self.get(&format!("/api/v1/tasks{query}")).await.ok(200);
        let tasks = body["tasks"].as_array().expect("tasks is an array").clone();
        assert_eq!(body, json!({"tasks": tasks, "count": tasks.len()}));
        tasks
    }

    /// A task of this user, by its id.
    pub(crate) async fn new_task_id(&self) -> String {
        id(&self.create("A task").await)
    }
}

/// Gives the request the body that the route needs.
pub(crate) fn with_body(route: Route, request: RequestBuilder) -> RequestBuilder {
    match route.body() {
        Some(body) => request.json(&body),
        None => request,
    }
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap()
}
