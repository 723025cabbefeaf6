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
use crate::dapr::Sidecar;
use crate::error::Error;
use crate::event::Topic;
use crate::log::{self, Level};
use crate::store;
use crate::task::Change;
pub use counts::Counts;
use publishing::Progress;
pub use relay::relay;

pub mod counts;
mod publishing;
mod relay;

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
    /// For how long mutations anywhere may count on this drain; `None`: not at all.
    pub counts_for: Option<Duration>,
    /// What the last [`Claimed::drain_until`] of this drain was, at first 0.
    pub drain_until: i64,
}

/// What one claim has got.
#[derive(Debug)]
pub struct Claimed {
    /// Until when mutations may count on this drain, in microseconds since 1970.
    pub drain_until: i64,
    /// Whether somebody counts on this drain who has not committed yet.
    pub look_again: bool,
    /// The users.
    pub claims: Vec<Claim>,
}

impl Claimed {
    /// How many changes.
    fn changes(&self) -> usize {
        self.claims.iter().map(|claim| claim.changes.len()).sum()
    }
}

/// How many users' changes a route's instance takes at a time: building their events occupies it, and with it the
/// requests that it serves.
const USERS_BESIDE_REQUESTS: usize = 32;

/// How many changes of each of them.
const CHANGES_BESIDE_REQUESTS: i64 = 8;

/// Who has waited for longer than this is no neighbour's request of the moment but a backlog, which is the relay's.
const MOMENT: Duration = Duration::from_secs(1);

/// For how long after a claim mutations may count on a drain: several times what a pass takes. When a pass takes longer, as
/// with a sidecar that hangs, the next mutation begins a drain of its own.
const COUNTS_FOR: Duration = Duration::from_millis(200);

/// How long a drain waits for those who count on it to commit; it doubles each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Shorter than [`COUNTS_FOR`].
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// How often a drain whose sidecar fails takes along who has counted on it, as long as one of them has not committed.
const LAST_LOOKS: usize = 3;

/// So many passes in a row in which nothing got through say that the sidecar is at fault, and not a user's event.
const PASSES_OF_AN_OUTAGE: u32 = 2;

/// How long a drain then waits before it tries again. Whoever changes something meanwhile in its instance shares that attempt,
/// instead of making one of their own.
const OUTAGE_PAUSE: Duration = Duration::from_millis(250);

/// After this long, a pass starts no further publish.
const PUBLISHING_TIME: Duration = Duration::from_secs(5);

/// What settling may take, on top of publishing, before the lease runs out.
const SETTLING_TIME: Duration = store::LONGEST_STATEMENT;

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
    /// Whether the drain goes on with this user until everything is delivered.
    pub own: bool,
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
    /// [`Claim::own`].
    pub own: bool,
    /// [`Claim::last_sequence`].
    pub last_sequence: i64,
    /// By topic: the sequence number up to which everything is delivered now.
    pub delivered: [i64; 3],
    /// The bits of topics that have to be tried again.
    pub blocked_topics: i32,
    /// Milliseconds until then; `None` when nothing failed this time.
    pub retry_after_ms: Option<i64>,
    /// Events that were refused for good.
    pub parked: Vec<Parked>,
}

/// What a pass has done, until it is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// What became of each claim.
    pub outcomes: Vec<Outcome>,
    /// For the metrics; `None`: nothing was done.
    pub counts: Option<Counts>,
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

impl Outcome {
    /// Whether something has to be tried again.
    fn has_failed(&self) -> bool {
        self.retry_after_ms.is_some()
    }

    /// Whether no topic took anything, of those that every change goes to.
    fn got_nowhere(&self) -> bool {
        let topics = Topic::TaskEvents.bit() | Topic::TaskUpdates.bit();
        self.has_failed() && self.blocked_topics & topics == topics
    }
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
    /// Users who have committed something that this instance has not claimed since.
    static WANTED: RefCell<VecDeque<Uuid>> = const { RefCell::new(VecDeque::new()) };
    /// In how many passes in a row nothing got through.
    static FAILED_PASSES: Cell<u32> = const { Cell::new(0) };
}

/// Who delivers what a mutation has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The mutation's own route, for this user, after the response.
    Own(Uuid),
    /// A drain that is under way, in whatever instance.
    Other,
}

/// Delivers what a user has just committed. Never fails: what can't be delivered stays for the relay.
///
/// One drain serves everybody: the requests of its own instance leave their users to it, and mutations elsewhere find it in
/// the database and count on it ([`Delivery::Other`]). So under load claims grow, and publishing turns into bulk calls by
/// itself. It ends when there is nothing left and nobody counts on it. Whatever the size of a backlog, requests have no
/// share in it, and what was changed now does not wait behind it.
pub async fn drain(user: Uuid) {
    want(user);
    let Some(_running) = Running::begin(&DRAINING) else { return };
    if let Err(error) = deliver_wanted().await {
        log::write(Level::Error, "drain stopped", json!({"error": error.to_string()}));
    }
}

async fn deliver_wanted() -> Result<(), Error> {
    let (mut done, mut drain_until, mut pause) = (Done::default(), 0, FIRST_PAUSE);
    // Whether others may count on this drain, and how often it still takes those along who have done so.
    let (mut shares, mut last_looks) = (FAILED_PASSES.get() == 0, 0_usize);
    loop {
        let users = take_wanted();
        let room = USERS_BESIDE_REQUESTS.saturating_sub(users.len());
        let wanted = Wanted {
            users,
            others: if shares || last_looks > 0 { room as i64 } else { 0 },
            waiting_at_most: Some(MOMENT),
            changes: CHANGES_BESIDE_REQUESTS,
            counts_for: shares.then_some(COUNTS_FOR),
            drain_until,
        };
        let claimed;
        (claimed, done) = next_pass("drain", &done, &wanted).await?;
        drain_until = claimed.drain_until;
        let outcomes = &done.outcomes;
        // Another sidecar may be well: nobody is to count on this one any longer.
        let fails = shares && outcomes.iter().any(Outcome::has_failed);
        shares &= !fails;
        last_looks = if fails {
            LAST_LOOKS
        } else if claimed.look_again {
            last_looks.saturating_sub(1)
        } else {
            0
        };
        if is_outage(outcomes) {
            spin_sdk::time::sleep(OUTAGE_PAUSE).await;
        } else if claimed.look_again {
            spin_sdk::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        } else if !outcomes.is_empty() {
            pause = FIRST_PAUSE;
        } else if nobody_wanted() {
            return Ok(());
        }
    }
}

/// Notes whether anything got through. True when nothing has for a while, and a next attempt can wait for more users.
fn is_outage(outcomes: &[Outcome]) -> bool {
    if outcomes.is_empty() {
        return false;
    }
    let failed = outcomes.iter().all(Outcome::got_nowhere);
    FAILED_PASSES.set(if failed { FAILED_PASSES.get().saturating_add(1) } else { 0 });
    let wanted = WANTED.with_borrow(VecDeque::len);
    FAILED_PASSES.get() >= PASSES_OF_AN_OUTAGE && wanted < USERS_BESIDE_REQUESTS
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

fn nobody_wanted() -> bool {
    WANTED.with_borrow(VecDeque::is_empty)
}

/// A pass, for its line in the log: it is about many requests, so the line names none.
fn log_pass(by: &str, claimed: &Claimed, outcomes: &[Outcome], took: Duration) {
    if !log::is_on(Level::Debug) {
        return;
    }
    let fields = json!({
        "by": by,
        "users": claimed.claims.len(),
        "changes": claimed.changes(),
        "failed_users": outcomes.iter().filter(|outcome| outcome.has_failed()).count(),
        "parked_events": outcomes.iter().map(|outcome| outcome.parked.len()).sum::<usize>(),
        "duration_ms": log::milliseconds(took),
    });
    log::write(Level::Debug, "pass ended", fields);
}

/// That something goes on in this instance, until this is dropped, however it ends.
struct Running(&'static LocalKey<Cell<bool>>);

impl Running {
    /// `None` when it goes on already.
    fn begin(flag: &'static LocalKey<Cell<bool>>) -> Option<Running> {
        (!flag.replace(true)).then(|| Running(flag))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Settles the last pass, claims, and publishes. `by` is who does, for the log.
async fn next_pass(by: &str, last: &Done, wanted: &Wanted) -> Result<(Claimed, Done), Error> {
    let (sidecar, source) = (config::sidecar().await?, config::event_source().await?);
    let since = Instant::now();
    let claimed = store::next_pass(last, wanted, lease(sidecar)).await?;
    if claimed.claims.is_empty() {
        log_pass(by, &claimed, &[], since.elapsed());
        return Ok((claimed, Done::default()));
    }
    let (outcomes, mut counts) = publish(&claimed.claims, sidecar, source).await;
    let took = since.elapsed();
    counts.took(took);
    log_pass(by, &claimed, &outcomes, took);
    Ok((claimed, Done { outcomes, counts: Some(counts) }))
}

/// Publishes what was claimed, to the three topics side by side.
async fn publish(claims: &[Claim], sidecar: &Sidecar, source: &str) -> (Vec<Outcome>, Counts) {
    #[cfg(feature = "faults")]
    crate::faults::hold_if(crate::faults::BEFORE_PUBLISH).await;
    let deadline = Instant::now() + PUBLISHING_TIME;
    let [events, updates, reminders] = Topic::ALL.map(async |topic| {
        let turns = 1 + topic as usize;
        give_turns_to_the_host(turns).await;
        publishing::publish(topic, claims, sidecar, source, deadline).await
    });
    let topics: [Vec<Progress<'_>>; 3] = futures::join!(events, updates, reminders).into();
    #[cfg(feature = "faults")]
    {
        crate::faults::hold_if(crate::faults::BEFORE_SETTLE).await;
        crate::faults::stall().await;
    }
    let counts = publishing::counts(&topics);
    let [events, updates, reminders] = topics;
    let progress = events.into_iter().zip(updates).zip(reminders);
    let outcomes = claims
        .iter()
        .zip(progress)
        .map(|(claim, ((events, updates), reminders))| {
            publishing::outcome(claim, [events, updates, reminders])
        })
        .collect();
    (outcomes, counts)
}

/// Lets the host do what it has to do, so many times over.
///
/// The host passes a request on at once, but asks for its body only when it has its next turn. When a component goes on
/// working in between, the head leaves alone, and the body waits for the sidecar's delayed acknowledgement, 40 ms. So each topic
/// begins in a turn of its own, with nothing else to do in it.
async fn give_turns_to_the_host(turns: usize) {
    for _ in 0..turns {
        spin_sdk::wasip3::wit_bindgen::yield_async().await;
    }
}

/// Longer than claiming, publishing and settling can take together, so that no lease runs out under a live publisher.
fn lease(sidecar: &Sidecar) -> Duration {
    PUBLISHING_TIME + sidecar.longest_publish() + SETTLING_TIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_goes_on_at_a_time() {
        let running = Running::begin(&DRAINING);
        assert!(running.is_some());
        for _ in 0..2 {
            assert!(Running::begin(&DRAINING).is_none(), "an attempt must not end what goes on");
        }
        drop(running);
        assert!(Running::begin(&DRAINING).is_some());
    }

    #[test]
    fn a_lease_outlives_the_longest_pass() {
        let sidecar = Sidecar::new(String::new(), String::new(), "", Duration::from_millis(2_000));
        assert!(lease(&sidecar) > PUBLISHING_TIME + sidecar.longest_publish());
    }
}
