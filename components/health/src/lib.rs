//! `/api/v1/health`: whether the API can work (GET, no token needed).
//!
//! The API works without the sidecar, so a missing sidecar is reported but does not make it unhealthy.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::json;
use shared::error::Error;
use shared::http::{Call, Reply, serve};
use shared::log::Level;
use shared::turns::{self, Line};
use shared::{config, dapr, limit, store};
use spin_sdk::http::{IntoResponse, Method, Request, StatusCode};

/// How long the database may take to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long what was found is told again.
const KEPT: Duration = Duration::from_secs(1);

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

/// What was found, and when.
#[derive(Clone, Copy)]
struct Found {
    at: Instant,
    database: bool,
    sidecar: bool,
}

thread_local! {
    static LAST: Cell<Option<Found>> = const { Cell::new(None) };
}

/// One check at a time in an instance, whose result is everybody's for a moment: anybody may ask, and each check needs a connection.
async fn check(call: &Call) -> Result<Reply, Error> {
    let _turn = turns::take(Line::Health).await;
    match LAST.get().filter(|found| found.at.elapsed() < KEPT) {
        Some(found) => found.reply(),
        None => {
            let found = look(call).await?;
            LAST.set(Some(found));
            found.reply()
        }
    }
}

async fn look(call: &Call) -> Result<Found, Error> {
    let (url, token) = config::sidecar_address().await?;
    let database = limit::within(DATABASE_TIMEOUT, store::ping());
    let (database, sidecar) = futures::join!(database, dapr::ready(&url, &token));
    let unreachable = || Err(Error::DatabaseUnavailable("no answer".into()));
    let database = database.unwrap_or_else(unreachable);
    if let Err(error) = &database {
        call.log(Level::Error, "unhealthy", json!({"error": error.to_string()}));
    }
    Ok(Found { at: Instant::now(), database: database.is_ok(), sidecar })
}

impl Found {
    fn reply(self) -> Result<Reply, Error> {
        let events = (!self.sidecar).then_some("delayed");
        let (status, health) = match self.database {
            true => (StatusCode::OK, Health { status: "healthy", database: None, events }),
            false => {
                let health = Health { status: "unavailable", database: Some("unreachable"), events };
                (StatusCode::SERVICE_UNAVAILABLE, health)
            }
        };
        Reply::json(status, &health)
    }
}
