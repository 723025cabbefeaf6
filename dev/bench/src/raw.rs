//! What the sidecars and the broker can take: the same events as the API's, in bulk calls that are ready before the
//! clock starts, sent without any outbox.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};
use shared::event::{Topic, envelope};
use shared::task::{Action, Change, Timestamp};
use shared::trace::Trace;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::client::{Call, Connection};

/// Topics that every change reaches.
const TOPICS: [Topic; 2] = [Topic::TaskEvents, Topic::TaskUpdates];

/// Calls under way at once, for each sidecar.
const CALLS_AT_ONCE: usize = 4;

/// How many events of how many users go out in calls of which size.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    pub(crate) users: u64,
    /// Changes of each user; each is an event on two topics.
    pub(crate) changes: u64,
    pub(crate) per_call: usize,
}

/// Publishes everything through these sidecars; says how long that took.
pub(crate) async fn publish(sidecars: &[u16], amount: Amount) -> Result<Duration> {
    let calls = Arc::new(Mutex::new(calls(amount)?));
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for port in sidecars.iter().flat_map(|port| [*port; CALLS_AT_ONCE]) {
        let calls = calls.clone();
        workers.spawn(async move {
            let mut connection = Connection::open(port).await?;
            loop {
                let call = calls.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(call) = call else { return anyhow::Ok(()) };
                let (status, body) = connection.send(call).await?;
                if status != 204 {
                    bail!("the sidecar answered {status}: {}", String::from_utf8_lossy(&body));
                }
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.context("a publisher failed")??;
    }
    Ok(started.elapsed())
}

fn calls(amount: Amount) -> Result<VecDeque<Call>> {
    let users: Vec<Uuid> = (0..amount.users).map(|_| Uuid::new_v4()).collect();
    let mut calls = VecDeque::new();
    for sequence in 1..=amount.changes {
        for users in users.chunks(amount.per_call) {
            for topic in TOPICS {
                let entries: Result<Vec<Value>> =
                    users.iter().map(|user| entry(&change(*user, sequence)?, topic)).collect();
                calls.push_back(call(topic, Bytes::from(Value::Array(entries?).to_string()))?);
            }
        }
    }
    Ok(calls)
}

fn call(topic: Topic, body: Bytes) -> Result<Call> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("/v1.0/publish/bulk/{}/{}", stack::resources::PUBSUB, topic.name()))
        .header(header::HOST, "127.0.0.1")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .context("make a bulk call")
}

fn entry(change: &Change, topic: Topic) -> Result<Value> {
    let event = envelope(change, topic, "/taskcast")?.context("a change has an event on this topic")?;
    Ok(json!({
        "entryId": event.id,
        "event": event.body,
        "contentType": "application/cloudevents+json",
        "metadata": {"partitionKey": change.user_id},
    }))
}

fn change(user_id: Uuid, sequence: u64) -> Result<Change> {
    Ok(Change {
        user_id,
        sequence: i64::try_from(sequence)?,
        task_id: Uuid::new_v4(),
        action: Action::Created,
        title: format!("Task number {sequence} of the backlog"),
        completed: false,
        due_date: None,
        title_changed: true,
        completed_changed: true,
        due_date_changed: false,
        changed_at: Timestamp::from_micros(1_767_225_600_123_456).context("an instant")?,
        trace: Trace::stored(Uuid::new_v4().to_string(), None, None, user_id, i64::try_from(sequence)?),
    })
}
