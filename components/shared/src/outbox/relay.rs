//! The relay: what a crash or an outage has left in the outbox.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::publishing::{log_failure, log_success};
use super::{Counts, Done, Requeued, Running, Wanted, lease, next_pass};
use crate::config;
use crate::dapr::{Failure, Message, Sidecar};
use crate::error::Error;
use crate::event::envelope;
use crate::store;

/// What one pass takes. It serves nobody who waits.
const WANTED: Wanted = Wanted {
    users: Vec::new(),
    others: 256,
    waiting_at_most: None,
    changes: 32,
    counts_for: None,
    drain_until: 0,
};

/// How many requeued events a call tries.
const REQUEUED_PER_CALL: i64 = 32;

thread_local! {
    static RELAYING: Cell<bool> = const { Cell::new(false) };
}

/// Delivers what a crash or an outage has left, and parked events that are to be tried again, for as long as `limit`
/// allows a further pass to begin. Returns how many changes were claimed. A call that finds another one at work in its
/// instance leaves the work to it; calls elsewhere share the work: each claims other users.
pub async fn relay(limit: Duration) -> Result<usize, Error> {
    let Some(_running) = Running::begin(&RELAYING) else { return Ok(0) };
    let deadline = Instant::now() + limit;
    publish_requeued().await?;
    let (claimed, done) = next_pass("relay", &Done::default(), &WANTED).await?;
    if claimed.claims.is_empty() {
        return Ok(0);
    }
    // Two at once, so that the database has something to do while the sidecar has, and the other way round.
    let (one, other) = futures::join!(passes(done, deadline), passes(Done::default(), deadline));
    Ok(claimed.changes() + one? + other?)
}

/// Goes on after a pass until nothing is left to claim or `deadline` has come. Returns how many changes were claimed.
async fn passes(mut done: Done, deadline: Instant) -> Result<usize, Error> {
    let mut changes = 0;
    while Instant::now() < deadline {
        let claimed;
        (claimed, done) = next_pass("relay", &done, &WANTED).await?;
        if claimed.claims.is_empty() {
            return Ok(changes);
        }
        changes += claimed.changes();
    }
    store::settle(&done).await?;
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
        futures::future::join_all(claimed.iter().map(|event| republish(event, sidecar, source))).await;
    let (mut delivered, mut refused, mut counts) = (Vec::new(), Vec::new(), Counts::default());
    for (event, result) in claimed.iter().zip(results) {
        let place = event.topic as usize;
        let count = match result {
            Ok(()) => {
                delivered.push(event.id);
                counts.published.get_mut(place)
            }
            Err(Failure::Reject(error)) => {
                refused.push((event.id, error));
                counts.refused.get_mut(place)
            }
            Err(Failure::Retry(_)) => counts.failed.get_mut(place),
        };
        count.into_iter().for_each(|count| *count += 1);
    }
    store::settle_requeued(&delivered, &refused, counts).await
}

async fn republish(event: &Requeued, sidecar: &Sidecar, source: &str) -> Result<(), Failure> {
    let Requeued { topic, change, .. } = event;
    let envelope = match envelope(change, *topic, source) {
        Ok(Some(envelope)) => envelope,
        Ok(None) => return Ok(()),
        Err(error) => return Err(Failure::Retry(error.to_string())),
    };
    let result = sidecar.publish_one(*topic, &Message::new(change, &envelope)).await;
    match &result {
        Ok(()) => log_success(change, *topic, envelope.event_type),
        Err(failure) => log_failure(change, *topic, envelope.event_type, 1, failure),
    }
    result
}
