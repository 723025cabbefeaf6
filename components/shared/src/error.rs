//! The one error type of the API, and the contract's JSON for it.

use http::StatusCode;
use serde::Serialize;

/// Why a request fails. `Display` is for the log and may name internals; what a client sees is [`Error::body`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller did not prove who they are.
    #[error("{0}")]
    Authentication(&'static str),
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
    /// The database can't be reached.
    #[error("database unavailable: {0}")]
    DatabaseUnavailable(String),
    /// Our fault or the installation's.
    #[error("{0}")]
    Internal(String),
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
    pub const NOT_AUTHENTICATED: Error = Error::Authentication("Not authenticated");
    /// The token's signature, expiry, algorithm or form is wrong.
    pub const INVALID_TOKEN: Error = Error::Authentication("Invalid or expired token");
    /// The token is genuine but its `sub` is not a user id.
    pub const INVALID_TOKEN_PAYLOAD: Error = Error::Authentication("Invalid token payload");
    /// The installation has a `users` table, and the caller is not in it.
    pub const USER_NOT_FOUND: Error = Error::Authentication("User not found");

    /// One broken rule.
    pub fn invalid(field: &'static str, message: &'static str) -> Error {
        Error::Validation(vec![Detail { field, message }])
    }

    /// The status, `error.code` and `error.message` that the contract gives this error.
    fn public(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Error::Authentication(message) => (StatusCode::UNAUTHORIZED, "AUTHENTICATION_ERROR", message),
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
            Error::DatabaseUnavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "SERVICE_UNAVAILABLE",
                "Database temporarily unavailable. Please try again.",
            ),
            Error::Internal(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "An unexpected error occurred.")
            }
        }
    }

    /// The response's status.
    pub fn status(&self) -> StatusCode {
        self.public().0
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
        for error in [Error::Internal("secret".into()), Error::DatabaseUnavailable("secret".into())] {
            assert!(error.status().is_server_error());
            assert!(!json(&error).contains("secret"));
            assert!(error.to_string().contains("secret"), "but it does reach the log");
        }
    }
}
