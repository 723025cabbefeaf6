//! `/internal/relay`: delivers what a crash or an outage has left in the outbox (POST).
//!
//! A Dapr cron binding calls it every few seconds, on every replica. Calls may overlap: each leases other users.

use std::time::Duration;

use serde_json::json;
use shared::error::Error;
use shared::http::{Call, Reply, serve};
use shared::log::Level;
use shared::outbox;
use spin_sdk::http::{IntoResponse, Method, Request};

/// After this long, a call claims no more: the next tick goes on.
const TIME: Duration = Duration::from_secs(10);

#[spin_sdk::http_service]
async fn relay(request: Request) -> impl IntoResponse {
    serve(request, &[Method::POST], async |call| drain(call).await).await
}

#[derive(serde::Serialize)]
struct Relayed {
    changes: usize,
}

async fn drain(call: &Call) -> Result<Reply, Error> {
    call.internal().await?;
    let changes = outbox::relay(TIME).await?;
    if changes > 0 {
        call.log(Level::Info, "relay has claimed a backlog", json!({"changes": changes}));
    }
    Reply::ok(&Relayed { changes })
}
