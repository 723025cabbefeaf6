//! Publishing what was claimed to one topic, and what became of it.

use std::time::Instant;

use serde_json::json;
use uuid::Uuid;

use super::{Claim, Counts, Outcome, Parked};
use crate::dapr::{Failure, Message, Sidecar};
use crate::event::{Envelope, Topic, envelope};
use crate::log::{self, Level};
use crate::task::Change;

/// The back-off after the first failure; it doubles with each further one.
const FIRST_BACKOFF_MS: u64 = 250;

/// The longest back-off.
const MAX_BACKOFF_MS: u64 = 60_000;

/// How far a user got on one topic.
pub(super) struct Progress<'a> {
    claim: &'a Claim,
    topic: Topic,
    delivered: i64,
    /// How many events.
    published: i64,
    failed: bool,
    parked: Vec<Parked>,
}

/// Publishes the claimed changes to one topic, in rounds of one event per user: a bulk call that fails for one event
/// still publishes those after it, so it must not hold two of the same user.
pub(super) async fn publish<'a>(
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
                Ok(()) => {
                    user.delivered = change.sequence;
                    user.published += 1;
                }
                Err(failure) => user.fail(change, event.event_type, failure),
            }
        }
    }
    users
}

impl<'a> Message<'a> {
    /// Of a user's change.
    pub(super) fn new(change: &'a Change, envelope: &'a Envelope) -> Message<'a> {
        Message { partition_key: change.user_id.to_string(), envelope, trace: &change.trace }
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
        Progress { claim, topic, delivered, published: 0, failed: false, parked: Vec::new() }
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
                    self.fail(change, change.action.as_str(), Failure::Retry(error.to_string()));
                    return None;
                }
            }
        }
        None
    }

    /// Stops this user on this topic, unless the event can never be delivered: then it is parked, and the next one's
    /// turn comes.
    fn fail(&mut self, change: &Change, event_type: &str, failure: Failure) {
        log_failure(change, self.topic, event_type, self.claim.attempts + 1, &failure);
        match failure {
            Failure::Retry(_) => self.failed = true,
            Failure::Reject(error) => {
                self.delivered = change.sequence;
                self.parked.push(Parked { sequence: change.sequence, topic: self.topic, error });
            }
        }
    }
}

/// Says, once per attempt, that an event was not published (FR-012).
pub(super) fn log_failure(change: &Change, topic: Topic, event_type: &str, attempt: i32, failure: &Failure) {
    let (message, error) = match failure {
        Failure::Retry(error) => ("event not published", error),
        Failure::Reject(error) => ("event parked", error),
    };
    let fields = json!({
        "event_type": event_type,
        "task_id": change.task_id,
        "topic": topic.name(),
        "sequence": change.sequence,
        "attempt": attempt,
        "error": error,
    });
    log::write_about(&change.trace, Level::Error, message, fields);
}

/// Says that a parked event was published at last.
pub(super) fn log_success(change: &Change, topic: Topic, event_type: &str) {
    let fields = json!({
        "event_type": event_type,
        "task_id": change.task_id,
        "topic": topic.name(),
        "sequence": change.sequence,
    });
    log::write_about(&change.trace, Level::Info, "parked event published", fields);
}

/// Of a claim that was published to the three topics.
pub(super) fn outcome(claim: &Claim, topics: [Progress<'_>; 3]) -> Outcome {
    let failed: i32 = topics.iter().filter(|topic| topic.failed).map(|topic| topic.topic.bit()).sum();
    Outcome {
        user_id: claim.user_id,
        lease_token: claim.lease_token,
        own: claim.own,
        last_sequence: claim.last_sequence,
        delivered: topics.each_ref().map(|topic| topic.delivered),
        parked: topics.into_iter().flat_map(|topic| topic.parked).collect(),
        blocked_topics: claim.waiting_topics | failed,
        retry_after_ms: (failed != 0).then(|| backoff(claim.attempts, Uuid::new_v4().as_u128())),
    }
}

/// How much was done, by topic.
pub(super) fn counts(topics: &[Vec<Progress<'_>>; 3]) -> Counts {
    let sum = |of: fn(&Progress<'_>) -> i64| topics.each_ref().map(|users| users.iter().map(of).sum());
    Counts {
        published: sum(|user| user.published),
        failed: sum(|user| user.failed.into()),
        refused: sum(|user| user.parked.len() as i64),
        ..Counts::default()
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
        Claim {
            user_id: Uuid::nil(),
            lease_token: 1,
            last_sequence: 9,
            delivered,
            attempts: 0,
            waiting_topics,
            own: true,
            changes,
        }
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
    fn an_event_that_is_refused_for_good_is_parked_and_the_next_one_goes_on() {
        let claim = claim([0; 3], 0, vec![change(1, false), change(2, false)]);
        let [mut events, updates, reminders] = Topic::ALL.map(|topic| Progress::new(&claim, topic));
        events.fail(&claim.changes[0], "task.created", Failure::Reject("too large".into()));
        assert_eq!(events.next("").map(|(change, _)| change.sequence), Some(2));
        let outcome = outcome(&claim, [events, updates, reminders]);
        assert_eq!((outcome.delivered, outcome.blocked_topics), ([1, 0, 0], 0));
        assert_eq!(
            outcome.parked,
            [Parked { sequence: 1, topic: Topic::TaskEvents, error: "too large".into() }]
        );
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
}
