//! From a request to a route, and back: methods, CORS, bodies, errors, correlation ids.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use serde::Serialize;
use serde_json::{Map, Value, json};
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{FullBody, IntoResponse, Request};
use spin_sdk::wasip3::http::types::{ErrorCode, Response as WasiResponse};
use spin_sdk::wasip3::http_compat::{IncomingBody, IncomingMessage, IncomingRequestBody};
use uuid::Uuid;

use crate::auth::{self, Token};
use crate::config;
use crate::delivery::Delivery;
use crate::error::Error;
use crate::limit::within;
use crate::log::{self, Level};
use crate::outbox;
use crate::trace::{CORRELATION_HEADER, Trace};
use crate::turns::Turn;

mod origins;
mod pieces;

use pieces::Pieces;

/// The longest body that is read.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// How long a body may take to arrive, as a whole: no host bounds it, and an instance answers 16 requests at a time, so that
/// bodies that never come would keep the room of requests that do. 64 KiB need less on any line, and a caller's own limit
/// is rarely below 10 s.
const BODY_TIMEOUT: Duration = Duration::from_secs(8);

/// What every body is, unless said otherwise.
const JSON: &str = "application/json";

/// A request that a route answers.
pub struct Call {
    head: Parts,
    body: Option<IncomingRequestBody>,
    trace: Trace,
    /// Whether `HEAD` was sent. To everything but the response's body and the log it is a `GET`.
    is_head: bool,
}

/// What a route answers.
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    /// Whose changes are delivered after the response.
    changed: Option<Uuid>,
}

enum Body {
    Whole(Bytes),
    InPieces(Pieces),
}

impl Body {
    fn length(&self) -> usize {
        match self {
            Body::Whole(body) => body.len(),
            Body::InPieces(pieces) => pieces.length(),
        }
    }
}

/// Answers a request by `route`, if its method is one of `methods`, and then drains the outbox if the reply asks for it.
/// `HEAD` is answered where `GET` is.
///
/// Errors become the contract's JSON, in this one place; those that are not the caller's fault are logged.
pub async fn serve(
    request: Request,
    methods: &'static [Method],
    route: impl AsyncFnOnce(&mut Call) -> Result<Reply, Error>,
) -> Result<WasiResponse, ErrorCode> {
    let (response, changed) = respond(request, methods, route).await;
    if let Some(user) = changed {
        // Last, because a task that is spawned before a later await would wait for the response.
        spin_sdk::wasip3::spawn(outbox::drain(user));
    }
    response
}

/// Answers a `GET` by `route`. The component of a route that only reads carries no outbox.
pub async fn serve_read_only(
    request: Request,
    route: impl AsyncFnOnce(&mut Call) -> Result<Reply, Error>,
) -> Result<WasiResponse, ErrorCode> {
    respond(request, &[Method::GET], route).await.0
}

/// The response, and whose changes are to be delivered after it.
async fn respond(
    request: Request,
    methods: &'static [Method],
    route: impl AsyncFnOnce(&mut Call) -> Result<Reply, Error>,
) -> (Result<WasiResponse, ErrorCode>, Option<Uuid>) {
    let (mut head, body) = request.into_parts();
    let is_head = head.method == Method::HEAD;
    if is_head {
        head.method = Method::GET;
    }
    let mut call = Call { trace: Trace::of(&head.headers), head, body: Some(body), is_head };
    config::set_log_level(&call.trace).await;
    // Asking for the time is a call to the host.
    let started = log::is_on(Level::Debug).then(Instant::now);
    let result = if call.head.method == Method::OPTIONS {
        Ok(Reply::new(StatusCode::OK, HeaderMap::new(), Bytes::new()))
    } else {
        call.answer(methods, route).await
    };
    let changed = result.as_ref().ok().and_then(|reply| reply.changed);
    let (status, response) = call.response(methods, result).await;
    if let Some(started) = started {
        call.log_answer(status, started.elapsed());
    }
    (response, changed)
}

impl Reply {
    /// 200 with JSON.
    pub fn ok(body: &impl Serialize) -> Result<Reply, Error> {
        Reply::json(StatusCode::OK, body)
    }

    /// 201 with JSON, about something that is now at that path.
    pub fn created(path: &str, body: &impl Serialize) -> Result<Reply, Error> {
        let mut reply = Reply::json(StatusCode::CREATED, body)?;
        insert(&mut reply.headers, header::LOCATION, path);
        Ok(reply)
    }

    /// Any status with JSON.
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Reply, Error> {
        let body =
            serde_json::to_vec(body).map_err(|error| Error::Internal(format!("writing JSON: {error}")))?;
        Ok(Reply::new(status, content_type(JSON), body.into()))
    }

    /// 200 with JSON that is written already, in pieces. The turn lasts until they are taken.
    pub fn in_pieces(pieces: Vec<String>, turn: Turn) -> Reply {
        let body = Body::InPieces(Pieces { pieces, turn });
        Reply { status: StatusCode::OK, headers: content_type(JSON), body, changed: None }
    }

    /// 200 with text of that media type.
    pub fn text(media_type: &'static str, text: String) -> Reply {
        Reply::new(StatusCode::OK, content_type(media_type), text.into())
    }

    /// 200 with a file that is a part of the component.
    pub fn file(media_type: &'static str, body: &'static [u8]) -> Reply {
        Reply::new(StatusCode::OK, content_type(media_type), Bytes::from_static(body))
    }

    /// With a header; its name is in lower case.
    pub fn with(mut self, name: &'static str, value: &'static str) -> Reply {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Reply {
        Reply { status, headers, body: Body::Whole(body), changed: None }
    }

    /// After the response, what was changed is delivered, unless another drain does it.
    pub fn then_deliver(self, delivery: Delivery) -> Reply {
        match delivery {
            Delivery::Own(user) => Reply { changed: Some(user), ..self },
            Delivery::Other => self,
        }
    }
}

impl Call {
    /// The request's method; `GET` for a `HEAD`.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// Whether the client takes a body in this coding of `Accept-Encoding` (RFC 9110 §12.5.3), and
    /// says so.
    pub fn accepts_encoding(&self, coding: &str) -> bool {
        let values = self.head.headers.get_all(header::ACCEPT_ENCODING).iter();
        is_accepted(values.filter_map(|value| value.to_str().ok()), coding)
    }

    /// The request's path.
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// What ties the call to its events.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Writes a line about this call to the log.
    pub fn log(&self, level: Level, message: &str, fields: Value) {
        log::write_about(&self.trace, level, message, fields);
    }

    /// The user who calls.
    ///
    /// Errors: `Authentication`; `Authorization` for a mutation that a page of a foreign origin made with a cookie.
    pub async fn user(&self) -> Result<Uuid, Error> {
        let token = auth::token(&self.head.headers)?;
        let user = config::verifier(&self.trace).await?.user(token)?;
        let mutates = self.head.method != Method::GET;
        if mutates && matches!(token, Token::Cookie(_)) && !self.may_use_cookie(config::cors_origins().await?)
        {
            return Err(Error::Authorization("a cookie came with a foreign origin"));
        }
        Ok(user)
    }

    /// Whether someone calls who has the app's own token: its sidecar, or who reads its metrics.
    ///
    /// Errors: `Authentication`, also when there is no token to compare with, except in development.
    pub async fn internal(&self) -> Result<(), Error> {
        let expected = config::app_api_token().await?;
        if auth::is_internal(&self.head.headers, expected)
            || (expected.is_empty() && config::development(&self.trace).await?)
        {
            return Ok(());
        }
        let sent = auth::internal_token(&self.head.headers).is_some();
        if expected.is_empty() {
            let hint = "set the variable app_api_token to the APP_API_TOKEN of the sidecar";
            self.log(Level::Error, "internal routes are closed", json!({"error": hint}));
        } else {
            let error = if sent { "another token than app_api_token" } else { "no token" };
            self.log(Level::Warn, "internal call refused", json!({"error": error}));
        }
        Err(if sent { Error::NOT_INTERNAL } else { Error::NOT_AUTHENTICATED })
    }

    /// The id in the path `/api/v1/tasks/{id}…`. Not from Spin's header for it, which a client can send, too.
    pub fn task_id(&self) -> Result<Uuid, Error> {
        id_in(self.path()).ok_or(Error::invalid("id", "Id must be a UUID"))
    }

    /// A parameter of the query that may be `true` or `false`, and may be there once.
    pub fn query_bool(&self, name: &'static str) -> Result<Option<bool>, Error> {
        let query = self.head.uri.query().unwrap_or_default();
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Error::invalid(name, "Must be there only once")),
            (None, _) => Ok(None),
            (Some("true"), _) => Ok(Some(true)),
            (Some("false"), _) => Ok(Some(false)),
            (Some(_), _) => Err(Error::invalid(name, "Must be true or false")),
        }
    }

    /// The body, which must be a JSON object.
    pub async fn json(&mut self) -> Result<Map<String, Value>, Error> {
        if !self.says_json() {
            return Err(Error::invalid("body", "Content-Type must be application/json"));
        }
        let body = self.body.take().ok_or_else(|| Error::Internal("the body was read twice".into()))?;
        let bytes = within(BODY_TIMEOUT, read_body(body, MAX_BODY_BYTES)).await;
        object(&bytes.ok_or(Error::invalid("body", "Body did not arrive in time"))??)
    }

    /// Whether the content type is `application/json`, or not said.
    fn says_json(&self) -> bool {
        let Some(content_type) = self.head.headers.get(header::CONTENT_TYPE) else { return true };
        let media_type = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case("application/json")
    }

    async fn answer(
        &mut self,
        methods: &'static [Method],
        route: impl AsyncFnOnce(&mut Call) -> Result<Reply, Error>,
    ) -> Result<Reply, Error> {
        #[cfg(feature = "faults")]
        crate::faults::inject(&self.head.headers);
        if !methods.contains(&self.head.method) {
            return Err(Error::MethodNotAllowed);
        }
        if content_length(&self.head.headers).is_some_and(|length| length > MAX_BODY_BYTES as u64) {
            return Err(Error::PayloadTooLarge);
        }
        route(self).await
    }

    /// The response with every header that the contract gives it.
    async fn response(
        &self,
        methods: &[Method],
        result: Result<Reply, Error>,
    ) -> (StatusCode, Result<WasiResponse, ErrorCode>) {
        let Reply { status, headers, body, .. } = result.unwrap_or_else(|error| self.refusal(&error));
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        let headers = response.headers_mut();
        // Without a content length, Spin's connections wait for a delayed acknowledgement: 44 ms.
        headers.insert(header::CONTENT_LENGTH, body.length().into());
        insert(headers, HeaderName::from_static(CORRELATION_HEADER), &self.trace.correlation_id);
        // A cache may keep what a cookie let through (RFC 9111 §3.5 is about `Authorization` alone).
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if status == StatusCode::METHOD_NOT_ALLOWED || self.head.method == Method::OPTIONS {
            insert(headers, header::ALLOW, &method_list(methods));
        }
        self.add_cors(headers, methods).await;
        let (head, ()) = response.into_parts();
        let response = match body {
            _ if self.is_head => pieces::without_body(head),
            Body::Whole(body) => http::Response::from_parts(head, FullBody::new(body)).into_response(),
            Body::InPieces(pieces) => pieces.response(head),
        };
        (status, response)
    }

    fn refusal(&self, error: &Error) -> Reply {
        if error.status().is_server_error() {
            let fields = json!({
                "method": self.sent_method(),
                "path": self.head.uri.path(),
                "status": error.status().as_u16(),
                "error": error.to_string(),
            });
            self.log(Level::Error, "request failed", fields);
        }
        let mut headers = content_type(JSON);
        if let Some(challenge) = error.challenge() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            let fields = json!({"route": route(self.head.uri.path()), "error": error.to_string()});
            self.log(Level::Debug, "caller unknown", fields);
        }
        let body = serde_json::to_vec(&error.body()).unwrap_or_default();
        Reply::new(error.status(), headers, body.into())
    }

    /// The method as it was sent.
    fn sent_method(&self) -> &str {
        if self.is_head { Method::HEAD.as_str() } else { self.head.method.as_str() }
    }

    fn log_answer(&self, status: StatusCode, duration: Duration) {
        let fields = json!({
            "method": self.sent_method(),
            "route": route(self.head.uri.path()),
            "status": status.as_u16(),
            "duration_ms": log::milliseconds(duration),
        });
        self.log(Level::Debug, "request answered", fields);
    }
}

/// The bytes of a body, or `PayloadTooLarge` as soon as there are more than `limit`.
pub async fn read_body<M: IncomingMessage>(body: IncomingBody<M>, limit: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut chunks = body.stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Error::invalid("body", "Body ended too early"))?;
        if bytes.len() + chunk.len() > limit {
            return Err(Error::PayloadTooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The JSON object that a body is.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Error> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::invalid("body", "Body must be a JSON object")),
        Err(_) => Err(Error::invalid("body", "Body must be valid JSON")),
    }
}

/// The id in the path `/api/v1/tasks/{id}…`, as it stands there: nothing is decoded.
pub fn id_in(path: &str) -> Option<Uuid> {
    Uuid::parse_str(path.split('/').nth(4)?).ok()
}

fn content_type(media_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(media_type))])
}

/// The path as the contract writes it: with `{id}` for the id of a task, and without a slash at the end.
pub fn route(path: &str) -> String {
    let segments = path.trim_end_matches('/').split('/').enumerate();
    let names: Vec<_> = segments.map(|(place, name)| if place == 4 { "{id}" } else { name }).collect();
    names.join("/")
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The methods of a route as headers have them, with those that every such route has.
fn method_list(methods: &[Method]) -> String {
    let mut names = Vec::new();
    for method in methods.iter().chain([&Method::OPTIONS]) {
        names.push(method.as_str());
        if method == Method::GET {
            names.push(Method::HEAD.as_str());
        }
    }
    names.join(", ")
}

/// Whether one of these lists names the coding, or `*` for those that they don't name, and not with
/// a weight of 0.
fn is_accepted<'a>(lists: impl Iterator<Item = &'a str>, coding: &str) -> bool {
    let members: Vec<_> = lists.flat_map(|list| list.split(',')).map(weighted).collect();
    let weight =
        |name: &str| members.iter().find(|member| member.0.eq_ignore_ascii_case(name)).map(|member| member.1);
    weight(coding).or_else(|| weight("*")).unwrap_or(false)
}

/// The name of a list's member, and whether its weight is more than 0.
fn weighted(member: &str) -> (&str, bool) {
    let (name, parameters) = member.split_once(';').unwrap_or((member, ""));
    let weight =
        parameters.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
    let is_zero = weight.is_some_and(|weight| weight.trim().parse() == Ok(0.0));
    (name.trim(), !is_zero)
}

/// Inserts a value that is known to be a valid one; were it not, the response would do without the header.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_is_listed_where_get_is() {
        assert_eq!(method_list(&[Method::GET, Method::POST]), "GET, HEAD, POST, OPTIONS");
        assert_eq!(method_list(&[Method::POST]), "POST, OPTIONS");
    }

    #[test]
    fn a_coding_is_accepted_if_it_or_any_is_named_with_some_weight() {
        let gzip = |lists: &[&str]| is_accepted(lists.iter().copied(), "gzip");
        for accepted in
            ["gzip", "GZIP", "br, gzip;q=0.5", "*", "gzip ; q=1", "identity;q=0, *;q=0.1", "gzip, *;q=0"]
        {
            assert!(gzip(&[accepted]), "{accepted}");
        }
        for refused in ["", "identity", "br", "gzip;q=0", "gzip; Q = 0.000", "*;q=0", "gzip;q=0, *", "x-gzip"]
        {
            assert!(!gzip(&[refused]), "{refused}");
        }
        assert!(gzip(&["br", "gzip"]) && !gzip(&[]));
    }
}
