//! What a sidecar is asked to publish, one record an event, whether it came alone or in a bulk call.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::harness::wire::WireRequest;

/// One event that the app tried to publish.
#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(crate) pubsub: String,
    pub(crate) topic: String,
    pub(crate) bulk: bool,
    /// The same for events that came in one request.
    pub(crate) call: usize,
    /// Names the event within a bulk call; empty when it came alone.
    pub(crate) entry: String,
    pub(crate) content_type: String,
    pub(crate) partition_key: String,
    /// The token that the sidecar wants from callers.
    pub(crate) api_token: Option<String>,
    /// The trace that the request belongs to.
    pub(crate) traceparent: Option<String>,
    /// The event exactly as sent.
    pub(crate) bytes: String,
    pub(crate) event: Value,
    pub(crate) began: Instant,
    /// What the stub answered; 0 when it answered nothing.
    pub(crate) status: u16,
}

impl Publish {
    /// Every event in a publish request; empty for another request.
    pub(crate) fn all_in(request: &WireRequest) -> Vec<Self> {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let Some(rest) = path.strip_prefix("/v1.0/publish/") else { return Vec::new() };
        match rest.strip_prefix("bulk/") {
            Some(address) => bulk(request, address),
            None => vec![single(request, rest, query)],
        }
    }

    pub(crate) fn accepted(&self) -> bool {
        self.status == 204
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.event["sequence"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn user(&self) -> &str {
        self.event["partitionkey"].as_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.event["id"].as_str().unwrap()
    }
}

fn single(request: &WireRequest, address: &str, query: &str) -> Publish {
    let content_type = request.header("content-type").unwrap_or_default().to_owned();
    let bytes = String::from_utf8(request.body.clone()).unwrap();
    let key = query.split('&').find_map(|pair| pair.strip_prefix("metadata.partitionKey="));
    new(request, address, bytes, content_type, key.unwrap_or_default().to_owned())
}

fn bulk(request: &WireRequest, address: &str) -> Vec<Publish> {
    let entries: Vec<BTreeMap<String, Box<RawValue>>> = serde_json::from_slice(&request.body).unwrap();
    entries.into_iter().map(|entry| bulk_entry(request, address, &entry)).collect()
}

fn bulk_entry(request: &WireRequest, address: &str, entry: &BTreeMap<String, Box<RawValue>>) -> Publish {
    let text = |name: &str| serde_json::from_str::<String>(entry[name].get()).unwrap();
    let metadata: Value = serde_json::from_str(entry["metadata"].get()).unwrap();
    let key = metadata["partitionKey"].as_str().unwrap_or_default().to_owned();
    let publish = new(request, address, entry["event"].get().to_owned(), text("contentType"), key);
    Publish { bulk: true, entry: text("entryId"), ..publish }
}

fn new(request: &WireRequest, address: &str, bytes: String, content_type: String, key: String) -> Publish {
    let (pubsub, topic) = address.split_once('/').unwrap();
    Publish {
        pubsub: pubsub.to_owned(),
        topic: topic.to_owned(),
        bulk: false,
        call: 0,
        entry: String::new(),
        content_type,
        partition_key: key,
        api_token: request.header("dapr-api-token").map(str::to_owned),
        traceparent: request.header("traceparent").map(str::to_owned),
        event: serde_json::from_str(&bytes).unwrap(),
        bytes,
        began: Instant::now(),
        status: 0,
    }
}
