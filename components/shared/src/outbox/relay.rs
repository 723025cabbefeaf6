//! The relay: what a crash or an outage has left in the outbox.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::publishing::log_failure;
use super::{Claim, Outcome, Requeued, Running, Wanted, lease, publish};
use crate::config;
use crate::dapr::{Failure, Message, Sidecar};
use crate::error::Error;
use crate::event::envelope;
use crate::store;

/// How many users one pass takes. It serves nobody who waits.
const USERS: i64 = 256;

/// How many changes of each of them.
const CHANGES: i64 = 32;

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
    let claims = next_claims(&[]).await?;
    if claims.is_empty() {
        return Ok(0);
    }
    // Two at once, so that the database has something to do while the sidecar has, and the other way round.
    let (one, other) = futures::join!(passes(claims, deadline), passes(Vec::new(), deadline));
    Ok(one? + other?)
}

/// Publishes and settles, and claims again, until nothing is left to claim or `deadline` has come. Returns how many changes
/// were claimed.
async fn passes(mut claims: Vec<Claim>, deadline: Instant) -> Result<usize, Error> {
    let (sidecar, source) = (config::sidecar().await?, config::event_source().await?);
    let mut changes = 0;
    loop {
        changes += claims.iter().map(|claim| claim.changes.len()).sum::<usize>();
        let outcomes = publish(&claims, sidecar, source).await;
        if Instant::now() >= deadline {
            store::settle(&outcomes).await?;
            return Ok(changes);
        }
        claims = next_claims(&outcomes).await?;
        if claims.is_empty() {
            return Ok(changes);
        }
    }
}

/// Settles what was published, and claims what comes next.
async fn next_claims(outcomes: &[Outcome]) -> Result<Vec<Claim>, Error> {
    let wanted = Wanted {
        users: Vec::new(),
        others: USERS,
        waiting_at_most: None,
        changes: CHANGES,
        counts_for: None,
        drain_until: 0,
    };
    let claimed = store::next_pass(outcomes, &wanted, lease(config::sidecar().await?)).await?;
    Ok(claimed.claims)
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
    let (mut delivered, mut refused) = (Vec::new(), Vec::new());
    for (event, result) in claimed.iter().zip(results) {
        match result {
            Ok(()) => delivered.push(event.id),
            Err(Failure::Reject(error)) => refused.push((event.id, error)),
            Err(Failure::Retry(_)) => {}
        }
    }
    store::settle_requeued(&delivered, &refused).await
}

async fn republish(event: &Requeued, sidecar: &Sidecar, source: &str) -> Result<(), Failure> {
    let Requeued { topic, change, .. } = event;
    let envelope = match envelope(change, *topic, source) {
        Ok(Some(envelope)) => envelope,
        Ok(None) => return Ok(()),
        Err(error) => return Err(Failure::Retry(error.to_string())),
    };
    let result = sidecar.publish_one(*topic, &Message::new(change, &envelope)).await;
    if let Err(failure) = &result {
        log_failure(change, *topic, envelope.event_type, 1, failure);
    }
    result
}
