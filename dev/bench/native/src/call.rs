//! From a request to a route, and back: as `shared::http` does it, without CORS.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::auth::{self, Verifier};
use shared::error::Error;
use shared::http::MAX_BODY_BYTES;
use shared::log::{self, Level};
use shared::trace::{CORRELATION_HEADER, Trace};
use uuid::Uuid;

/// A request that a route answers, without its body: that can be used by one thread only, and routes wait for the
/// database on any.
pub(crate) struct Call {
    head: Parts,
    trace: Trace,
}

/// What a route answers.
pub(crate) struct Reply {
    status: StatusCode,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn ok(body: &impl Serialize) -> Result<Reply, Error> {
        Reply::json(StatusCode::OK, body)
    }

    pub(crate) fn created(body: &impl Serialize) -> Result<Reply, Error> {
        Reply::json(StatusCode::CREATED, body)
    }

    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Result<Reply, Error> {
        let body =
            serde_json::to_vec(body).map_err(|error| Error::Internal(format!("writing JSON: {error}")))?;
        Ok(Reply { status, body })
    }

    pub(crate) fn empty() -> Reply {
        Reply { status: StatusCode::OK, body: Vec::new() }
    }
}

impl Call {
    pub(crate) fn new(request: Request) -> (Call, Body) {
        let (head, body) = request.into_parts();
        (Call { trace: Trace::of(&head.headers), head }, body)
    }

    pub(crate) fn method(&self) -> &Method {
        &self.head.method
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(crate) fn user(&self, verifier: &Verifier) -> Result<Uuid, Error> {
        verifier.user(auth::token(&self.head.headers)?)
    }

    /// The id in the path `/api/v1/tasks/{id}…`.
    pub(crate) fn task_id(&self) -> Result<Uuid, Error> {
        let id = self.head.uri.path().split('/').nth(4);
        id.and_then(|id| Uuid::parse_str(id).ok()).ok_or(Error::invalid("id", "Id must be a UUID"))
    }

    /// A parameter of the query that may be `true` or `false`.
    pub(crate) fn query_bool(&self, name: &'static str) -> Result<Option<bool>, Error> {
        let query = self.head.uri.query().unwrap_or_default();
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        match pairs.find(|(key, _)| *key == name) {
            None => Ok(None),
            Some((_, "true")) => Ok(Some(true)),
            Some((_, "false")) => Ok(Some(false)),
            Some(_) => Err(Error::invalid(name, "Must be true or false")),
        }
    }

    /// The body, which must be a JSON object.
    pub(crate) async fn json(&self, body: Body) -> Result<Map<String, Value>, Error> {
        if !says_json(&self.head.headers) {
            return Err(Error::invalid("body", "Content-Type must be application/json"));
        }
        let body = Limited::new(body, MAX_BODY_BYTES);
        let bytes = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(Error::PayloadTooLarge),
            Err(_) => return Err(Error::invalid("body", "Body ended too early")),
        };
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Error::invalid("body", "Body must be a JSON object")),
            Err(_) => Err(Error::invalid("body", "Body must be valid JSON")),
        }
    }

    /// Whether the content length alone says that the body is too long.
    pub(crate) fn is_too_large(&self) -> bool {
        let length = self.head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        length
            .and_then(|length| length.parse().ok())
            .is_some_and(|length: u64| length > MAX_BODY_BYTES as u64)
    }

    /// The response with every header that the contract gives it.
    pub(crate) fn response(&self, methods: &[Method], result: Result<Reply, Error>) -> Response {
        let reply = result.unwrap_or_else(|error| self.refusal(&error));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        if !reply.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.insert(header::CONTENT_LENGTH, reply.body.len().into());
        if let Ok(id) = HeaderValue::from_str(&self.trace.correlation_id) {
            headers.insert(CORRELATION_HEADER, id);
        }
        if reply.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if reply.status == StatusCode::METHOD_NOT_ALLOWED || self.head.method == Method::OPTIONS {
            headers.extend(allow(methods).map(|methods| (header::ALLOW, methods)));
        }
        *response.body_mut() = Body::from(reply.body);
        response
    }

    /// The contract's JSON for an error; one that is not the caller's fault is logged.
    fn refusal(&self, error: &Error) -> Reply {
        if error.status().is_server_error() {
            let fields = json!({
                "method": self.head.method.as_str(),
                "path": self.head.uri.path(),
                "status": error.status().as_u16(),
                "correlation_id": self.trace.correlation_id,
                "error": error.to_string(),
            });
            log::write(Level::Error, "request failed", fields);
        }
        let body = serde_json::to_vec(&error.body()).unwrap_or_default();
        Reply { status: error.status(), body }
    }
}

/// Whether the content type is `application/json`, or not said.
fn says_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return true };
    let media_type = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
}

fn allow(methods: &[Method]) -> Option<HeaderValue> {
    let names: Vec<_> = methods.iter().chain([&Method::OPTIONS]).map(Method::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).ok()
}
