//! `/api/v1/tasks`: a user's tasks (GET), and a new one (POST).

use shared::config;
use shared::error::Error;
use shared::http::{Call, Reply, serve};
use shared::store::{self, TaskList};
use shared::task::NewTask;
use spin_sdk::http::{IntoResponse, Method, Request};

#[spin_sdk::http_service]
async fn tasks(request: Request) -> impl IntoResponse {
    serve(request, &[Method::GET, Method::POST], async |call| match *call.method() {
        Method::GET => list(call).await,
        _ => create(call).await,
    })
    .await
}

async fn list(call: &Call) -> Result<Reply, Error> {
    let user = call.user().await?;
    let completed = call.query_bool("completed")?;
    let TaskList { pieces, turn } = store::list_tasks(user, completed).await?;
    Ok(Reply::in_pieces(pieces, turn))
}

async fn create(call: &mut Call) -> Result<Reply, Error> {
    let user = call.user().await?;
    let new = NewTask::parse(&call.json().await?)?;
    let most = config::max_tasks_per_user().await?;
    let (task, delivery) = store::create_task(user, &new, most, call.trace()).await?;
    Ok(Reply::created(&format!("/api/v1/tasks/{}", task.id), &task)?.then_deliver(delivery))
}
