//! `/api/v1/health`: whether the API can work (GET, no token needed).
//!
//! The API works without the sidecar, so a missing sidecar is reported but does not make it unhealthy.

use std::time::Duration;

use serde_json::json;
use shared::error::Error;
use shared::http::{Call, Reply, serve};
use shared::log::Level;
use shared::{config, dapr, limit, store};
use spin_sdk::http::{IntoResponse, Method, Request, StatusCode};

/// How long the database may take to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(serde::Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<&'static str>,
}

#[spin_sdk::http_service]
async fn health(request: Request) -> impl IntoResponse {
    serve(request, &[Method::GET], async |call| check(call).await).await
}

async fn check(call: &Call) -> Result<Reply, Error> {
    let (url, token) = config::sidecar_address().await?;
    let database = limit::within(DATABASE_TIMEOUT, store::ping());
    let (database, sidecar) = futures::join!(database, dapr::ready(&url, &token));
    let unreachable = || Err(Error::DatabaseUnavailable("no answer".into()));
    let (status, health) = match database.unwrap_or_else(unreachable) {
        Ok(()) => (StatusCode::OK, Health { status: "healthy", database: None, events: delayed(sidecar) }),
        Err(error) => {
            call.log(Level::Error, "unhealthy", json!({"error": error.to_string()}));
            let health =
                Health { status: "unavailable", database: Some("unreachable"), events: delayed(sidecar) };
            (StatusCode::SERVICE_UNAVAILABLE, health)
        }
    };
    Reply::json(status, &health)
}

fn delayed(sidecar_is_ready: bool) -> Option<&'static str> {
    (!sidecar_is_ready).then_some("delayed")
}
