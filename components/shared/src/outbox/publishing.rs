//! Publishing what was claimed to one topic, and what became of it.

use std::time::Instant;

use serde_json::json;
use uuid::Uuid;

use crate::counts::Counts;
use crate::dapr::{Failure, Message, Sidecar};
use crate::delivery::{Claim, Outcome, Parked, Unreadable, Window};
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
    /// The topic's next changes; `None`: it waits for its retry, or has everything.
    window: Option<&'a Window>,
    delivered: i64,
    /// Failures in a row before this pass.
    attempts: i32,
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
        let delivered = of_topic(claim.delivered, topic);
        let waits = claim.waiting_topics & topic.bit() != 0;
        Progress {
            claim,
            topic,
            window: claim.windows.iter().find(|window| !waits && window.after == delivered),
            delivered,
            attempts: of_topic(claim.attempts, topic),
            published: 0,
            failed: false,
            parked: Vec::new(),
        }
    }

    /// The user's next event; passes over changes that mean nothing to the topic.
    fn next(&mut self, source: &str) -> Option<(&'a Change, Envelope)> {
        // After a failure, one event shows whether publishing works again.
        let is_probed = self.attempts > 0 && (self.published > 0 || !self.parked.is_empty());
        let window = self.window.filter(|_| !self.failed && !is_probed)?;
        let delivered = self.delivered;
        for change in window.changes.iter().filter(|change| change.sequence > delivered) {
            match envelope(change, self.topic, source) {
                Ok(Some(event)) => return Some((change, event)),
                Ok(None) => self.delivered = change.sequence,
                Err(error) => {
                    self.fail(change, change.action.as_str(), Failure::Retry(error.to_string()));
                    return None;
                }
            }
        }
        if let Some(unreadable) = &window.unreadable {
            log_unreadable(unreadable, self.topic, self.attempts + 1);
            self.failed = true;
        }
        None
    }

    /// Stops this user on this topic, unless the event can never be delivered: then it is parked, and the next one's
    /// turn comes.
    fn fail(&mut self, change: &Change, event_type: &str, failure: Failure) {
        log_failure(change, self.topic, event_type, self.attempts + 1, &failure);
        match failure {
            Failure::Retry(_) => self.failed = true,
            Failure::Reject(error) => {
                self.delivered = change.sequence;
                self.parked.push(Parked { sequence: change.sequence, topic: self.topic, error });
            }
        }
    }

    /// Whether the topic stays as it was after an earlier failure: its time for a retry, or time for this pass, has not come.
    fn still_waits(&self) -> bool {
        let is_untried = self.attempts > 0 && self.delivered == of_topic(self.claim.delivered, self.topic);
        !self.failed && (is_untried || self.claim.waiting_topics & self.topic.bit() != 0)
    }
}

fn of_topic<T>(topics: [T; 3], topic: Topic) -> T {
    let [events, updates, reminders] = topics;
    match topic {
        Topic::TaskEvents => events,
        Topic::TaskUpdates => updates,
        Topic::Reminders => reminders,
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

/// Says, once per attempt, that this version can't read a change, so that its events are not published.
fn log_unreadable(unreadable: &Unreadable, topic: Topic, attempt: i32) {
    let Unreadable { stored, error } = unreadable;
    let fields = json!({
        "event_type": stored["action"],
        "task_id": stored["task_id"],
        "topic": topic.name(),
        "sequence": stored["sequence"],
        "attempt": attempt,
        "error": format!("this version can't read the change: {error}"),
        "correlation_id": stored["correlation_id"],
    });
    log::write(Level::Error, "event not published", fields);
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

/// The outcome of a claim that was published to the three topics.
pub(super) fn outcome(claim: &Claim, topics: [Progress<'_>; 3]) -> Outcome {
    let waiting = topics.iter().filter(|topic| topic.still_waits());
    let retry =
        |topic: &Progress<'_>| topic.failed.then(|| backoff(topic.attempts, Uuid::new_v4().as_u128()));
    Outcome {
        user_id: claim.user_id,
        lease_token: claim.lease_token,
        goes_on: claim.goes_on,
        last_sequence: claim.last_sequence,
        delivered: topics.each_ref().map(|topic| topic.delivered),
        retry_after_ms: topics.each_ref().map(retry),
        waiting_topics: waiting.map(|topic| topic.topic.bit()).sum(),
        parked: topics.into_iter().flat_map(|topic| topic.parked).collect(),
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
            trace: Trace::stored("c".into(), None, None, Uuid::nil(), sequence),
        }
    }

    fn window(after: i64, changes: Vec<Change>) -> Window {
        Window { after, changes, unreadable: None }
    }

    fn claim(delivered: [i64; 3], waiting_topics: i32, windows: Vec<Window>) -> Claim {
        Claim {
            user_id: Uuid::nil(),
            lease_token: 1,
            last_sequence: 9,
            delivered,
            attempts: [0; 3],
            waiting_topics,
            goes_on: true,
            windows,
        }
    }

    #[test]
    fn a_topic_goes_on_where_it_stopped() {
        let windows = vec![
            window(0, vec![change(1, false), change(2, false)]),
            window(1, vec![change(2, false)]),
            window(8, vec![change(9, true)]),
        ];
        let claim = claim([1, 8, 0], 0, windows);
        let next = |topic| Progress::new(&claim, topic).next("").map(|(change, _)| change.sequence);
        assert_eq!(next(Topic::TaskEvents), Some(2));
        assert_eq!(next(Topic::TaskUpdates), Some(9));
        assert_eq!(
            next(Topic::Reminders),
            None,
            "changes 1 and 2 are no reminders, and 9 is not the next one"
        );
    }

    #[test]
    fn a_change_that_means_nothing_to_a_topic_counts_as_delivered() {
        let claim = claim([0; 3], 0, vec![window(0, vec![change(1, false)])]);
        let mut reminders = Progress::new(&claim, Topic::Reminders);
        assert!(reminders.next("").is_none());
        assert_eq!(reminders.delivered, 1);
    }

    #[test]
    fn a_topic_that_waits_or_failed_sends_nothing() {
        let claim = claim([0; 3], Topic::TaskEvents.bit(), vec![window(0, vec![change(1, true)])]);
        assert!(Progress::new(&claim, Topic::TaskEvents).next("").is_none());
        let mut updates = Progress::new(&claim, Topic::TaskUpdates);
        assert!(updates.next("").is_some());
        updates.failed = true;
        assert!(updates.next("").is_none());
    }

    #[test]
    fn after_a_failure_one_event_is_tried() {
        let mut claim = claim([0; 3], 0, vec![window(0, vec![change(1, true), change(2, true)])]);
        claim.attempts = [3, 0, 0];
        let [mut events, mut updates, _] = Topic::ALL.map(|topic| Progress::new(&claim, topic));
        for topic in [&mut events, &mut updates] {
            topic.next("").unwrap();
            (topic.delivered, topic.published) = (1, 1);
        }
        assert!(events.next("").is_none());
        assert!(updates.next("").is_some(), "the other topics have not failed");
    }

    #[test]
    fn an_event_that_is_refused_for_good_is_parked_and_the_next_one_goes_on() {
        let claim = claim([0; 3], 0, vec![window(0, vec![change(1, false), change(2, false)])]);
        let [mut events, updates, reminders] = Topic::ALL.map(|topic| Progress::new(&claim, topic));
        events.fail(&change(1, false), "task.created", Failure::Reject("too large".into()));
        assert_eq!(events.next("").map(|(change, _)| change.sequence), Some(2));
        let outcome = outcome(&claim, [events, updates, reminders]);
        assert_eq!((outcome.delivered, outcome.has_failed()), ([1, 0, 0], false));
        assert_eq!(
            outcome.parked,
            [Parked { sequence: 1, topic: Topic::TaskEvents, error: "too large".into() }]
        );
    }

    #[test]
    fn a_failure_blocks_its_topic_alone() {
        let mut claim = claim([0; 3], Topic::Reminders.bit(), vec![window(0, vec![change(1, true)])]);
        claim.attempts = [0, 1, 10];
        let [mut events, mut updates, reminders] = Topic::ALL.map(|topic| Progress::new(&claim, topic));
        events.delivered = 1;
        updates.failed = true;
        let outcome = outcome(&claim, [events, updates, reminders]);
        assert_eq!(outcome.delivered, [1, 0, 0]);
        assert_eq!(outcome.waiting_topics, Topic::Reminders.bit());
        assert_eq!(outcome.retry_after_ms.map(|retry| retry.is_some()), [false, true, false]);
        assert!(outcome.retry_after_ms[1].unwrap() <= 500, "the second failure of this topic");
    }

    #[test]
    fn a_topic_for_which_there_was_no_time_keeps_its_failures() {
        let mut claim = claim([0; 3], 0, vec![window(0, vec![change(1, true)])]);
        claim.attempts = [4, 0, 0];
        let outcome = outcome(&claim, Topic::ALL.map(|topic| Progress::new(&claim, topic)));
        assert_eq!((outcome.waiting_topics, outcome.has_failed()), (Topic::TaskEvents.bit(), false));
    }

    #[test]
    fn a_change_that_cannot_be_read_stops_its_user_after_those_before() {
        let unreadable = Unreadable { stored: json!({"sequence": 2}), error: "archived".into() };
        let mut windows = vec![window(0, vec![change(1, true)])];
        windows[0].unreadable = Some(unreadable);
        let claim = claim([0; 3], 0, windows);
        let mut events = Progress::new(&claim, Topic::TaskEvents);
        assert!(events.next("").is_some());
        events.delivered = 1;
        assert!(events.next("").is_none());
        assert!(events.failed && events.parked.is_empty());
    }

    #[test]
    fn back_off_doubles_up_to_its_cap() {
        let longest = |failures| (0..=60_000).map(|random| backoff(failures, random)).max().unwrap();
        assert_eq!([longest(0), longest(1), longest(3), longest(20)], [250, 500, 2_000, 60_000]);
        assert_eq!(backoff(20, 60_001), 0, "full jitter begins at zero");
    }
}
