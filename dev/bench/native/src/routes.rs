//! The routes of the contract.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;
use shared::error::Error;
use shared::log::{self, Level};
use shared::task::{Action, NewTask, Task, TaskPatch};

use crate::app::App;
use crate::call::{Call, Reply};
use crate::store;

/// How long the database may take to answer a health check.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a path stands for.
#[derive(Clone, Copy)]
enum Resource {
    Tasks,
    Task,
    Complete,
    Uncomplete,
    Health,
}
use Resource::{Complete, Health, Tasks, Uncomplete};

const PATHS: [(&str, Resource); 5] = [
    ("/api/v1/tasks", Tasks),
    ("/api/v1/tasks/{id}", Resource::Task),
    ("/api/v1/tasks/{id}/complete", Complete),
    ("/api/v1/tasks/{id}/uncomplete", Uncomplete),
    ("/api/v1/health", Health),
];

/// Every path, also with a trailing slash.
pub(crate) fn router(app: Arc<App>) -> Router {
    PATHS.into_iter().fold(Router::new(), |router, (path, resource)| {
        let app = app.clone();
        // Not axum's filters by method: they would answer HEAD, and a wrong method without the contract's JSON.
        let handler = any(move |request: Request| serve(app, resource, request));
        router.route(path, handler.clone()).route(&format!("{path}/"), handler)
    })
}

async fn serve(app: Arc<App>, resource: Resource, request: Request) -> Response {
    let (call, body) = Call::new(request);
    let result = if call.method() == Method::OPTIONS {
        Ok(Reply::empty())
    } else if !resource.methods().contains(call.method()) {
        Err(Error::MethodNotAllowed)
    } else if call.is_too_large() {
        Err(Error::PayloadTooLarge)
    } else {
        resource.answer(&app, &call, body).await
    };
    call.response(resource.methods(), result)
}

impl Resource {
    fn methods(self) -> &'static [Method] {
        match self {
            Tasks => &[Method::GET, Method::POST],
            Resource::Task => &[Method::GET, Method::PATCH, Method::DELETE],
            Complete | Uncomplete => &[Method::POST],
            Health => &[Method::GET],
        }
    }

    async fn answer(self, app: &App, call: &Call, body: Body) -> Result<Reply, Error> {
        match (self, call.method()) {
            (Tasks, &Method::GET) => list(app, call).await,
            (Tasks, _) => create(app, call, body).await,
            (Resource::Task, &Method::GET) => read(app, call).await,
            (Resource::Task, &Method::PATCH) => update(app, call, body).await,
            (Resource::Task, _) => delete(app, call).await,
            (Complete, _) => mark(app, call, true).await,
            (Uncomplete, _) => mark(app, call, false).await,
            (Health, _) => health(app).await,
        }
    }
}

#[derive(Serialize)]
struct TaskList {
    tasks: Vec<Task>,
    count: usize,
}

async fn list(app: &App, call: &Call) -> Result<Reply, Error> {
    let user = call.user(&app.verifier)?;
    let completed = call.query_bool("completed")?;
    let tasks = store::list_tasks(&app.database, user, completed).await?;
    Reply::ok(&TaskList { count: tasks.len(), tasks })
}

async fn create(app: &App, call: &Call, body: Body) -> Result<Reply, Error> {
    let user = call.user(&app.verifier)?;
    let new = NewTask::parse(&call.json(body).await?)?;
    Reply::created(&app.create_task(user, &new, call.trace()).await?)
}

async fn read(app: &App, call: &Call) -> Result<Reply, Error> {
    let user = call.user(&app.verifier)?;
    Reply::ok(&store::find_task(&app.database, user, call.task_id()?).await?)
}

async fn update(app: &App, call: &Call, body: Body) -> Result<Reply, Error> {
    let user = call.user(&app.verifier)?;
    let id = call.task_id()?;
    let patch = TaskPatch::parse(&call.json(body).await?)?;
    Reply::ok(&app.update_task(user, id, Action::Updated, &patch, call.trace()).await?)
}

#[derive(Serialize)]
struct Deleted {
    message: &'static str,
}

async fn delete(app: &App, call: &Call) -> Result<Reply, Error> {
    let user = call.user(&app.verifier)?;
    app.delete_task(user, call.task_id()?, call.trace()).await?;
    Reply::ok(&Deleted { message: "Task deleted successfully" })
}

async fn mark(app: &App, call: &Call, completed: bool) -> Result<Reply, Error> {
    let user = call.user(&app.verifier)?;
    let action = if completed { Action::Completed } else { Action::Uncompleted };
    let patch = TaskPatch::completed(completed);
    Reply::ok(&app.update_task(user, call.task_id()?, action, &patch, call.trace()).await?)
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<&'static str>,
}

async fn health(app: &App) -> Result<Reply, Error> {
    let database = tokio::time::timeout(DATABASE_TIMEOUT, store::ping(&app.database));
    let (database, sidecar_is_ready) = tokio::join!(database, app.sidecar.ready());
    let events = (!sidecar_is_ready).then_some("delayed");
    match database.unwrap_or_else(|_| Err(Error::DatabaseUnavailable("no answer".into()))) {
        Ok(()) => Reply::ok(&Status { status: "healthy", database: None, events }),
        Err(error) => {
            log::write(Level::Error, "unhealthy", json!({"error": error.to_string()}));
            let status = Status { status: "unavailable", database: Some("unreachable"), events };
            Reply::json(StatusCode::SERVICE_UNAVAILABLE, &status)
        }
    }
}
