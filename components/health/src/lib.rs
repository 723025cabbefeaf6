//! `/api/v1/health`: whether the API can work (GET, no token needed).
//!
//! It can't without the database, nor with a variable that is broken, whichever route reads that
//! one. It works without the sidecar, so a missing sidecar is reported but does not make it
//! unhealthy.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use serde_json::json;
use shared::error::Error;
use shared::http::{Call, Reply, serve_read_only};
use shared::log::Level;
use shared::turns::{self, Line};
use shared::{config, dapr, limit, store};
use spin_sdk::http::{IntoResponse, Request, StatusCode};

/// How long the database may take to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long what was found is told again.
const KEPT: Duration = Duration::from_secs(1);

#[derive(serde::Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    configuration: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<&'static str>,
}

#[spin_sdk::http_service]
async fn health(request: Request) -> impl IntoResponse {
    serve_read_only(request, async |call| check(call).await).await
}

/// What was found, and when.
#[derive(Clone)]
struct Found {
    at: Instant,
    database: bool,
    sidecar: bool,
    /// The variables that are broken, by name.
    broken: Vec<&'static str>,
}

thread_local! {
    static LAST: RefCell<Option<Found>> = const { RefCell::new(None) };
}

/// One check at a time in an instance, whose result is everybody's for a moment: anybody may ask, and each check needs a connection.
async fn check(call: &Call) -> Result<Reply, Error> {
    let _turn = turns::take(Line::Health).await;
    let last = LAST.with_borrow(|last| last.clone().filter(|found| found.at.elapsed() < KEPT));
    if let Some(found) = last {
        return found.reply();
    }
    let found = look(call).await?;
    LAST.set(Some(found.clone()));
    found.reply()
}

async fn look(call: &Call) -> Result<Found, Error> {
    let broken = broken_variables(call).await?;
    let database = limit::within(DATABASE_TIMEOUT, store::ping());
    let (database, sidecar) = futures::join!(database, is_sidecar_ready());
    let unreachable = || Err(Error::DatabaseUnavailable("no answer".into()));
    let database = database.unwrap_or_else(unreachable);
    if let Err(error) = &database {
        log_unhealthy(call, error);
    }
    Ok(Found { at: Instant::now(), database: database.is_ok(), sidecar, broken })
}

async fn broken_variables(call: &Call) -> Result<Vec<&'static str>, Error> {
    match config::check(call.trace()).await {
        Ok(()) => Ok(Vec::new()),
        Err(error) => {
            log_unhealthy(call, &error);
            let Error::Configuration(broken) = error else { return Err(error) };
            Ok(broken.into_iter().map(|variable| variable.name).collect())
        }
    }
}

async fn is_sidecar_ready() -> bool {
    match config::sidecar_address().await {
        Ok((url, token)) => dapr::ready(&url, &token).await,
        Err(_) => false,
    }
}

fn log_unhealthy(call: &Call, error: &Error) {
    call.log(Level::Error, "unhealthy", json!({"error": error.to_string()}));
}

impl Found {
    fn reply(self) -> Result<Reply, Error> {
        let is_healthy = self.database && self.broken.is_empty();
        let (status, word) = match is_healthy {
            true => (StatusCode::OK, "healthy"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        let health = Health {
            status: word,
            database: (!self.database).then_some("unreachable"),
            configuration: self.broken,
            events: (!self.sidecar).then_some("delayed"),
        };
        Reply::json(status, &health)
    }
}
