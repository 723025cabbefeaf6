//! Passes: settle the previous one, claim, publish.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{drain, publishing};
use crate::config;
use crate::counts::Counts;
use crate::dapr::Sidecar;
use crate::delivery::{Claim, Claimed, Done, Outcome, Settled, Wanted};
use crate::error::Error;
use crate::event::Topic;
use crate::log::{self, Level};
use crate::store;
use publishing::Progress;

/// After this long, counted from before its claim, a pass starts no further publish.
const PUBLISHING_TIME: Duration = Duration::from_secs(5);

/// Time for settling, after publishing, before the lease runs out.
const SETTLING_TIME: Duration = store::LONGEST_STATEMENT;

/// First pause before settling is tried again; it doubles each time.
const FIRST_SETTLING_PAUSE: Duration = Duration::from_millis(250);

/// The passes of a drain or a relay, one after the other.
pub(super) struct Passes {
    /// Who makes them, for the log.
    by: &'static str,
    /// What the last pass has done, until it is settled.
    done: Option<Done>,
}

impl Passes {
    /// `by` is who makes them, for the log.
    pub(super) fn new(by: &'static str) -> Passes {
        Passes { by, done: None }
    }

    /// Settles the last pass, claims, and publishes.
    ///
    /// Errors: those of the database. What was published is settled all the same, as long as the lease lasts.
    pub(super) async fn next(&mut self, wanted: &Wanted) -> Result<Claimed, Error> {
        let (sidecar, source) = (config::sidecar().await?, config::event_source().await?);
        let lease = lease(sidecar);
        // The lease begins later, when the database has the claim.
        let began = Instant::now();
        let last = self.done.take();
        let claimed = match store::next_pass(last.as_ref(), wanted, lease).await {
            Ok(claimed) => claimed,
            Err(error) => {
                last.into_iter().for_each(settle_apart);
                return Err(error);
            }
        };
        if let Some(last) = last {
            await_locked_rows(last, &claimed.unsettled);
        }
        let (mut outcomes, mut counts) = (Vec::new(), Counts::default());
        if !claimed.claims.is_empty() {
            (outcomes, counts) = publish(&claimed.claims, sidecar, source, began + PUBLISHING_TIME).await;
        }
        let took = began.elapsed();
        counts.took(took);
        log_pass(self.by, &claimed, &outcomes, took);
        if !outcomes.is_empty() {
            self.done = Some(Done { outcomes, counts: Some(counts), leased_until: began + lease });
        }
        Ok(claimed)
    }

    /// What became of the last pass's claims. The next pass settles it.
    pub(super) fn outcomes(&self) -> &[Outcome] {
        self.done.as_ref().map_or(&[], |done| &done.outcomes)
    }

    /// Settles the last pass, without another one.
    pub(super) fn end(self) {
        self.done.into_iter().for_each(settle_apart);
    }
}

/// Settles what a pass has done beside everything else.
fn settle_apart(done: Done) {
    spin_sdk::wasip3::spawn(async move {
        if let Some(settled) = settle_in_time(&done, false).await {
            await_locked_rows(done, &settled.unsettled);
        }
    });
}

/// Settles users whose row another session has locked, each by a statement of its own, which waits for the row. So a row that
/// stays locked holds up nobody else.
fn await_locked_rows(done: Done, unsettled: &[uuid::Uuid]) {
    let Done { mut outcomes, leased_until, .. } = done;
    outcomes.retain(|outcome| unsettled.contains(&outcome.user_id));
    for outcome in outcomes {
        let done = Done { outcomes: vec![outcome], counts: None, leased_until };
        spin_sdk::wasip3::spawn(async move {
            settle_in_time(&done, true).await;
        });
    }
}

/// Settles what a pass has done, and tries again as long as its lease lasts: what is not settled by then is published again, and
/// the result is `None`. A drain goes on with users who have more to deliver.
async fn settle_in_time(done: &Done, waits: bool) -> Option<Settled> {
    let mut pause = FIRST_SETTLING_PAUSE;
    loop {
        match store::settle(done, waits).await {
            Ok(settled) => {
                go_on(&settled);
                return Some(settled);
            }
            Err(error) if Instant::now() + pause > done.leased_until => {
                log::write(Level::Error, "events are repeated", json!({"error": error.to_string()}));
                return None;
            }
            Err(_) => spin_sdk::time::sleep(pause).await,
        }
        pause *= 2;
    }
}

fn go_on(settled: &Settled) {
    for user in settled.goes_on.iter().copied() {
        spin_sdk::wasip3::spawn(drain(user));
    }
}

/// Publishes what was claimed, to the three topics side by side.
async fn publish(
    claims: &[Claim],
    sidecar: &Sidecar,
    source: &str,
    deadline: Instant,
) -> (Vec<Outcome>, Counts) {
    #[cfg(feature = "faults")]
    crate::faults::hold_if(crate::faults::BEFORE_PUBLISH).await;
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

/// Longer than publishing, counted from before the claim, and settling can take together: no lease runs out under a live
/// publisher.
pub(super) fn lease(sidecar: &Sidecar) -> Duration {
    PUBLISHING_TIME + sidecar.longest_publish() + SETTLING_TIME
}

/// Writes a pass into the log: it is about many requests, so the line names none.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_outlives_the_longest_pass() {
        let sidecar = Sidecar::new(String::new(), String::new(), "", Duration::from_millis(2_000));
        assert!(lease(&sidecar) >= PUBLISHING_TIME + sidecar.longest_publish() + store::LONGEST_STATEMENT);
    }
}
