//! The relay: what a crash or an outage has left in the outbox.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::Running;
use super::passes::{Passes, lease};
use super::publishing::{log_failure, log_success};
use crate::config;
use crate::counts::Counts;
use crate::dapr::{Failure, Message, Sidecar};
use crate::delivery::{Promise, Requeued, Wanted};
use crate::error::Error;
use crate::event::{Topic, envelope};
use crate::store;
use crate::task::Change;

/// What one pass takes. No request waits for a relay.
const WANTED: Wanted = Wanted {
    users: Vec::new(),
    limit: 256,
    others: true,
    waiting_at_most: None,
    changes: 32,
    promise: Promise::NONE,
};

/// Largest number of requeued events that a call tries.
const REQUEUED_PER_CALL: i64 = 32;

thread_local! {
    static RELAYING: Cell<bool> = const { Cell::new(false) };
}

/// Delivers what a crash or an outage has left, and parked events that are to be tried again, for as long as `limit`
/// allows a further pass to begin. Returns how many changes were claimed. A call that finds another one in progress in its
/// instance leaves the work to it; calls elsewhere share the work: each claims other users.
pub async fn relay(limit: Duration) -> Result<usize, Error> {
    let Some(_running) = Running::begin(&RELAYING) else { return Ok(0) };
    let deadline = Instant::now() + limit;
    store::relay_called().await?;
    publish_requeued().await?;
    let mut passes = Passes::new("relay");
    let claimed = passes.next(&WANTED).await?;
    if claimed.claims.is_empty() {
        return Ok(0);
    }
    // Two at once, so that the database has something to do while the sidecar has, and the other way round.
    let (one, other) = futures::join!(go_on(passes, deadline), go_on(Passes::new("relay"), deadline));
    Ok(claimed.changes() + one? + other?)
}

/// Goes on after a pass until nothing is left to claim or `deadline` has come. Returns how many changes were claimed.
async fn go_on(mut passes: Passes, deadline: Instant) -> Result<usize, Error> {
    let mut changes = 0;
    while Instant::now() < deadline {
        let claimed = passes.next(&WANTED).await?;
        if claimed.claims.is_empty() {
            return Ok(changes);
        }
        changes += claimed.changes();
    }
    passes.end();
    Ok(changes)
}

/// Publishes parked events that an operator has requeued. They are out of order by then; consumers see that by
/// `sequence`. One that fails for now keeps its lease, and is tried again when that has run out.
async fn publish_requeued() -> Result<(), Error> {
    let (sidecar, source) = (config::sidecar().await?, config::event_source().await?);
    let claimed = store::claim_requeued(REQUEUED_PER_CALL, lease(sidecar)).await?;
    if claimed.is_empty() {
        return Ok(());
    }
    let results =
        futures::future::join_all(claimed.iter().map(|requeued| republish(requeued, sidecar, source))).await;
    let (mut delivered, mut refused, mut counts) = (Vec::new(), Vec::new(), Counts::default());
    for (Requeued { id, event }, result) in claimed.iter().zip(results) {
        let of_topic = match result {
            Ok(()) => {
                delivered.push(*id);
                &mut counts.published
            }
            Err(Failure::Reject(error)) => {
                refused.push((*id, error));
                &mut counts.refused
            }
            Err(Failure::Retry(_)) => &mut counts.failed,
        };
        let topic = event.as_ref().ok().and_then(|(topic, _)| of_topic.get_mut(*topic as usize));
        topic.into_iter().for_each(|count| *count += 1);
    }
    store::settle_requeued(&delivered, &refused, counts).await
}

async fn republish(requeued: &Requeued, sidecar: &Sidecar, source: &str) -> Result<(), Failure> {
    match &requeued.event {
        Ok((topic, change)) => republish_event(*topic, change, sidecar, source).await,
        // Parked again, with the reason: `cargo xtask outbox list` shows it.
        Err(error) => Err(Failure::Reject(format!("this version can't read the event: {error}"))),
    }
}

async fn republish_event(
    topic: Topic,
    change: &Change,
    sidecar: &Sidecar,
    source: &str,
) -> Result<(), Failure> {
    let envelope = match envelope(change, topic, source) {
        Ok(Some(envelope)) => envelope,
        Ok(None) => return Ok(()),
        Err(error) => return Err(Failure::Retry(error.to_string())),
    };
    let result = sidecar.publish_one(topic, &Message::new(change, &envelope)).await;
    match &result {
        Ok(()) => log_success(change, topic, envelope.event_type),
        Err(failure) => log_failure(change, topic, envelope.event_type, 1, failure),
    }
    result
}
