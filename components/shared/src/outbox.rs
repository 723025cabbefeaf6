//! The transactional outbox: claim, publish, settle.
//!
//! A mutation commits its change together with the task. A drain, in whatever process, first leases users who have something
//! to deliver, publishes their changes in sequence, and then records how far it got. A crash in between leaves the rest to
//! the next drain; what was published but not recorded is published again, as the same bytes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::thread::LocalKey;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use crate::delivery::{Claimed, GRACE, Outcome, Promise, Wanted};
use crate::error::Error;
use crate::log::{self, Level};
use crate::store;
use passes::Passes;
pub use relay::relay;

mod passes;
mod publishing;
mod relay;

/// Largest number of users whose changes a route's instance takes at a time: building their events occupies it, and with it
/// the requests that it serves.
const USERS_BESIDE_REQUESTS: usize = 32;

/// Largest number of changes of each of them.
const CHANGES_BESIDE_REQUESTS: i64 = 8;

/// A user who has waited for longer than this is no neighbor's request of the moment but a backlog, which is the relay's.
const MOMENT: Duration = Duration::from_secs(1);

/// First pause of a drain that waits for mutations to commit; it doubles each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Longest pause of such a drain.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// So many passes in a row in which nothing got through say that the sidecar is at fault, and not a user's event.
const PASSES_OF_AN_OUTAGE: u32 = 2;

/// How long a drain then waits before it tries again. Mutations in its instance share that attempt, instead of making one of
/// their own.
const OUTAGE_PAUSE: Duration = Duration::from_millis(250);

thread_local! {
    static DRAINING: Cell<bool> = const { Cell::new(false) };
    /// Users who have committed something that this instance has not claimed since.
    static QUEUED_USERS: RefCell<VecDeque<Uuid>> = const { RefCell::new(VecDeque::new()) };
    /// In how many passes in a row nothing got through.
    static FAILED_PASSES: Cell<u32> = const { Cell::new(0) };
}

/// Delivers what a user has just committed. Never fails: what can't be delivered stays for the relay.
///
/// One drain serves all: the requests of its own instance leave their users to it, and mutations elsewhere find its promise in
/// the database and rely on it. So under load claims grow, and publishing turns into bulk calls by itself. The drain ends when
/// nothing is left and no mutation relies on it. Whatever the size of a backlog, requests have no share in it, and what was
/// changed now does not wait behind it.
pub async fn drain(user: Uuid) {
    queue(user);
    let Some(_running) = Running::begin(&DRAINING) else { return };
    let mut drain = Drain::begin();
    loop {
        match drain.pass().await {
            Ok(Next::Pass) => {}
            Ok(Next::PassAfter(pause)) => spin_sdk::time::sleep(pause).await,
            Ok(Next::End) => return,
            Err(error) => {
                return log::write(Level::Error, "drain stopped", json!({"error": error.to_string()}));
            }
        }
    }
}

/// A drain between two of its passes.
struct Drain {
    passes: Passes,
    promise: Promise,
    /// When the promise was withdrawn, as long as mutations may be running that relied on it.
    withdrawn_at: Option<Instant>,
    /// When the last claim began that had room for everybody: changes committed before it are claimed.
    claimed_all_at: Instant,
    /// When a pass last claimed something.
    last_progress: Instant,
    /// Users whom the last claim left out, because it was full or another session had locked their row.
    left: Vec<Uuid>,
    pause: Duration,
}

/// What a drain does next.
enum Next {
    Pass,
    PassAfter(Duration),
    End,
}

impl Drain {
    fn begin() -> Drain {
        let now = Instant::now();
        // Another sidecar may be well: as long as this one is not, no mutation is to rely on this drain.
        let promises = FAILED_PASSES.get() == 0;
        Drain {
            passes: Passes::new("drain"),
            promise: Promise { promises, promised_until: Some(0), running: Vec::new() },
            withdrawn_at: None,
            claimed_all_at: now,
            last_progress: now,
            left: Vec::new(),
            pause: FIRST_PAUSE,
        }
    }

    async fn pass(&mut self) -> Result<Next, Error> {
        let began = Instant::now();
        let mut users = std::mem::take(&mut self.left);
        users.extend(take_queued());
        let others = self.promise.promises || self.promise.is_owed();
        let wanted = Wanted {
            users,
            limit: USERS_BESIDE_REQUESTS,
            others,
            // All who have relied on this drain since a claim had room for them, however long passes take.
            waiting_at_most: Some(MOMENT + self.claimed_all_at.elapsed()),
            changes: CHANGES_BESIDE_REQUESTS,
            promise: self.promise.clone(),
        };
        let claimed = match self.passes.next(&wanted).await {
            Ok(claimed) => claimed,
            Err(error) => {
                // For the instance's next drain.
                wanted.users.into_iter().for_each(queue);
                return Err(error);
            }
        };
        if others && claimed.claims.len() < USERS_BESIDE_REQUESTS {
            self.claimed_all_at = began;
        }
        self.note_promise(&claimed, began);
        self.left = claimed.left;
        self.promise.promises &= !self.passes.outcomes().iter().any(Outcome::has_failed);
        Ok(self.next())
    }

    /// Notes what became of the promise in a pass that began at that instant.
    fn note_promise(&mut self, claimed: &Claimed, began: Instant) {
        self.promise.promised_until = claimed.promised_until;
        self.promise.running.clone_from(&claimed.running);
        if claimed.running.is_empty() {
            self.withdrawn_at = None;
        } else if self.withdrawn_at.is_some_and(|withdrawn_at| began > withdrawn_at + GRACE) {
            // Every mutation that relied on the promise had committed before this claim. Others may run for as long as
            // they like.
            self.withdrawn_at = None;
            self.promise.running.clear();
        } else {
            self.withdrawn_at.get_or_insert_with(Instant::now);
        }
    }

    fn next(&mut self) -> Next {
        let outcomes = self.passes.outcomes();
        if !outcomes.is_empty() {
            self.last_progress = Instant::now();
            self.pause = FIRST_PAUSE;
            return if is_outage(outcomes) { Next::PassAfter(OUTAGE_PAUSE) } else { Next::Pass };
        }
        if self.withdrawn_at.is_some() || self.waits_for_rows() {
            let pause = self.pause;
            self.pause = (2 * pause).min(LONGEST_PAUSE);
            Next::PassAfter(pause)
        } else if nobody_queued() {
            Next::End
        } else {
            Next::Pass
        }
    }

    /// Whether rows are locked that will soon be free. A mutation locks its user's row, but no longer than a statement may
    /// take; what another session locks for longer is left to the relay.
    fn waits_for_rows(&self) -> bool {
        !self.left.is_empty() && self.last_progress.elapsed() < store::LONGEST_STATEMENT
    }
}

/// Notes whether anything got through in a pass. True when nothing has for a while, and a next attempt can wait for more users.
fn is_outage(outcomes: &[Outcome]) -> bool {
    let failed = outcomes.iter().all(Outcome::got_nowhere);
    FAILED_PASSES.set(if failed { FAILED_PASSES.get().saturating_add(1) } else { 0 });
    let queued = QUEUED_USERS.with_borrow(VecDeque::len);
    FAILED_PASSES.get() >= PASSES_OF_AN_OUTAGE && queued < USERS_BESIDE_REQUESTS
}

fn queue(user: Uuid) {
    QUEUED_USERS.with_borrow_mut(|queued| {
        if !queued.contains(&user) {
            queued.push_back(user);
        }
    });
}

fn take_queued() -> Vec<Uuid> {
    QUEUED_USERS.with_borrow_mut(|queued| queued.drain(..queued.len().min(USERS_BESIDE_REQUESTS)).collect())
}

fn nobody_queued() -> bool {
    QUEUED_USERS.with_borrow(VecDeque::is_empty)
}

/// Marks that something goes on in this instance, until it is dropped.
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
}
