//! `/api/v1/tasks/{id}/complete`: marks a task as done (POST). Doing it again changes nothing, but is told again.

use shared::error::Error;
use shared::http::{Call, Reply, serve};
use shared::store;
use shared::task::{Action, TaskPatch};
use spin_sdk::http::{IntoResponse, Method, Request};

#[spin_sdk::http_service]
async fn complete(request: Request) -> impl IntoResponse {
    serve(request, &[Method::POST], async |call| complete_task(call).await).await
}

async fn complete_task(call: &Call) -> Result<Reply, Error> {
    let user = call.user().await?;
    let patch = TaskPatch::completed(true);
    let (task, delivery) =
        store::update_task(user, call.task_id()?, Action::Completed, &patch, call.trace()).await?;
    Ok(Reply::ok(&task)?.then_deliver(delivery))
}
