//! The Dapr sidecar: publishing one event or many, with an outcome for each.

use std::time::Duration;

use http::{Request, StatusCode, header};
use serde::Serialize;
use serde_json::value::RawValue;
use spin_sdk::http::EmptyBody;
use spin_sdk::wasip3::http::types::RequestOptions;
use spin_sdk::wasip3::http_compat::RequestOptionsExtension;

use crate::event::{Envelope, Topic};
use crate::limit::within;
use crate::trace::Trace;

mod refusal;
mod send;

use refusal::Refusal;

/// The media type of a CloudEvent in structured mode.
const CLOUD_EVENT: &str = "application/cloudevents+json";

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

impl Message<'_> {
    fn id(&self) -> &str {
        &self.envelope.id
    }
}

/// Why an event was not published, in words for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The event may be accepted later: the sidecar did not answer, or an operator has something to mend.
    Retry(String),
    /// Dapr cannot publish this event as it is.
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

    /// Publishes events in one bulk call. Where its answer blames some of them, each of these is published once more alone.
    async fn publish_many(&self, topic: Topic, messages: &[Message<'_>]) -> Vec<Result<(), Failure>> {
        let refusal = match self.post_bulk(topic, messages).await {
            Ok(()) => return messages.iter().map(|_| Ok(())).collect(),
            Err(refusal) => refusal,
        };
        let Some(suspects) = refusal.suspects(messages.iter().map(Message::id)) else {
            return messages.iter().map(|_| Err(refusal.clone().into())).collect();
        };
        let outcomes = messages.iter().map(async |message| match suspects.contains(message.id()) {
            true => self.publish_one(topic, message).await,
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

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;

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
