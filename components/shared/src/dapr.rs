//! The Dapr sidecar: publishing one event or many, with an outcome for each.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use http::{Request, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use spin_sdk::http::{EmptyBody, FullBody, Response};
use spin_sdk::wasip3::http::types::RequestOptions;
use spin_sdk::wasip3::http_compat::RequestOptionsExtension;

use crate::event::{Envelope, Topic};
use crate::http::read_body;

/// The media type of a CloudEvent in structured mode.
const CLOUD_EVENT: &str = "application/cloudevents+json";

/// More of an answer is not read, in bytes: it may name each event of a bulk call.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

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
}

/// Why an event was not published, in words for the log.
pub type Failure = String;

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
    #[serde(default)]
    error: String,
}

impl Sidecar {
    /// The sidecar at `url`; `token` may be empty; `timeout` bounds every publish as a whole.
    pub fn new(url: String, token: String, pubsub: &str, timeout: Duration) -> Sidecar {
        Sidecar { url, token, pubsub: pubsub.to_owned(), timeout }
    }

    /// The longest that [`Sidecar::publish`] can take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Publishes events of different users, in one call. The result has one outcome per message, in their order.
    pub async fn publish(&self, topic: Topic, messages: &[Message<'_>]) -> Vec<Result<(), Failure>> {
        match messages {
            [] => Vec::new(),
            [message] => vec![self.publish_one(topic, message).await],
            messages => self.publish_many(topic, messages).await,
        }
    }

    async fn publish_one(&self, topic: Topic, message: &Message<'_>) -> Result<(), Failure> {
        let Sidecar { url, pubsub, .. } = self;
        let (topic, key) = (topic.name(), &message.partition_key);
        let uri = format!("{url}/v1.0/publish/{pubsub}/{topic}?metadata.partitionKey={key}");
        self.post(&uri, CLOUD_EVENT, message.envelope.body.clone())
            .await
            .map_err(|refusal| refusal.to_string())
    }

    /// A bulk call that fails may still have published some of its events: only those that it names have failed.
    async fn publish_many(&self, topic: Topic, messages: &[Message<'_>]) -> Vec<Result<(), Failure>> {
        let all_failed = |failure: Failure| messages.iter().map(|_| Err(failure.clone())).collect();
        let body = match bulk_body(messages) {
            Ok(body) => body,
            Err(error) => return all_failed(error.to_string()),
        };
        let uri = format!("{}/v1.0/publish/bulk/{}/{}", self.url, self.pubsub, topic.name());
        match self.post(&uri, "application/json", body).await {
            Ok(()) => messages.iter().map(|_| Ok(())).collect(),
            Err(refusal) if refusal.failed_entries.is_empty() => all_failed(refusal.to_string()),
            Err(refusal) => messages.iter().map(|message| refusal.outcome(&message.envelope.id)).collect(),
        }
    }

    async fn post(&self, uri: &str, content_type: &'static str, body: String) -> Result<(), Refusal> {
        let request = Request::post(uri)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CONTENT_LENGTH, body.len());
        let request = with_token(request, &self.token)
            .extension(options(self.timeout))
            .body(FullBody::new(bytes::Bytes::from(body)))
            .map_err(Refusal::because)?;
        within(self.timeout, answer(request)).await.unwrap_or_else(|| {
            Err(Refusal::because(format!("no answer within {} ms", self.timeout.as_millis())))
        })
    }
}

/// Sends a publish and reads its answer. Dapr says 204 for success, and nothing else does.
async fn answer(request: Request<FullBody<bytes::Bytes>>) -> Result<(), Refusal> {
    let response = spin_sdk::http::send(request).await.map_err(Refusal::because)?;
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

/// The result of `work`, or `None` when it takes longer than `limit`.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), pin!(spin_sdk::time::sleep(limit))).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    }
}

fn bulk_body(messages: &[Message<'_>]) -> serde_json::Result<String> {
    let entries: Result<Vec<_>, _> = messages.iter().map(BulkEntry::new).collect();
    serde_json::to_string(&entries?)
}

impl<'a> BulkEntry<'a> {
    fn new(message: &'a Message<'_>) -> serde_json::Result<BulkEntry<'a>> {
        Ok(BulkEntry {
            entry_id: &message.envelope.id,
            event: serde_json::from_str(&message.envelope.body)?,
            content_type: CLOUD_EVENT,
            metadata: Metadata { partition_key: &message.partition_key },
        })
    }
}

impl Refusal {
    fn because(error: impl ToString) -> Refusal {
        Refusal { message: error.to_string(), ..Refusal::default() }
    }

    /// Takes from the answer only what Dapr's own errors carry: whatever else it says may quote the event.
    async fn read(response: Response) -> Refusal {
        let status = response.status();
        let body = read_body(response.into_body(), MAX_ANSWER_BYTES).await.unwrap_or_default();
        let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        let message = format!("status {} {} {}", status.as_u16(), refusal.error_code, refusal.message);
        Refusal { message: message.trim_end().to_owned(), ..refusal }
    }

    fn outcome(&self, entry_id: &str) -> Result<(), Failure> {
        match self.failed_entries.iter().find(|failed| failed.entry_id == entry_id) {
            Some(failed) => Err(format!("{self}: {}", failed.error)),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
