//! The Dapr sidecar: publishing one event or many, with an outcome for each.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use shared::dapr::Message;
use shared::event::Topic;

/// The media type of a CloudEvent in structured mode.
const CLOUD_EVENT: &str = "application/cloudevents+json";

/// The pub/sub component: the default of `spin.toml`.
const PUBSUB: &str = "pubsub-kafka";

/// More of an answer is not read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How long a publish may take: the default of `spin.toml`.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the sidecar may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// The sidecar, with connections that are kept.
#[derive(Clone)]
pub(crate) struct Sidecar {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What Dapr's errors carry.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(rename = "errorCode", default)]
    error_code: String,
    #[serde(default)]
    message: String,
    #[serde(rename = "failedEntries", default)]
    failed_entries: Vec<FailedEntry>,
}

#[derive(Deserialize)]
struct FailedEntry {
    #[serde(rename = "entryId")]
    entry_id: String,
}

impl Sidecar {
    /// Opens no connection yet.
    pub(crate) fn new(url: &str) -> Sidecar {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Sidecar { url: url.trim_end_matches('/').to_owned(), client }
    }

    /// Publishes events of different users, in one call. The result has one outcome per message, in their order.
    pub(crate) async fn publish(&self, topic: Topic, messages: &[Message<'_>]) -> Vec<Result<(), String>> {
        match messages {
            [] => Vec::new(),
            [message] => vec![self.publish_one(topic, message).await],
            messages => self.publish_many(topic, messages).await,
        }
    }

    /// Publishes one event.
    pub(crate) async fn publish_one(&self, topic: Topic, message: &Message<'_>) -> Result<(), String> {
        let (topic, key) = (topic.name(), &message.partition_key);
        let uri = format!("{}/v1.0/publish/{PUBSUB}/{topic}?metadata.partitionKey={key}", self.url);
        self.post(uri, CLOUD_EVENT, message.envelope.body.get().to_owned())
            .await
            .map_err(|refusal| refusal.message)
    }

    /// A bulk call that fails has published the events that it does not name, if it names any.
    async fn publish_many(&self, topic: Topic, messages: &[Message<'_>]) -> Vec<Result<(), String>> {
        let uri = format!("{}/v1.0/publish/bulk/{PUBSUB}/{}", self.url, topic.name());
        let Err(refusal) = self.post(uri, "application/json", bulk_body(messages)).await else {
            return messages.iter().map(|_| Ok(())).collect();
        };
        let failed: HashSet<_> = refusal.failed_entries.iter().map(|entry| entry.entry_id.as_str()).collect();
        let published =
            |message: &Message<'_>| !failed.is_empty() && !failed.contains(message.envelope.id.as_str());
        let outcome = |message| if published(message) { Ok(()) } else { Err(refusal.message.clone()) };
        messages.iter().map(outcome).collect()
    }

    async fn post(&self, uri: String, content_type: &'static str, body: String) -> Result<(), Refusal> {
        let request = Request::post(uri)
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::new(Bytes::from(body)))
            .map_err(Refusal::because)?;
        tokio::time::timeout(PUBLISH_TIMEOUT, self.answer(request))
            .await
            .unwrap_or_else(|_| Err(Refusal::because("no answer within 2000 ms")))
    }

    /// Dapr says 204 for success, and nothing else does.
    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<(), Refusal> {
        let response = self.client.request(request).await.map_err(|error| Refusal::because(cause(&error)))?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        let message = format!("status {} {} {}", status.as_u16(), refusal.error_code, refusal.message);
        Err(Refusal { message: message.trim_end().to_owned(), ..refusal })
    }

    /// Whether the sidecar is there and could publish.
    pub(crate) async fn ready(&self) -> bool {
        let request = Request::get(format!("{}/v1.0/healthz/outbound", self.url)).body(Full::default());
        let Ok(request) = request else { return false };
        let answer = tokio::time::timeout(READY_TIMEOUT, self.client.request(request)).await;
        matches!(answer, Ok(Ok(response)) if response.status() == StatusCode::NO_CONTENT)
    }
}

impl Refusal {
    fn because(error: impl ToString) -> Refusal {
        Refusal { message: error.to_string(), ..Refusal::default() }
    }
}

/// The innermost reason: the client's own text says only that sending failed.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Written by hand, because a `RawValue` would read every event once more. Ids and keys are UUIDs: nothing to escape.
fn bulk_body(messages: &[Message<'_>]) -> String {
    let length = messages.iter().map(|message| message.envelope.body.get().len() + 256).sum();
    let mut body = String::with_capacity(length);
    let mut separator = '[';
    for Message { partition_key, envelope, .. } in messages {
        body.push(separator);
        separator = ',';
        // Writing to a string can't fail.
        _ = write!(
            body,
            r#"{{"entryId":"{}","event":{},"contentType":"{CLOUD_EVENT}","metadata":{{"partitionKey":"{partition_key}"}}}}"#,
            envelope.id, envelope.body
        );
    }
    body.push(']');
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::event::Envelope;
    use shared::trace::Trace;

    #[test]
    fn a_bulk_entry_holds_the_bytes_of_the_single_call() {
        let envelope = |id: &str| Envelope {
            id: id.to_owned(),
            event_type: "task.created",
            body: serde_json::value::to_raw_value(&serde_json::json!({"id": id})).unwrap(),
        };
        let envelopes = ["a", "b"].map(envelope);
        let trace = Trace::stored("c".into(), None, None, uuid::Uuid::nil(), 1);
        let message = |envelope| Message { partition_key: "u".into(), envelope, trace: &trace };
        let messages = envelopes.each_ref().map(message);
        let entry = |id| {
            format!(
                r#"{{"entryId":"{id}","event":{{"id":"{id}"}},"contentType":"application/cloudevents+json","metadata":{{"partitionKey":"u"}}}}"#
            )
        };
        assert_eq!(bulk_body(&messages), format!("[{},{}]", entry("a"), entry("b")));
    }
}
