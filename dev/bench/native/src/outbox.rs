//! The transactional outbox: claim, publish, settle. As `shared::outbox` does it, but that every failure is tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use shared::delivery::{Claim, Outcome, Window};
use shared::error::Error;
use shared::event::{Envelope, Topic};
use shared::log::{self, Level};
use shared::task::Change;
use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;

use crate::database::Database;
use crate::event;
use crate::sidecar::{PUBLISH_TIMEOUT, Sidecar};
use crate::store;

/// That of taskcast's relay: here, too, nobody waits for a claim to be read.
const USERS: i64 = 256;
const CHANGES: i64 = 32;

/// How often the outbox is drained when no request asks for it: the schedule of taskcast's cron binding.
const TICK: Duration = Duration::from_secs(2);

/// After this long, a pass starts no further publish.
const PUBLISHING_TIME: Duration = Duration::from_secs(5);

/// Longer than claiming, publishing and settling can take together.
const LEASE: Duration = Duration::from_secs(PUBLISHING_TIME.as_secs() + PUBLISH_TIMEOUT.as_secs() + 5);

/// The back-off after the first failure; it doubles with each further one.
const FIRST_BACKOFF_MS: u64 = 250;

/// The longest back-off.
const MAX_BACKOFF_MS: u64 = 60_000;

/// Drains the outbox whenever something was committed, and at every tick. For ever.
///
/// It is the only drain of its process. `committed` remembers one call while it works, which is all it needs: what was
/// committed meanwhile is claimed together.
pub(crate) async fn deliver(database: Database, sidecar: Sidecar, committed: Arc<Notify>) {
    loop {
        // Woken or not, it drains.
        _ = timeout(TICK, committed.notified()).await;
        if let Err(error) = drain(&database, &sidecar).await {
            log::write(Level::Error, "drain stopped", json!({"error": error.to_string()}));
        }
    }
}

/// Delivers until nothing is claimable.
async fn drain(database: &Database, sidecar: &Sidecar) -> Result<(), Error> {
    while pass(database, sidecar).await? {}
    Ok(())
}

/// One claim, published and settled. Returns whether there may be more.
async fn pass(database: &Database, sidecar: &Sidecar) -> Result<bool, Error> {
    let claims = store::claim_changes(database, USERS, CHANGES, LEASE).await?;
    if claims.is_empty() {
        return Ok(false);
    }
    let deadline = Instant::now() + PUBLISHING_TIME;
    let [events, updates, reminders] = Topic::ALL.map(|topic| publish(topic, &claims, sidecar, deadline));
    let (events, updates, reminders) = tokio::join!(events, updates, reminders);
    let progress = events.into_iter().zip(updates).zip(reminders);
    let outcomes: Vec<_> = claims
        .iter()
        .zip(progress)
        .map(|(claim, ((events, updates), reminders))| outcome(claim, [events, updates, reminders]))
        .collect();
    let claimable = store::settle_changes(database, &outcomes).await?;
    Ok(claimable || claims.len() as i64 == USERS)
}

/// How far a user got on one topic.
struct Progress<'a> {
    topic: Topic,
    window: Option<&'a Window>,
    delivered: i64,
    failed: bool,
}

/// Publishes the claimed changes to one topic, in rounds of one event per user: a bulk call that fails for one event
/// still publishes those after it, so it must not hold two of the same user.
async fn publish<'a>(
    topic: Topic,
    claims: &'a [Claim],
    sidecar: &Sidecar,
    deadline: Instant,
) -> Vec<Progress<'a>> {
    let mut users: Vec<_> = claims.iter().map(|claim| Progress::new(claim, topic)).collect();
    while Instant::now() < deadline {
        let round: Vec<_> = users
            .iter_mut()
            .filter_map(|user| user.next().map(|(change, event)| (user, change, event)))
            .collect();
        if round.is_empty() {
            break;
        }
        let messages: Vec<_> = round.iter().map(|(_, change, event)| event::message(change, event)).collect();
        let results = sidecar.publish(topic, &messages).await;
        for ((user, change, event), result) in round.into_iter().zip(results) {
            match result {
                Ok(()) => user.delivered = change.sequence,
                Err(error) => user.fail(change, event.event_type, &error),
            }
        }
    }
    users
}

impl<'a> Progress<'a> {
    fn new(claim: &'a Claim, topic: Topic) -> Progress<'a> {
        let delivered = claim.delivered.get(topic as usize).copied().unwrap_or_default();
        let waits = claim.waiting_topics & topic.bit() != 0;
        let window = claim.windows.iter().find(|window| !waits && window.after == delivered);
        Progress { topic, window, delivered, failed: false }
    }

    /// The user's next event; passes over changes that mean nothing to the topic.
    fn next(&mut self) -> Option<(&'a Change, Envelope)> {
        let window = self.window.filter(|_| !self.failed)?;
        let delivered = self.delivered;
        for change in window.changes.iter().filter(|change| change.sequence > delivered) {
            match event::envelope(change, self.topic) {
                Ok(Some(event)) => return Some((change, event)),
                Ok(None) => self.delivered = change.sequence,
                Err(error) => {
                    self.fail(change, change.action.as_str(), &error.to_string());
                    return None;
                }
            }
        }
        None
    }

    /// Stops this user on this topic.
    fn fail(&mut self, change: &Change, event_type: &str, error: &str) {
        self.failed = true;
        event::log_failure(change, self.topic, event_type, error);
    }
}

fn outcome(claim: &Claim, topics: [Progress<'_>; 3]) -> Outcome {
    let retry = |topic: &Progress<'_>| {
        let attempts = claim.attempts.get(topic.topic as usize).copied().unwrap_or_default();
        topic.failed.then(|| backoff(attempts, Uuid::new_v4().as_u128()))
    };
    Outcome {
        user_id: claim.user_id,
        lease_token: claim.lease_token,
        goes_on: true,
        last_sequence: claim.last_sequence,
        delivered: topics.each_ref().map(|topic| topic.delivered),
        retry_after_ms: topics.each_ref().map(retry),
        waiting_topics: claim.waiting_topics,
        parked: Vec::new(),
    }
}

/// Milliseconds to wait after one more failure: exponential with full jitter. `random` is any number.
fn backoff(failures_before: i32, random: u128) -> i64 {
    let doublings = failures_before.clamp(0, 16) as u32;
    let longest = (FIRST_BACKOFF_MS << doublings).min(MAX_BACKOFF_MS);
    (random % u128::from(longest + 1)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_up_to_its_cap() {
        let longest = |failures| (0..=60_000).map(|random| backoff(failures, random)).max().unwrap();
        assert_eq!([longest(0), longest(1), longest(3), longest(20)], [250, 500, 2_000, 60_000]);
    }
}
