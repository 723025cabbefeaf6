//! The transactional outbox: claim, publish, settle.
//!
//! A mutation commits its change together with the task. Whoever drains, in whatever process, first leases users who have
//! something to deliver, publishes their changes in sequence, and then records how far it got. A crash anywhere in
//! between leaves the rest to the next drain; what was published but not recorded is published again, as the same bytes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::thread::LocalKey;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use crate::config;
use crate::dapr::{Failure, Message, Sidecar};
use crate::error::Error;
use crate::event::{Envelope, Topic, envelope};
use crate::log::{self, Level};
use crate::store;
use crate::task::Change;

/// What one claim takes at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// These users, as far as they have something to deliver and nobody else has leased them.
    pub users: Vec<Uuid>,
    /// And so many others, those first who have waited longest.
    pub others: i64,
    /// Only those others who have waited no longer than this.
    pub waiting_at_most: Option<Duration>,
    /// How many changes of each user.
    pub changes: i64,
}

/// How many users' changes a route's instance takes at a time: building their events occupies it, and with it the
/// requests that it serves.
const USERS_BESIDE_REQUESTS: usize = 16;

/// How many changes of each of them.
const CHANGES_BESIDE_REQUESTS: i64 = 8;

/// Who has waited for longer than this is no neighbour's request of the moment but a backlog, which is the relay's.
const MOMENT: Duration = Duration::from_secs(1);

/// How many users the relay takes at a time. It serves nobody who waits.
const USERS_OF_RELAY: i64 = 256;

/// How many changes of each of them.
const CHANGES_OF_RELAY: i64 = 32;

/// How many requeued events a relay's call tries.
const REQUEUED_PER_CALL: i64 = 32;

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
    /// The sequence number of the user's newest change, which may not be among [`Claim::changes`].
    pub last_sequence: i64,
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
    /// Events that were refused for good.
    pub parked: Vec<Parked>,
}

/// An event that was refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The user's change.
    pub sequence: i64,
    /// The topic that refused it.
    pub topic: Topic,
    /// Why.
    pub error: String,
}

/// A parked event that is to be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requeued {
    /// Its number among the parked events.
    pub id: i64,
    /// The topic that refused it.
    pub topic: Topic,
    /// Its change.
    pub change: Change,
}

thread_local! {
    static DRAINING: Cell<bool> = const { Cell::new(false) };
    static RELAYING: Cell<bool> = const { Cell::new(false) };
    /// Users who have committed something that this instance has not claimed since.
    static WANTED: RefCell<VecDeque<Uuid>> = const { RefCell::new(VecDeque::new()) };
}

/// Delivers what a user has just committed. Never fails: what can't be delivered stays for the relay.
///
/// The requests of an instance share one drain. One that finds it running leaves its user to it; and a drain takes along
/// what other instances' requests have just committed. So under load claims grow, and publishing turns into bulk calls by
/// itself. Whatever the size of a backlog, requests have no share in it, and what was changed now does not wait behind it.
pub async fn drain(user: Uuid) {
    want(user);
    let Some(_running) = Running::begin(&DRAINING) else { return };
    loop {
        let users = take_wanted();
        if users.is_empty() {
            return;
        }
        let others = USERS_BESIDE_REQUESTS.saturating_sub(users.len()) as i64;
        let wanted =
            Wanted { users, others, waiting_at_most: Some(MOMENT), changes: CHANGES_BESIDE_REQUESTS };
        match pass(wanted).await {
            Ok(passed) => passed.unfinished.into_iter().for_each(want),
            Err(error) => {
                return log::write(Level::Error, "drain stopped", json!({"error": error.to_string()}));
            }
        }
    }
}

fn want(user: Uuid) {
    WANTED.with_borrow_mut(|wanted| {
        if !wanted.contains(&user) {
            wanted.push_back(user);
        }
    });
}

fn take_wanted() -> Vec<Uuid> {
    WANTED.with_borrow_mut(|wanted| wanted.drain(..wanted.len().min(USERS_BESIDE_REQUESTS)).collect())
}

/// Delivers what a crash or an outage has left, and parked events that are to be tried again, for as long as `limit`
/// allows a further pass to begin. Returns how many changes were claimed. A call that finds another one at work in its
/// instance leaves the work to it; calls elsewhere share the work: each claims other users.
pub async fn relay(limit: Duration) -> Result<usize, Error> {
    let Some(_running) = Running::begin(&RELAYING) else { return Ok(0) };
    let deadline = Instant::now() + limit;
    publish_requeued().await?;
    let mut changes = 0;
    loop {
        let wanted = Wanted {
            users: Vec::new(),
            others: USERS_OF_RELAY,
            waiting_at_most: None,
            changes: CHANGES_OF_RELAY,
        };
        let passed = pass(wanted).await?;
        changes += passed.changes;
        let more = passed.users == USERS_OF_RELAY || passed.more;
        if !more || Instant::now() >= deadline {
            return Ok(changes);
        }
    }
}

/// That something goes on in this instance, until this is dropped, however it ends.
struct Running(&'static LocalKey<Cell<bool>>);

impl Running {
    /// `None` when it goes on already.
    fn begin(flag: &'static LocalKey<Cell<bool>>) -> Option<Running> {
        (!flag.replace(true)).then_some(Running(flag))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// What one pass did.
struct Passed {
    /// How many users were claimed.
    users: i64,
    /// How many of their changes.
    changes: usize,
    /// Whether one of them has more to deliver and can be claimed again at once.
    more: bool,
    /// Those of them whom this drain has to go on with: it was asked for them, or more came meanwhile, and whoever brought
    /// it found them leased.
    unfinished: Vec<Uuid>,
}

/// One claim, published and settled.
async fn pass(wanted: Wanted) -> Result<Passed, Error> {
    let (sidecar, source) = (config::sidecar().await?, config::event_source().await?);
    let claims = store::claim_changes(&wanted, lease(sidecar)).await?;
    if claims.is_empty() {
        return Ok(Passed { users: 0, changes: 0, more: false, unfinished: Vec::new() });
    }
    #[cfg(feature = "faults")]
    crate::faults::hold_if(crate::faults::BEFORE_PUBLISH).await;
    let deadline = Instant::now() + PUBLISHING_TIME;
    let [events, updates, reminders] =
        Topic::ALL.map(|topic| publish(topic, &claims, sidecar, source, deadline));
    let (events, updates, reminders) = futures::join!(events, updates, reminders);
    #[cfg(feature = "faults")]
    {
        crate::faults::hold_if(crate::faults::BEFORE_SETTLE).await;
        crate::faults::stall().await;
    }
    let progress = events.into_iter().zip(updates).zip(reminders);
    let outcomes: Vec<_> = claims
        .iter()
        .zip(progress)
        .map(|(claim, ((events, updates), reminders))| outcome(claim, [events, updates, reminders]))
        .collect();
    let unfinished = store::settle_changes(&outcomes).await?;
    let more = !unfinished.is_empty();
    let came_meanwhile = |user: Uuid, last_sequence: i64| {
        claims.iter().any(|claim| claim.user_id == user && claim.last_sequence < last_sequence)
    };
    let unfinished = unfinished
        .into_iter()
        .filter(|(user, last_sequence)| wanted.users.contains(user) || came_meanwhile(*user, *last_sequence))
        .map(|(user, _)| user)
        .collect();
    let changes = claims.iter().map(|claim| claim.changes.len()).sum();
    Ok(Passed { users: claims.len() as i64, changes, more, unfinished })
}

/// Longer than claiming, publishing and settling can take together, so that no lease runs out under a live publisher.
fn lease(sidecar: &Sidecar) -> Duration {
    PUBLISHING_TIME + sidecar.longest_publish() + SETTLING_TIME
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

/// How far a user got on one topic.
struct Progress<'a> {
    claim: &'a Claim,
    topic: Topic,
    delivered: i64,
    failed: bool,
    parked: Vec<Parked>,
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
                Err(failure) => user.fail(change, event.event_type, failure),
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
        Progress { claim, topic, delivered, failed: false, parked: Vec::new() }
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
fn log_failure(change: &Change, topic: Topic, event_type: &str, attempt: i32, failure: &Failure) {
    let (message, error) = match failure {
        Failure::Retry(error) => ("event not published", error),
        Failure::Reject(error) => ("event parked", error),
    };
    let fields = json!({
        "event_type": event_type,
        "task_id": change.task_id,
        "topic": topic.name(),
        "sequence": change.sequence,
        "correlation_id": change.trace.correlation_id,
        "attempt": attempt,
        "error": error,
    });
    log::write(Level::Error, message, fields);
}

fn outcome(claim: &Claim, topics: [Progress<'_>; 3]) -> Outcome {
    let failed: i32 = topics.iter().filter(|topic| topic.failed).map(|topic| topic.topic.bit()).sum();
    Outcome {
        user_id: claim.user_id,
        lease_token: claim.lease_token,
        delivered: topics.each_ref().map(|topic| topic.delivered),
        parked: topics.into_iter().flat_map(|topic| topic.parked).collect(),
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
        Claim {
            user_id: Uuid::nil(),
            lease_token: 1,
            last_sequence: 9,
            delivered,
            attempts: 0,
            waiting_topics,
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

    #[test]
    fn a_lease_outlives_the_longest_pass() {
        let sidecar = Sidecar::new(String::new(), String::new(), "", Duration::from_millis(2_000));
        assert!(lease(&sidecar) > PUBLISHING_TIME + sidecar.longest_publish());
    }
}
