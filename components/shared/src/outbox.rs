//! The transactional outbox: claim, publish, settle.
//!
//! A mutation commits its change together with the task. Whoever drains, in whatever process, first leases users who have
//! something to deliver, publishes their changes in sequence, and then records how far it got. A crash anywhere in
//! between leaves the rest to the next drain; what was published but not recorded is published again, as the same bytes.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use crate::config;
use crate::dapr::{Message, Sidecar};
use crate::error::Error;
use crate::event::{Envelope, Topic, envelope};
use crate::log::{self, Level};
use crate::store;
use crate::task::Change;

/// How many users one claim leases at most.
const USERS_PER_CLAIM: i64 = 64;

/// How many changes of each user one claim takes at most. Reading them occupies the instance, and with it the requests
/// that it serves.
const CHANGES_PER_USER: i64 = 8;

/// After this long, a pass starts no further publish.
const PUBLISHING_TIME: Duration = Duration::from_secs(5);

/// What settling may take, on top of publishing, before the lease runs out.
const SETTLING_TIME: Duration = Duration::from_secs(5);

/// The back-off after the first failure; it doubles with each further one.
const FIRST_BACKOFF_MS: u64 = 250;

/// The longest back-off.
const MAX_BACKOFF_MS: u64 = 60_000;

/// A leased user and the user's next changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The user.
    pub user_id: Uuid,
    /// The fencing token of the lease.
    pub lease_token: i64,
    /// By topic: the sequence number up to which everything is delivered.
    pub delivered: [i64; 3],
    /// How often publishing failed in a row.
    pub attempts: i32,
    /// The bits of topics whose time to try again has not come.
    pub waiting_topics: i32,
    /// In sequence.
    pub changes: Vec<Change>,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The user.
    pub user_id: Uuid,
    /// The fencing token of the lease.
    pub lease_token: i64,
    /// By topic: the sequence number up to which everything is delivered now.
    pub delivered: [i64; 3],
    /// The bits of topics that have to be tried again.
    pub blocked_topics: i32,
    /// Milliseconds until then; `None` when nothing failed this time.
    pub retry_after_ms: Option<i64>,
}

thread_local! {
    static DRAIN: Cell<Drain> = const { Cell::new(Drain::Idle) };
}

/// Whether this instance drains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Drain {
    Idle,
    Running,
    /// Something was committed since the running drain last claimed.
    RunningAndWanted,
}

/// Delivers what the outbox holds until nothing is claimable. Never fails: what can't be delivered stays.
///
/// The requests of an instance share one drain. One that finds it running leaves its change to it, so that under load
/// claims grow and publishing turns into bulk calls by itself.
pub async fn drain() {
    if DRAIN.get() != Drain::Idle {
        DRAIN.set(Drain::RunningAndWanted);
        return;
    }
    let _idle_afterwards = IdleAfterwards;
    loop {
        DRAIN.set(Drain::Running);
        match pass().await {
            Ok(true) => {}
            Ok(false) if DRAIN.get() == Drain::RunningAndWanted => {}
            Ok(false) => return,
            Err(error) => {
                return log::write(Level::Error, "drain stopped", json!({"error": error.to_string()}));
            }
        }
    }
}

/// Lets the next request drain again, however this drain ends.
struct IdleAfterwards;

impl Drop for IdleAfterwards {
    fn drop(&mut self) {
        DRAIN.set(Drain::Idle);
    }
}

/// One claim, published and settled. True when there may be more to claim.
async fn pass() -> Result<bool, Error> {
    let (sidecar, source) = (config::sidecar().await?, config::event_source().await?);
    let lease = lease(sidecar.timeout()).as_millis() as i64;
    let claims = store::claim_changes(USERS_PER_CLAIM, CHANGES_PER_USER, lease).await?;
    if claims.is_empty() {
        return Ok(false);
    }
    let deadline = Instant::now() + PUBLISHING_TIME;
    let [events, updates, reminders] =
        Topic::ALL.map(|topic| publish(topic, &claims, sidecar, source, deadline));
    let (events, updates, reminders) = futures::join!(events, updates, reminders);
    let progress = events.into_iter().zip(updates).zip(reminders);
    let outcomes: Vec<_> = claims
        .iter()
        .zip(progress)
        .map(|(claim, ((events, updates), reminders))| outcome(claim, [events, updates, reminders]))
        .collect();
    let settled = store::settle_changes(&outcomes).await?;
    Ok(settled.more || claims.len() as i64 == USERS_PER_CLAIM)
}

/// Longer than claiming, publishing and settling can take together, so that no lease runs out under a live publisher.
fn lease(publish_timeout: Duration) -> Duration {
    PUBLISHING_TIME + publish_timeout + SETTLING_TIME
}

/// How far a user got on one topic.
struct Progress<'a> {
    claim: &'a Claim,
    topic: Topic,
    delivered: i64,
    failed: bool,
}

/// Publishes the claimed changes to one topic, in rounds of one event per user: a bulk call that fails for one event
/// still publishes those after it, so it must not hold two of the same user.
async fn publish<'a>(
    topic: Topic,
    claims: &'a [Claim],
    sidecar: &Sidecar,
    source: &str,
    deadline: Instant,
) -> Vec<Progress<'a>> {
    let mut users: Vec<_> = claims.iter().map(|claim| Progress::new(claim, topic)).collect();
    while Instant::now() < deadline {
        let round: Vec<_> = users
            .iter_mut()
            .filter_map(|user| user.next(source).map(|(change, event)| (user, change, event)))
            .collect();
        if round.is_empty() {
            break;
        }
        let messages: Vec<_> = round.iter().map(|(_, change, event)| Message::new(change, event)).collect();
        let results = sidecar.publish(topic, &messages).await;
        for ((user, change, event), result) in round.into_iter().zip(results) {
            match result {
                Ok(()) => user.delivered = change.sequence,
                Err(failure) => user.fail(change, event.event_type, &failure),
            }
        }
    }
    users
}

impl<'a> Message<'a> {
    fn new(change: &Change, envelope: &'a Envelope) -> Message<'a> {
        Message { partition_key: change.user_id.to_string(), envelope }
    }
}

impl<'a> Progress<'a> {
    fn new(claim: &'a Claim, topic: Topic) -> Progress<'a> {
        let [events, updates, reminders] = claim.delivered;
        let delivered = match topic {
            Topic::TaskEvents => events,
            Topic::TaskUpdates => updates,
            Topic::Reminders => reminders,
        };
        Progress { claim, topic, delivered, failed: false }
    }

    /// The user's next event; passes over changes that mean nothing to the topic.
    fn next(&mut self, source: &str) -> Option<(&'a Change, Envelope)> {
        if self.failed || self.claim.waiting_topics & self.topic.bit() != 0 {
            return None;
        }
        let delivered = self.delivered;
        for change in self.claim.changes.iter().filter(|change| change.sequence > delivered) {
            match envelope(change, self.topic, source) {
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

    /// Stops this user on this topic, and says so (FR-012).
    fn fail(&mut self, change: &Change, event_type: &str, error: &str) {
        self.failed = true;
        let fields = json!({
            "event_type": event_type,
            "task_id": change.task_id,
            "topic": self.topic.name(),
            "sequence": change.sequence,
            "correlation_id": change.trace.correlation_id,
            "attempt": self.claim.attempts + 1,
            "error": error,
        });
        log::write(Level::Error, "event not published", fields);
    }
}

fn outcome(claim: &Claim, topics: [Progress<'_>; 3]) -> Outcome {
    let failed: i32 = topics.iter().filter(|topic| topic.failed).map(|topic| topic.topic.bit()).sum();
    Outcome {
        user_id: claim.user_id,
        lease_token: claim.lease_token,
        delivered: topics.map(|topic| topic.delivered),
        blocked_topics: claim.waiting_topics | failed,
        retry_after_ms: (failed != 0).then(|| backoff(claim.attempts, Uuid::new_v4().as_u128())),
    }
}

/// Milliseconds to wait after one more failure: exponential with full jitter, so that users who failed together don't
/// come back together. `random` is any number.
fn backoff(failures_before: i32, random: u128) -> i64 {
    let doublings = failures_before.clamp(0, 16) as u32;
    let longest = (FIRST_BACKOFF_MS << doublings).min(MAX_BACKOFF_MS);
    (random % u128::from(longest + 1)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Action, Timestamp};
    use crate::trace::Trace;

    fn change(sequence: i64, due_date_changed: bool) -> Change {
        let instant = Timestamp::from_micros(0);
        Change {
            user_id: Uuid::nil(),
            sequence,
            task_id: Uuid::nil(),
            action: Action::Created,
            title: "x".into(),
            completed: false,
            due_date: instant,
            title_changed: true,
            completed_changed: true,
            due_date_changed,
            changed_at: instant.unwrap(),
            trace: Trace { correlation_id: "c".into(), traceparent: None, tracestate: None },
        }
    }

    fn claim(delivered: [i64; 3], waiting_topics: i32, changes: Vec<Change>) -> Claim {
        Claim { user_id: Uuid::nil(), lease_token: 1, delivered, attempts: 0, waiting_topics, changes }
    }

    #[test]
    fn a_topic_goes_on_where_it_stopped() {
        let claim = claim([1, 2, 0], 0, vec![change(1, false), change(2, false), change(3, true)]);
        let next = |topic| Progress::new(&claim, topic).next("").map(|(change, _)| change.sequence);
        assert_eq!(next(Topic::TaskEvents), Some(2));
        assert_eq!(next(Topic::TaskUpdates), Some(3));
        assert_eq!(next(Topic::Reminders), Some(3), "changes 1 and 2 are no reminders");
    }

    #[test]
    fn a_change_that_means_nothing_to_a_topic_counts_as_delivered() {
        let claim = claim([0; 3], 0, vec![change(1, false)]);
        let mut reminders = Progress::new(&claim, Topic::Reminders);
        assert!(reminders.next("").is_none());
        assert_eq!(reminders.delivered, 1);
    }

    #[test]
    fn a_topic_that_waits_or_failed_sends_nothing() {
        let claim = claim([0; 3], Topic::TaskEvents.bit(), vec![change(1, true)]);
        assert!(Progress::new(&claim, Topic::TaskEvents).next("").is_none());
        let mut updates = Progress::new(&claim, Topic::TaskUpdates);
        assert!(updates.next("").is_some());
        updates.failed = true;
        assert!(updates.next("").is_none());
    }

    #[test]
    fn a_failure_blocks_its_topic_alone() {
        let claim = claim([0; 3], Topic::Reminders.bit(), vec![change(1, true)]);
        let [mut events, mut updates, reminders] = Topic::ALL.map(|topic| Progress::new(&claim, topic));
        events.delivered = 1;
        updates.failed = true;
        let outcome = outcome(&claim, [events, updates, reminders]);
        assert_eq!(outcome.delivered, [1, 0, 0]);
        assert_eq!(outcome.blocked_topics, Topic::TaskUpdates.bit() | Topic::Reminders.bit());
        assert!(outcome.retry_after_ms.is_some());
    }

    #[test]
    fn back_off_doubles_up_to_its_cap() {
        let longest = |failures| (0..=60_000).map(|random| backoff(failures, random)).max().unwrap();
        assert_eq!([longest(0), longest(1), longest(3), longest(20)], [250, 500, 2_000, 60_000]);
        assert_eq!(backoff(20, 60_001), 0, "full jitter begins at zero");
    }

    #[test]
    fn a_lease_outlives_the_longest_pass() {
        let timeout = Duration::from_millis(2_000);
        assert!(lease(timeout) > PUBLISHING_TIME + timeout);
    }
}
