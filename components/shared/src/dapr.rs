//! The Dapr sidecar: publishing one event or many, with an outcome for each.

use std::time::Duration;

use http::{Request, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use spin_sdk::http::{EmptyBody, Response};
use spin_sdk::wasip3::http::types::RequestOptions;
use spin_sdk::wasip3::http_compat::RequestOptionsExtension;

use crate::event::{Envelope, Topic};
use crate::http::read_body;
use crate::limit::within;
use crate::trace::Trace;

mod send;

/// The media type of a CloudEvent in structured mode.
const CLOUD_EVENT: &str = "application/cloudevents+json";

/// More of an answer is not read, in bytes: it may name each event of a bulk call.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How much of an answer's message is told.
const MAX_MESSAGE_CHARACTERS: usize = 1_000;

/// How long the sidecar may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// The sidecar, for publishing to one pub/sub component.
pub struct Sidecar {
    url: String,
    token: String,
    pubsub: String,
    timeout: Duration,
}

/// An event with the key that keeps its user's events in one partition.
pub struct Message<'a> {
    /// The record key at the broker.
    pub partition_key: String,
    /// What is sent.
    pub envelope: &'a Envelope,
    /// The trace that the sidecar's own span belongs to.
    pub trace: &'a Trace,
}

/// Why an event was not published, in words for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may be accepted later: nobody answered, or an operator has something to mend.
    Retry(String),
    /// It will never be accepted as it is.
    Reject(String),
}

#[derive(Serialize)]
struct BulkEntry<'a> {
    #[serde(rename = "entryId")]
    entry_id: &'a str,
    event: &'a RawValue,
    #[serde(rename = "contentType")]
    content_type: &'static str,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(rename = "partitionKey")]
    partition_key: &'a str,
}

/// Statuses that say that the request itself is wrong. Not among them: 401, 403 and 404, which a mended configuration
/// turns into success.
const PERMANENT: [u16; 4] = [400, 413, 415, 422];

#[derive(Clone, Default, Deserialize)]
struct Refusal {
    #[serde(skip)]
    status: u16,
    #[serde(rename = "errorCode", default)]
    error_code: String,
    #[serde(default)]
    message: String,
    #[serde(rename = "failedEntries", default)]
    failed_entries: Vec<FailedEntry>,
}

#[derive(Clone, Deserialize)]
struct FailedEntry {
    #[serde(rename = "entryId")]
    entry_id: String,
}

impl Sidecar {
    /// The sidecar at `url`; `token` may be empty; `timeout` bounds every publish as a whole.
    pub fn new(url: String, token: String, pubsub: &str, timeout: Duration) -> Sidecar {
        Sidecar { url, token, pubsub: pubsub.to_owned(), timeout }
    }

    /// The longest that [`Sidecar::publish`] can take: a bulk call, and then single calls side by side.
    pub fn longest_publish(&self) -> Duration {
        2 * self.timeout
    }

    /// Publishes events of different users, in one call. The result has one outcome per message, in their order.
    pub async fn publish(&self, topic: Topic, messages: &[Message<'_>]) -> Vec<Result<(), Failure>> {
        match messages {
            [] => Vec::new(),
            [message] => vec![self.publish_one(topic, message).await],
            messages => self.publish_many(topic, messages).await,
        }
    }

    /// Publishes one event.
    pub async fn publish_one(&self, topic: Topic, message: &Message<'_>) -> Result<(), Failure> {
        let Sidecar { url, pubsub, .. } = self;
        let (topic, key) = (topic.name(), &message.partition_key);
        let uri = format!("{url}/v1.0/publish/{pubsub}/{topic}?metadata.partitionKey={key}");
        let request = with_trace(Request::post(&uri), message.trace);
        self.post(request, CLOUD_EVENT, message.envelope.body.get().to_owned()).await.map_err(Failure::from)
    }

    /// One bulk call. Where it says that something is wrong with some of the events, each of those is sent once more by
    /// itself: a single call has an answer of its own, which says whether its event can ever be accepted.
    async fn publish_many(&self, topic: Topic, messages: &[Message<'_>]) -> Vec<Result<(), Failure>> {
        let refusal = match self.post_bulk(topic, messages).await {
            Ok(()) => return messages.iter().map(|_| Ok(())).collect(),
            Err(refusal) => refusal,
        };
        if !refusal.is_about(messages) {
            return messages.iter().map(|_| Err(refusal.clone().into())).collect();
        }
        let outcomes = messages.iter().map(async |message| match refusal.names(message) {
            true => self.publish_one(topic, message).await,
            // A bulk call that fails has published the events that it does not name.
            false => Ok(()),
        });
        futures::future::join_all(outcomes).await
    }

    async fn post_bulk(&self, topic: Topic, messages: &[Message<'_>]) -> Result<(), Refusal> {
        let uri = format!("{}/v1.0/publish/bulk/{}/{}", self.url, self.pubsub, topic.name());
        let body = bulk_body(messages).map_err(Refusal::because)?;
        // In no trace: its events belong to many, and each carries its own.
        self.post(Request::post(&uri), "application/json", body).await
    }

    async fn post(
        &self,
        request: http::request::Builder,
        content_type: &'static str,
        body: String,
    ) -> Result<(), Refusal> {
        let request =
            request.header(header::CONTENT_TYPE, content_type).header(header::CONTENT_LENGTH, body.len());
        let request = with_token(request, &self.token)
            .extension(options(self.timeout))
            .body(body)
            .map_err(Refusal::because)?;
        within(self.timeout, answer(request)).await.unwrap_or_else(|| {
            Err(Refusal::because(format!("no answer within {} ms", self.timeout.as_millis())))
        })
    }
}

/// Sends a publish and reads its answer. Dapr says 204 for success, and nothing else does.
async fn answer(request: Request<String>) -> Result<(), Refusal> {
    let response = send::send(request).await.map_err(Refusal::because)?;
    match response.status() {
        StatusCode::NO_CONTENT => Ok(()),
        _ => Err(Refusal::read(response).await),
    }
}

/// Whether the sidecar at `url` is there and could publish.
pub async fn ready(url: &str, token: &str) -> bool {
    let request = Request::get(format!("{url}/v1.0/healthz/outbound"));
    let request = with_token(request, token).extension(options(READY_TIMEOUT)).body(EmptyBody::new());
    let Ok(request) = request else { return false };
    let answer = within(READY_TIMEOUT, spin_sdk::http::send(request)).await;
    matches!(answer, Some(Ok(response)) if response.status() == StatusCode::NO_CONTENT)
}

fn with_token(request: http::request::Builder, token: &str) -> http::request::Builder {
    if token.is_empty() { request } else { request.header("dapr-api-token", token) }
}

/// Adds the trace: the sidecar's span becomes a child of the caller's.
fn with_trace(request: http::request::Builder, trace: &Trace) -> http::request::Builder {
    let request = request.header("traceparent", &trace.traceparent);
    trace.tracestate.iter().fold(request, |request, tracestate| request.header("tracestate", tracestate))
}

/// Makes the host give up, too: without options it waits for 600 s.
fn options(timeout: Duration) -> RequestOptionsExtension {
    let options = RequestOptions::new();
    let nanoseconds = u64::try_from(timeout.as_nanos()).ok();
    // A host may refuse an option; `within` bounds the call all the same.
    _ = options.set_connect_timeout(nanoseconds);
    _ = options.set_first_byte_timeout(nanoseconds);
    _ = options.set_between_bytes_timeout(nanoseconds);
    RequestOptionsExtension(options)
}

fn bulk_body(messages: &[Message<'_>]) -> serde_json::Result<String> {
    let entries: Vec<_> = messages.iter().map(BulkEntry::new).collect();
    serde_json::to_string(&entries)
}

impl<'a> BulkEntry<'a> {
    fn new(message: &'a Message<'_>) -> BulkEntry<'a> {
        BulkEntry {
            entry_id: &message.envelope.id,
            event: &message.envelope.body,
            content_type: CLOUD_EVENT,
            metadata: Metadata { partition_key: &message.partition_key },
        }
    }
}

impl Refusal {
    fn because(error: impl ToString) -> Refusal {
        Refusal { message: error.to_string(), ..Refusal::default() }
    }

    /// Takes from the answer only what Dapr's own errors carry: whatever else it says may quote the event. Of that, so much that it can be
    /// logged and stored: PostgreSQL has no text with U+0000.
    async fn read(response: Response) -> Refusal {
        let status = response.status();
        let body = read_body(response.into_body(), MAX_ANSWER_BYTES).await.unwrap_or_default();
        let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        let message = format!("status {} {} {}", status.as_u16(), refusal.error_code, refusal.message);
        let message =
            message.trim_end().replace('\0', "\u{fffd}").chars().take(MAX_MESSAGE_CHARACTERS).collect();
        Refusal { status: status.as_u16(), message, ..refusal }
    }

    fn is_permanent(&self) -> bool {
        PERMANENT.contains(&self.status)
    }

    /// Whether the answer to a bulk call is about the events and not about the way to the broker, which all share.
    fn is_about(&self, messages: &[Message<'_>]) -> bool {
        self.is_permanent() || (1..messages.len()).contains(&self.failed_entries.len())
    }

    /// Whether the answer to a bulk call says that this event failed.
    fn names(&self, message: &Message<'_>) -> bool {
        let failed = &self.failed_entries;
        failed.is_empty() || failed.iter().any(|failed| failed.entry_id == message.envelope.id)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        if refusal.is_permanent() {
            Failure::Reject(refusal.message)
        } else {
            Failure::Retry(refusal.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;

    fn refusal(status: u16, failed: &[&str]) -> Refusal {
        let failed_entries = failed.iter().map(|id| FailedEntry { entry_id: (*id).to_owned() }).collect();
        Refusal { status, failed_entries, ..Refusal::default() }
    }

    fn envelope(id: &str) -> Envelope {
        let body = to_raw_value(&serde_json::json!({"id": id})).unwrap();
        Envelope { id: id.to_owned(), event_type: "task.created", body }
    }

    fn message<'a>(envelope: &'a Envelope, trace: &'a Trace) -> Message<'a> {
        Message { partition_key: "u".into(), envelope, trace }
    }

    fn no_trace() -> Trace {
        Trace::stored("c".into(), None, None, uuid::Uuid::nil(), 1)
    }

    #[test]
    fn what_an_operator_can_mend_is_tried_again() {
        for status in [0, 401, 403, 404, 408, 429, 500, 503] {
            assert!(matches!(refusal(status, &[]).into(), Failure::Retry(_)), "{status}");
        }
        for status in PERMANENT {
            assert!(matches!(refusal(status, &[]).into(), Failure::Reject(_)), "{status}");
        }
    }

    #[test]
    fn a_bulk_answer_is_about_events_when_it_names_some_of_them() {
        let envelopes = ["a", "b"].map(envelope);
        let trace = no_trace();
        let messages = envelopes.each_ref().map(|envelope| message(envelope, &trace));
        assert!(!refusal(500, &[]).is_about(&messages), "the broker is away");
        assert!(!refusal(500, &["a", "b"]).is_about(&messages), "likewise");
        let partial = refusal(500, &["b"]);
        assert!(partial.is_about(&messages));
        assert_eq!(messages.each_ref().map(|message| partial.names(message)), [false, true]);
        let malformed = refusal(400, &[]);
        assert!(malformed.is_about(&messages) && messages.iter().all(|message| malformed.names(message)));
    }

    #[test]
    fn a_bulk_entry_holds_the_bytes_of_the_single_call() {
        let envelope = envelope("a");
        let body = bulk_body(&[message(&envelope, &no_trace())]).unwrap();
        let expected = format!(
            r#"[{{"entryId":"a","event":{},"contentType":"{CLOUD_EVENT}","metadata":{{"partitionKey":"u"}}}}]"#,
            envelope.body
        );
        assert_eq!(body, expected);
    }
}
