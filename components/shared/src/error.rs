//! The one error type of the API, and the contract's JSON for it.

use http::StatusCode;
use serde::Serialize;

/// Why a request fails. `Display` is for the log and may name internals; what a client sees is [`Error::body`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller did not prove who they are.
    #[error("{}", .0.reason)]
    Authentication(Unauthenticated),
    /// The caller is known, and may not do this.
    #[error("access denied: {0}")]
    Authorization(&'static str),
    /// What was sent breaks a rule; one detail per broken rule.
    #[error("invalid input: {0:?}")]
    Validation(Vec<Detail>),
    /// There is no such task.
    #[error("task not found")]
    TaskNotFound,
    /// There is nothing at this path.
    #[error("not found")]
    NotFound,
    /// The path exists, but not with this method.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The body is larger than [`crate::http::MAX_BODY_BYTES`].
    #[error("payload too large")]
    PayloadTooLarge,
    /// The user has as many tasks as the installation allows.
    #[error("the user has as many tasks as the variable max_tasks_per_user allows")]
    TaskLimitReached,
    /// The database can't be reached.
    #[error("database unavailable: {0}")]
    DatabaseUnavailable(String),
    /// Variables that can't be used as they are.
    #[error("{}", list(.0))]
    Configuration(Vec<BrokenVariable>),
    /// Our fault or the installation's.
    #[error("{0}")]
    Internal(String),
}

/// Why nobody knows who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthenticated {
    /// For the client.
    message: &'static str,
    /// For the log. It quotes nothing of the token.
    reason: &'static str,
    /// Whether the request had a token.
    sent: bool,
}

/// A variable of `spin.toml` with a value that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the variable {name} {error}")]
pub struct BrokenVariable {
    /// The variable's name.
    pub name: &'static str,
    /// What is wrong with its value, which is not quoted where it may be a secret.
    pub error: String,
}

fn list(broken: &[BrokenVariable]) -> String {
    broken.iter().map(BrokenVariable::to_string).collect::<Vec<_>>().join("; ")
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// The field of the body, the path or the query.
    pub field: &'static str,
    /// What is wrong with it, for a person.
    pub message: &'static str,
}

/// The body of every error response (docs/contract.md, "Errors").
#[derive(Debug, Serialize)]
pub struct ErrorBody {
    error: ErrorContent,
}

#[derive(Debug, Serialize)]
struct ErrorContent {
    code: &'static str,
    message: &'static str,
    details: Vec<Detail>,
}

impl Error {
    /// No token was sent.
    pub const NOT_AUTHENTICATED: Error =
        unauthenticated("Not authenticated", "the request has no token", false);
    /// An internal route was called with a token that is not the app's own.
    pub const NOT_INTERNAL: Error =
        unauthenticated("Not authenticated", "the token is not app_api_token", true);
    /// The token is genuine but its `sub` is not a user id.
    pub const INVALID_TOKEN_PAYLOAD: Error =
        unauthenticated("Invalid token payload", "the token's sub is not a UUID", true);
    /// The installation has a `users` table, and the caller is not in it.
    pub const USER_NOT_FOUND: Error =
        unauthenticated("User not found", "the token's sub is not in the table users", true);

    /// The token's signature, expiry, algorithm or form is wrong; `reason` says how, for the log.
    pub const fn invalid_token(reason: &'static str) -> Error {
        unauthenticated("Invalid or expired token", reason, true)
    }

    /// One broken rule.
    pub fn invalid(field: &'static str, message: &'static str) -> Error {
        Error::Validation(vec![Detail { field, message }])
    }

    /// The status, `error.code` and `error.message` that the contract gives this error.
    fn public(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Error::Authentication(Unauthenticated { message, .. }) => {
                (StatusCode::UNAUTHORIZED, "AUTHENTICATION_ERROR", message)
            }
            Error::Authorization(_) => (StatusCode::FORBIDDEN, "AUTHORIZATION_ERROR", "Access denied"),
            Error::Validation(_) => (StatusCode::BAD_REQUEST, "VALIDATION_ERROR", "Invalid input data"),
            Error::TaskNotFound => (StatusCode::NOT_FOUND, "NOT_FOUND", "Task not found"),
            Error::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND", "Not found"),
            Error::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "Method not allowed")
            }
            Error::PayloadTooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "Request body exceeds 64 KiB")
            }
            Error::TaskLimitReached => {
                (StatusCode::CONFLICT, "TASK_LIMIT_REACHED", "There are too many tasks. Delete some first.")
            }
            Error::DatabaseUnavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "SERVICE_UNAVAILABLE",
                "Database temporarily unavailable. Please try again.",
            ),
            Error::Configuration(_) | Error::Internal(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "An unexpected error occurred.")
            }
        }
    }

    /// The response's status.
    pub fn status(&self) -> StatusCode {
        self.public().0
    }

    /// `WWW-Authenticate` of the response, for a caller who is not known. Only where a token was
    /// sent does it name an error (RFC 6750 §3).
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Error::Authentication(Unauthenticated { sent: true, .. }) => {
                Some(r#"Bearer error="invalid_token""#)
            }
            Error::Authentication(_) => Some("Bearer"),
            _ => None,
        }
    }

    /// The response's body.
    pub fn body(&self) -> ErrorBody {
        let (_, code, message) = self.public();
        let details = match self {
            Error::Validation(details) => details.clone(),
            _ => Vec::new(),
        };
        ErrorBody { error: ErrorContent { code, message, details } }
    }
}

const fn unauthenticated(message: &'static str, reason: &'static str, sent: bool) -> Error {
    Error::Authentication(Unauthenticated { message, reason, sent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(error: &Error) -> String {
        serde_json::to_string(&error.body()).unwrap()
    }

    #[test]
    fn a_broken_rule_is_named_with_its_field() {
        let error = Error::invalid("title", "Title cannot be empty");
        assert_eq!(error.status(), 400);
        assert_eq!(
            json(&error),
            r#"{"error":{"code":"VALIDATION_ERROR","message":"Invalid input data","details":[{"field":"title","message":"Title cannot be empty"}]}}"#
        );
    }

    #[test]
    fn internal_text_never_reaches_a_client() {
        for error in
            [Error::Internal("secret".into()), Error::DatabaseUnavailable("secret".into()), broken("secret")]
        {
            assert!(error.status().is_server_error());
            assert!(!json(&error).contains("secret"));
            assert!(error.to_string().contains("secret"), "but it does reach the log");
        }
    }

    fn broken(error: &str) -> Error {
        Error::Configuration(vec![BrokenVariable { name: "jwks", error: error.into() }])
    }

    #[test]
    fn a_challenge_names_an_error_only_where_a_token_was_sent() {
        assert_eq!(Error::NOT_AUTHENTICATED.challenge(), Some("Bearer"));
        for error in [Error::invalid_token("why"), Error::INVALID_TOKEN_PAYLOAD, Error::NOT_INTERNAL] {
            assert_eq!(error.challenge(), Some(r#"Bearer error="invalid_token""#), "{error}");
        }
        assert_eq!(Error::Authorization("why").challenge(), None);
    }

    #[test]
    fn every_broken_variable_is_named() {
        let broken = ["jwks", "dapr_url"].map(|name| BrokenVariable { name, error: "is wrong".into() });
        let text = Error::Configuration(broken.into()).to_string();
        assert_eq!(text, "the variable jwks is wrong; the variable dapr_url is wrong");
    }

    /// What clients are told of each error: docs/errors.md.
    const PAGE: &str = include_str!("../../../docs/errors.md");

    /// Every error that there is.
    fn all() -> Vec<Error> {
        vec![
            Error::NOT_AUTHENTICATED,
            Error::NOT_INTERNAL,
            Error::invalid_token("why"),
            Error::INVALID_TOKEN_PAYLOAD,
            Error::USER_NOT_FOUND,
            Error::Authorization("why"),
            Error::invalid("title", "Title cannot be empty"),
            Error::TaskNotFound,
            Error::NotFound,
            Error::MethodNotAllowed,
            Error::PayloadTooLarge,
            Error::TaskLimitReached,
            Error::DatabaseUnavailable("why".into()),
            broken("why"),
            Error::Internal("why".into()),
        ]
    }

    #[test]
    fn every_error_is_in_the_list_of_all() {
        let source = include_str!("error.rs").split("#[cfg(test)]").next().unwrap();
        let variants =
            all().iter().map(std::mem::discriminant).collect::<std::collections::HashSet<_>>().len();
        assert_eq!(source.matches("    #[error(").count(), variants);
        let of_authentication =
            all().iter().filter(|error| matches!(error, Error::Authentication(_))).count();
        assert_eq!(source.matches("unauthenticated(\"").count(), of_authentication);
    }

    #[test]
    fn the_page_shows_the_body_and_the_status_of_every_error() {
        for error in all() {
            let (status, code, _) = error.public();
            assert!(PAGE.contains(&json(&error)), "docs/errors.md lacks {}", json(&error));
            let section = PAGE.split(&format!("\n## {code}\n\n")).nth(1);
            assert!(
                section.is_some_and(|text| text.starts_with(status.as_str())),
                "the section {code} says {status}"
            );
            let row = format!("| [{code}](#{}) | {} |", code.to_lowercase(), status.as_str());
            assert!(PAGE.contains(&row), "docs/errors.md lacks {row}");
        }
    }

    #[test]
    fn the_page_has_no_error_that_does_not_exist() {
        let bodies: Vec<String> = all().iter().map(json).collect();
        for body in PAGE.lines().filter(|line| line.starts_with("{\"error\"")) {
            assert!(bodies.iter().any(|ours| ours == body), "docs/errors.md has {body}");
        }
        let codes: Vec<&str> = all().iter().map(|error| error.public().1).collect();
        let is_code = |heading: &&str| heading.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        for code in PAGE.lines().filter_map(|line| line.strip_prefix("## ")).filter(is_code) {
            assert!(codes.contains(&code), "docs/errors.md has {code}");
        }
    }
}
