//! `/api/v1/tasks/{id}`: one task, to read (GET), to change (PATCH) or to delete (DELETE).

use shared::error::Error;
use shared::http::{Call, Reply, serve};
use shared::store;
use shared::task::{Action, TaskPatch};
use spin_sdk::http::{IntoResponse, Method, Request};

#[spin_sdk::http_service]
async fn task(request: Request) -> impl IntoResponse {
    serve(request, &[Method::GET, Method::PATCH, Method::DELETE], async |call| match *call.method() {
        Method::GET => read(call).await,
        Method::PATCH => update(call).await,
        _ => delete(call).await,
    })
    .await
}

async fn read(call: &Call) -> Result<Reply, Error> {
    let user = call.user().await?;
    let task = store::find_task(user, call.task_id()?).await?;
    Reply::ok(&task)
}

async fn update(call: &mut Call) -> Result<Reply, Error> {
    let user = call.user().await?;
    let id = call.task_id()?;
    let patch = TaskPatch::parse(&call.json().await?)?;
    let (task, delivery) = store::update_task(user, id, Action::Updated, &patch, call.trace()).await?;
    Ok(Reply::ok(&task)?.then_deliver(delivery))
}

#[derive(serde::Serialize)]
struct Deleted {
    message: &'static str,
}

async fn delete(call: &Call) -> Result<Reply, Error> {
    let user = call.user().await?;
    let delivery = store::delete_task(user, call.task_id()?, call.trace()).await?;
    Ok(Reply::ok(&Deleted { message: "Task deleted successfully" })?.then_deliver(delivery))
}
