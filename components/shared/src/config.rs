//! The variables of `spin.toml`, read once per instance: they can't change while the application runs.

use std::sync::OnceLock;
use std::time::Duration;

use serde_json::json;
use spin_sdk::variables;

use crate::auth::{Expected, Verifier};
use crate::dapr::Sidecar;
use crate::error::Error;
use crate::log::{self, Level};
use crate::trace::Trace;

/// How long the server may work on a statement, waiting for locks included, before it cancels it; and how long it lets a transaction
/// of ours stand open, of which there are none.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the server lets a session of ours be idle before it ends it. Spin's pools never close a connection: a component that
/// was busy once would keep its connections from the others.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

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

/// What checks the tokens of callers.
pub async fn verifier() -> Result<&'static Verifier, Error> {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    once(&VERIFIER, async || {
        let (secret, previous) = (get("jwt_secret").await?, get("jwt_secret_previous").await?);
        let (issuer, audience) = (get("jwt_issuer").await?, get("jwt_audience").await?);
        let secrets = [("jwt_secret", secret.as_str()), ("jwt_secret_previous", previous.as_str())];
        let expected = Expected { issuer: &issuer, audience: &audience };
        Verifier::new(&secrets, &get("jwks").await?, expected)
    })
    .await
}

/// The origins that browsers may call from, besides the API's own.
pub async fn cors_origins() -> Result<&'static [String], Error> {
    static ORIGINS: OnceLock<Vec<String>> = OnceLock::new();
    once(&ORIGINS, async || Ok(list(&get("cors_origins").await?))).await.map(Vec::as_slice)
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
    once(&MOST, async || limit("max_tasks_per_user", &get("max_tasks_per_user").await?)).await.copied()
}

/// What the CloudEvents `source` starts with.
pub async fn event_source() -> Result<&'static str, Error> {
    static SOURCE: OnceLock<String> = OnceLock::new();
    once(&SOURCE, async || get("event_source").await).await.map(String::as_str)
}

/// The Dapr sidecar, for publishing.
pub async fn sidecar() -> Result<&'static Sidecar, Error> {
    static SIDECAR: OnceLock<Sidecar> = OnceLock::new();
    once(&SIDECAR, async || {
        let timeout = milliseconds("publish_timeout_ms", &get("publish_timeout_ms").await?)?;
        let (url, token) = sidecar_address().await?;
        Ok(Sidecar::new(url, token, &get("pubsub_name").await?, timeout))
    })
    .await
}

/// The sidecar's URL without a trailing slash, and its API token, which is empty when it asks for none.
pub async fn sidecar_address() -> Result<(String, String), Error> {
    Ok((get("dapr_url").await?.trim_end_matches('/').to_owned(), get("dapr_api_token").await?))
}

async fn get(name: &str) -> Result<String, Error> {
    variables::get(name).await.map_err(|error| Error::Internal(format!("variable {name}: {error}")))
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

/// Splits at commas and white space; a trailing slash is not part of an origin (RFC 6454 §6.2).
fn list(origins: &str) -> Vec<String> {
    let separated = origins.split(|character: char| character == ',' || character.is_whitespace());
    separated
        .filter(|origin| !origin.is_empty())
        .map(|origin| origin.trim_end_matches('/').to_owned())
        .collect()
}

/// The longest time-out for a publish. It bounds the lease, and so how long a crash delays a user's events.
const MAX_TIMEOUT_MS: u64 = 60_000;

fn milliseconds(name: &str, value: &str) -> Result<Duration, Error> {
    match value.trim().parse() {
        Ok(milliseconds @ 1..=MAX_TIMEOUT_MS) => Ok(Duration::from_millis(milliseconds)),
        _ => Err(Error::Internal(format!(
            "variable {name} is {value:?}: it needs a whole number of milliseconds, 1 to {MAX_TIMEOUT_MS}"
        ))),
    }
}

fn limit(name: &str, value: &str) -> Result<Option<u32>, Error> {
    match value.trim().parse() {
        Ok(0) => Ok(None),
        Ok(limit) => Ok(Some(limit)),
        Err(_) => Err(Error::Internal(format!(
            "variable {name} is {value:?}: it needs a whole number, 0 for no limit"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_0_is_none() {
        assert_eq!(limit("l", "0").unwrap(), None);
        assert_eq!(limit("l", " 1000 ").unwrap(), Some(1000));
        for bad in ["", "-1", "many", "1e3", "4294967296"] {
            assert!(limit("l", bad).unwrap_err().to_string().contains("variable l is"), "{bad}");
        }
    }

    #[test]
    fn origins_are_a_list() {
        assert_eq!(
            list(" https://a.example, http://localhost:5173/ "),
            ["https://a.example", "http://localhost:5173"]
        );
        assert!(list("").is_empty());
    }

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

    #[test]
    fn a_time_out_is_a_whole_number_of_milliseconds() {
        assert_eq!(milliseconds("t", "2000").unwrap(), Duration::from_secs(2));
        for bad in ["", "2s", "0", "-1", "60001"] {
            assert!(milliseconds("t", bad).is_err(), "{bad}");
        }
    }
}
