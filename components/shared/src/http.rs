//! From a request to a route, and back: methods, CORS, bodies, errors, correlation ids.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
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

/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";

/// The headers that a page of another origin may send.
const ALLOWED_HEADERS: &str = "authorization, content-type, x-correlation-id, traceparent, tracestate";

/// A request that a route answers.
pub struct Call {
    head: Parts,
    body: Option<IncomingRequestBody>,
    trace: Trace,
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

/// The same for a route that never changes anything: its component carries neither the outbox nor the database.
pub async fn serve_without_outbox(
    request: Request,
    methods: &'static [Method],
    route: impl AsyncFnOnce(&mut Call) -> Result<Reply, Error>,
) -> Result<WasiResponse, ErrorCode> {
    respond(request, methods, route).await.0
}

/// The response, and whose changes are to be delivered after it.
async fn respond(
    request: Request,
    methods: &'static [Method],
    route: impl AsyncFnOnce(&mut Call) -> Result<Reply, Error>,
) -> (Result<WasiResponse, ErrorCode>, Option<Uuid>) {
    let (head, body) = request.into_parts();
    let mut call = Call { trace: Trace::of(&head.headers), head, body: Some(body) };
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

    /// 201 with JSON.
    pub fn created(body: &impl Serialize) -> Result<Reply, Error> {
        Reply::json(StatusCode::CREATED, body)
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
    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.head.method
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
        let user = config::verifier().await?.user(token)?;
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
        if expected.is_empty() {
            let hint = "set the variable app_api_token to the APP_API_TOKEN of the sidecar";
            self.log(Level::Error, "internal routes are closed", json!({"error": hint}));
        } else {
            let sent = auth::internal_token(&self.head.headers).is_some();
            let error = if sent { "another token than app_api_token" } else { "no token" };
            self.log(Level::Warn, "internal call refused", json!({"error": error}));
        }
        Err(Error::NOT_AUTHENTICATED)
    }

    /// A browser says where a mutation comes from, in `Origin`, and old ones in `Referer`. Who says neither is no browser.
    fn may_use_cookie(&self, allowed: &[String]) -> bool {
        let may = |origin: &str| is_allowed(origin, allowed) || self.is_own(origin);
        let headers = &self.head.headers;
        let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
        if origins.peek().is_some() {
            return origins.all(|origin| origin.to_str().is_ok_and(may));
        }
        let mut referers = headers.get_all(header::REFERER).iter();
        referers.all(|referer| referer.to_str().ok().and_then(origin_of).is_some_and(|origin| may(&origin)))
    }

    /// Whether a page is of the host that the request is for. By which of the two schemes it came is not known behind a gateway.
    fn is_own(&self, origin: &str) -> bool {
        let host = self.head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = self.head.uri.authority().map(|authority| authority.as_str()).or(host);
        let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), host) else { return false };
        let default_port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return false,
        };
        authority.eq_ignore_ascii_case(host.strip_suffix(default_port).unwrap_or(host))
    }

    /// The id in the path `/api/v1/tasks/{id}…`. Not from Spin's header for it, which a client can send, too.
    pub fn task_id(&self) -> Result<Uuid, Error> {
        id_in(self.path()).ok_or(Error::invalid("id", "Id must be a UUID"))
    }

    /// A parameter of the query that may be `true` or `false`.
    pub fn query_bool(&self, name: &'static str) -> Result<Option<bool>, Error> {
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
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED || self.head.method == Method::OPTIONS {
            insert(headers, header::ALLOW, &method_list(methods));
        }
        self.add_cors(headers, methods).await;
        let (head, ()) = response.into_parts();
        let response = match body {
            Body::Whole(body) => http::Response::from_parts(head, FullBody::new(body)).into_response(),
            Body::InPieces(pieces) => pieces.response(head),
        };
        (status, response)
    }

    fn refusal(&self, error: &Error) -> Reply {
        if error.status().is_server_error() {
            let fields = json!({
                "method": self.head.method.as_str(),
                "path": self.head.uri.path(),
                "status": error.status().as_u16(),
                "error": error.to_string(),
            });
            self.log(Level::Error, "request failed", fields);
        }
        let body = serde_json::to_vec(&error.body()).unwrap_or_default();
        Reply::new(error.status(), content_type(JSON), body.into())
    }

    fn log_answer(&self, status: StatusCode, duration: Duration) {
        let fields = json!({
            "method": self.head.method.as_str(),
            "route": route(self.head.uri.path()),
            "status": status.as_u16(),
            "duration_ms": log::milliseconds(duration),
        });
        self.log(Level::Debug, "request answered", fields);
    }

    /// Lets pages of the allowed origins read the response, and send the request that a preflight asks for.
    async fn add_cors(&self, headers: &mut HeaderMap, methods: &[Method]) {
        let allowed = config::cors_origins().await.unwrap_or_default();
        if allowed.is_empty() {
            return;
        }
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        let Some(origin) = self.head.headers.get(header::ORIGIN) else { return };
        if !origin.to_str().is_ok_and(|origin| is_allowed(origin, allowed)) {
            return;
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(CORRELATION_HEADER));
        if self.head.method == Method::OPTIONS {
            insert(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &method_list(methods));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE));
        }
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

/// The origin of the page at this address (RFC 6454 §4).
fn origin_of(address: &str) -> Option<String> {
    let address: Uri = address.parse().ok()?;
    Some(format!("{}://{}", address.scheme_str()?, address.authority()?))
}

fn is_allowed(origin: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

fn method_list(methods: &[Method]) -> String {
    let names: Vec<Cow<'_, str>> =
        methods.iter().chain([&Method::OPTIONS]).map(|m| m.as_str().into()).collect();
    names.join(", ")
}

/// Inserts a value that is known to be a valid one; were it not, the response would do without the header.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
