//! What is promised about the API: its clients notice nothing of a sidecar or a broker that fails, and of a database
//! that restarts only 503.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::faults::Kind;
use crate::mutation::{Mutation, Outcome};
use crate::timeline::Timeline;

/// How much slower the API may be at the 99th percentile while events can't be delivered.
const SLOWER: Duration = Duration::from_millis(10);

/// What clients saw during one kind of phase.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) calls: usize,
    pub(crate) unavailable: usize,
    pub(crate) failed: usize,
    /// Of the calls that were answered as they should be, in order.
    times: Vec<Duration>,
}

impl Seen {
    /// The time within which so many of a hundred calls were answered.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.times.len() * percent).div_ceil(100).saturating_sub(1);
        self.times.get(rank).copied().unwrap_or_default()
    }
}

/// When.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// At the beginning: what the others are compared with.
    Calm,
    /// Between two faults.
    Between,
    During(Kind),
}

/// What was found.
pub(crate) struct Service {
    pub(crate) seen: BTreeMap<When, Seen>,
    /// Failures that no fault at the time excuses.
    pub(crate) failures: Vec<String>,
    /// Phases in which the API was slower than it may be.
    pub(crate) slow: Vec<String>,
}

/// `timed`: whether being slower breaks a promise.
pub(crate) fn check(mutations: &[Mutation], timeline: &Timeline, timed: bool) -> Service {
    let mut service = Service { seen: BTreeMap::new(), failures: Vec::new(), slow: Vec::new() };
    for mutation in mutations {
        // Before the baseline, while everything is still being loaded, nothing is measured.
        if let Some(when) = when(mutation.started, timeline) {
            service.count(mutation, when);
        }
        if let Some(failure) = failure(mutation, timeline) {
            service.failures.push(failure);
        }
    }
    service.seen.values_mut().for_each(|seen| seen.times.sort_unstable());
    if timed {
        service.compare();
    }
    service
}

impl Service {
    fn count(&mut self, mutation: &Mutation, when: When) {
        let seen = self.seen.entry(when).or_default();
        seen.calls += 1;
        match mutation.outcome {
            Outcome::Acknowledged { .. } => seen.times.push(mutation.took),
            Outcome::Refused => {}
            Outcome::Unavailable => seen.unavailable += 1,
            Outcome::NotSent | Outcome::Failed(_) => seen.failed += 1,
        }
    }

    fn compare(&mut self) {
        let calm = self.seen.get(&When::Calm).map(|seen| seen.percentile(99)).unwrap_or_default();
        for (when, seen) in &self.seen {
            let When::During(kind) = when else { continue };
            let p99 = seen.percentile(99);
            if kind.spares_api() && p99 > calm + SLOWER {
                self.slow.push(format!("{kind}: p99 {p99:.1?}, when calm {calm:.1?}"));
            }
        }
    }
}

fn when(instant: Instant, timeline: &Timeline) -> Option<When> {
    if timeline.is_baseline(instant) {
        return Some(When::Calm);
    }
    timeline.at(instant).map(|phase| phase.fault.map_or(When::Between, |fault| When::During(fault.kind)))
}

/// `None` when the call was answered as it should be, or when something that was broken at the time excuses it.
fn failure(mutation: &Mutation, timeline: &Timeline) -> Option<String> {
    let what = match &mutation.outcome {
        Outcome::Acknowledged { .. } | Outcome::Refused => return None,
        Outcome::Unavailable => "503",
        Outcome::NotSent => "no connection",
        Outcome::Failed(error) => error,
    };
    let mut faults = timeline.faults(mutation.started, mutation.started + mutation.took);
    let excused = faults.any(|fault| match mutation.outcome {
        Outcome::Unavailable => fault.kind == Kind::RestartPostgres,
        _ => fault.kind.kills_host() && fault.replica == mutation.replica,
    });
    let during = timeline.at(mutation.started).and_then(|phase| phase.fault);
    let during = during.map_or("nothing was broken".to_owned(), |fault| fault.kind.to_string());
    let Mutation { action, correlation, replica, .. } = mutation;
    (!excused).then(|| format!("{} {correlation} on replica {replica}, {during}: {what}", action.name()))
}
