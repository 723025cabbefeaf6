//! The variables of `spin.toml`, read once per instance: they can't change while the application
//! runs.
//!
//! White space at the ends of a value does not count, because a file that a value comes from often
//! ends in a line break. What the values may be is in [`values`]; [`check`] finds all that is wrong
//! with them.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;
use spin_sdk::variables;

use crate::auth::{Expected, Verifier};
use crate::dapr::Sidecar;
use crate::error::{BrokenVariable, Error};
use crate::log::{self, Level};
use crate::trace::Trace;

mod values;

/// How long the server may work on a statement, waiting for locks included, before it cancels it; and how long it lets a transaction
/// of ours stand open, of which there are none.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the server lets a session of ours be idle before it ends it. Spin's pools never close a connection: a component that
/// was busy once would keep its connections from the others.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks every variable that can be broken. Only a component that has all of these variables can.
///
/// Errors: `Configuration` with all of them that are. A failure is not remembered: the next call
/// reads them again.
pub async fn check(trace: &Trace) -> Result<(), Error> {
    static CHECKED: OnceLock<()> = OnceLock::new();
    let check = async || {
        let mut broken = Vec::new();
        collect(verifier(trace).await, &mut broken)?;
        match origins().await {
            Ok(origins) => broken.extend(origins.broken.clone()),
            Err(error) => collect::<()>(Err(error), &mut broken)?,
        }
        collect(max_tasks_per_user().await, &mut broken)?;
        collect(sidecar_address().await, &mut broken)?;
        collect(parsed("publish_timeout_ms", values::timeout).await, &mut broken)?;
        collect(parsed("pubsub_name", values::component_name).await, &mut broken)?;
        collect(event_source().await, &mut broken)?;
        if broken.is_empty() { Ok(()) } else { Err(Error::Configuration(broken)) }
    };
    once(&CHECKED, check).await.copied()
}

/// Moves what is broken to the others. Errors: any other one.
fn collect<T>(result: Result<T, Error>, others: &mut Vec<BrokenVariable>) -> Result<(), Error> {
    match result {
        Ok(_) => Ok(()),
        Err(Error::Configuration(broken)) => {
            others.extend(broken);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The address of the database, with the settings of a session.
pub async fn database_url() -> Result<&'static str, Error> {
    static URL: OnceLock<String> = OnceLock::new();
    once(&URL, async || Ok(with_settings(&get("database_url").await?))).await.map(String::as_str)
}

/// Adds the settings to a URL, unless it has options of its own. No statement of ours is worth compiling.
fn with_settings(url: &str) -> String {
    if url.contains("options=") || !url.contains("://") {
        return url.to_owned();
    }
    let (statement, idle) = (STATEMENT_TIMEOUT.as_millis(), IDLE_TIMEOUT.as_millis());
    let options = [
        ("statement_timeout", statement.to_string()),
        ("idle_in_transaction_session_timeout", statement.to_string()),
        ("idle_session_timeout", idle.to_string()),
        ("jit", "off".to_owned()),
    ]
    .map(|(name, value)| format!("-c%20{name}%3D{value}"))
    .join("%20");
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options={options}")
}

/// What checks the tokens of callers. An instance says once, in this request, which keys of `jwks`
/// it ignores.
pub async fn verifier(trace: &Trace) -> Result<&'static Verifier, Error> {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    once(&VERIFIER, async || {
        let (secret, previous) = (get("jwt_secret").await?, get("jwt_secret_previous").await?);
        let (issuer, audience) = (get("jwt_issuer").await?, get("jwt_audience").await?);
        let secrets = [("jwt_secret", secret.as_str()), ("jwt_secret_previous", previous.as_str())];
        let expected = Expected { issuer: &issuer, audience: &audience };
        let verifier = Verifier::new(&secrets, &get("jwks").await?, expected)?;
        if !verifier.ignored_keys().is_empty() {
            let error = format!("the variable jwks has {}", verifier.ignored_keys().join("; "));
            log::write_about(trace, Level::Warn, "keys ignored", json!({"error": error}));
        }
        Ok(verifier)
    })
    .await
}

/// The origins that browsers may call from, besides the API's own. An entry that is not an origin allows no page.
pub async fn cors_origins() -> Result<&'static [String], Error> {
    origins().await.map(|origins| origins.allowed.as_slice())
}

struct Origins {
    allowed: Vec<String>,
    broken: Option<BrokenVariable>,
}

async fn origins() -> Result<&'static Origins, Error> {
    const NAME: &str = "cors_origins";
    static ORIGINS: OnceLock<Origins> = OnceLock::new();
    let read = async || {
        let (allowed, error) = values::origins(&get(NAME).await?);
        let broken = error.map(|error| BrokenVariable { name: NAME, error });
        Ok(Origins { allowed, broken })
    };
    once(&ORIGINS, read).await
}

/// What the app's sidecar sends as `dapr-api-token`; empty when nothing is set.
pub async fn app_api_token() -> Result<&'static str, Error> {
    static TOKEN: OnceLock<String> = OnceLock::new();
    once(&TOKEN, async || get("app_api_token").await).await.map(String::as_str)
}

/// Has the log leave out what `log_level` says. An instance says once, in this request, that the value is none.
pub async fn set_log_level(trace: &Trace) {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    if LEVEL.get().is_some() {
        return;
    }
    let value = get("log_level").await;
    let level = value.as_ref().ok().and_then(|value| Level::parse(value));
    // Requests that came at the same time have read it, too.
    if LEVEL.set(level.unwrap_or(Level::Info)).is_err() {
        return;
    }
    if let Some(level) = level {
        return log::set_level(level);
    }
    let error = match value {
        Ok(value) => format!("variable log_level is {value:?}: it needs error, warn, info or debug"),
        Err(error) => error.to_string(),
    };
    log::write_about(trace, Level::Warn, "log level unknown: info is used", json!({"error": error}));
}

/// Whether the app runs on a developer's machine, where the relay may be called without a token. An instance says so once,
/// in this request.
pub async fn development(trace: &Trace) -> Result<bool, Error> {
    static DEVELOPMENT: OnceLock<bool> = OnceLock::new();
    let read = async || {
        let development = get("development").await? == "true";
        if development {
            let message = "development mode: the relay answers without a token";
            log::write_about(trace, Level::Warn, message, json!({}));
        }
        Ok(development)
    };
    once(&DEVELOPMENT, read).await.copied()
}

/// Whether the API's description and its page are shown.
pub async fn api_docs() -> Result<bool, Error> {
    static SHOWN: OnceLock<bool> = OnceLock::new();
    once(&SHOWN, async || Ok(get("api_docs").await? == "true")).await.copied()
}

/// How many tasks a user may have; `None`: as many as they like.
pub async fn max_tasks_per_user() -> Result<Option<u32>, Error> {
    static MOST: OnceLock<Option<u32>> = OnceLock::new();
    once(&MOST, async || parsed("max_tasks_per_user", values::limit).await).await.copied()
}

/// What the CloudEvents `source` starts with.
pub async fn event_source() -> Result<&'static str, Error> {
    static SOURCE: OnceLock<String> = OnceLock::new();
    once(&SOURCE, async || parsed("event_source", values::uri_prefix).await).await.map(String::as_str)
}

/// The Dapr sidecar, for publishing.
pub async fn sidecar() -> Result<&'static Sidecar, Error> {
    static SIDECAR: OnceLock<Sidecar> = OnceLock::new();
    once(&SIDECAR, async || {
        let timeout = parsed("publish_timeout_ms", values::timeout).await?;
        let (url, token) = sidecar_address().await?;
        Ok(Sidecar::new(url, token, &parsed("pubsub_name", values::component_name).await?, timeout))
    })
    .await
}

/// The sidecar's URL without a trailing slash, and its API token, which is empty when it asks for none.
pub async fn sidecar_address() -> Result<(String, String), Error> {
    Ok((parsed("dapr_url", values::address).await?, get("dapr_api_token").await?))
}

async fn parsed<T>(name: &'static str, parse: fn(&str) -> Result<T, String>) -> Result<T, Error> {
    parse(&get(name).await?).map_err(|error| broken(name, error))
}

/// The value without white space at its ends.
async fn get(name: &'static str) -> Result<String, Error> {
    match variables::get(name).await {
        Ok(value) => Ok(value.trim().to_owned()),
        Err(error) => Err(broken(name, format!("can't be read: {error}"))),
    }
}

fn broken(name: &'static str, error: String) -> Error {
    Error::Configuration(vec![BrokenVariable { name, error }])
}

async fn once<T>(
    cell: &'static OnceLock<T>,
    load: impl AsyncFnOnce() -> Result<T, Error>,
) -> Result<&'static T, Error> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = load().await?;
    Ok(cell.get_or_init(|| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_begins_with_settings() {
        let options = "options=-c%20statement_timeout%3D4000%20-c%20idle_in_transaction_session_timeout%3D4000\
                       %20-c%20idle_session_timeout%3D10000%20-c%20jit%3Doff";
        assert_eq!(with_settings("postgres://u:p@h:1/d"), format!("postgres://u:p@h:1/d?{options}"));
        let secured = "postgres://u:p@h:1/d?sslmode=require";
        assert_eq!(with_settings(secured), format!("{secured}&{options}"));
        let own = "postgres://u:p@h:1/d?options=-c%20statement_timeout%3D100";
        assert_eq!(with_settings(own), own);
        let no_url = "host=h user=u";
        assert_eq!(with_settings(no_url), no_url);
    }
}
