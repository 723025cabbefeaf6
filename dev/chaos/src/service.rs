//! What is promised about the API: its clients notice nothing of a sidecar or a broker that fails, and of a database
//! that restarts only 503.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::faults::Kind;
use crate::mutation::{Mutation, Outcome};
use crate::timeline::{Phase, Timeline};

/// How much slower the API may be at the 99th percentile while events can't be delivered.
const SLOWER: Duration = Duration::from_millis(10);

/// What clients saw during one kind of phase.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) calls: usize,
    pub(crate) unavailable: usize,
    pub(crate) failed: usize,
    /// Of the calls that were answered as they should be: by when the phase began.
    times: BTreeMap<Instant, Vec<Duration>>,
}

impl Seen {
    /// The time within which so many of a hundred calls were answered, in the median phase of its kind: what else the
    /// machine did during one of them does not count.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut phases: Vec<_> = self.times.values().map(|times| percentile(times, percent)).collect();
        phases.sort_unstable();
        phases.get(phases.len() / 2).copied().unwrap_or_default()
    }

    /// In the slowest phase of its kind.
    pub(crate) fn worst_percentile(&self, percent: usize) -> Duration {
        self.times.values().map(|times| percentile(times, percent)).max().unwrap_or_default()
    }
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
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
        if let Some(phase) = timeline.at(mutation.started) {
            service.count(mutation, phase, when(phase, timeline));
        }
        if let Some(failure) = failure(mutation, timeline) {
            service.failures.push(failure);
        }
    }
    if timed {
        service.compare();
    }
    service
}

impl Service {
    fn count(&mut self, mutation: &Mutation, phase: &Phase, when: When) {
        let seen = self.seen.entry(when).or_default();
        seen.calls += 1;
        match mutation.outcome {
            Outcome::Acknowledged { .. } => seen.times.entry(phase.started).or_default().push(mutation.took),
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

fn when(phase: &Phase, timeline: &Timeline) -> When {
    if timeline.is_baseline(phase.started) {
        return When::Calm;
    }
    phase.fault.map_or(When::Between, |fault| When::During(fault.kind))
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
        Outcome::Unavailable => fault.kind.ends_postgres(),
        _ => fault.kind.kills_host() && fault.replica == mutation.replica,
    });
    let during = timeline.at(mutation.started).and_then(|phase| phase.fault);
    let during = during.map_or("nothing was broken".to_owned(), |fault| fault.kind.to_string());
    let Mutation { action, correlation, replica, .. } = mutation;
    (!excused).then(|| format!("{} {correlation} on replica {replica}, {during}: {what}", action.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_phase_of_three_is_the_worst_and_not_the_typical_one() {
        let (start, millis) = (Instant::now(), Duration::from_millis);
        let phase = |number: u64, took: u64| (start + millis(number), vec![millis(1), millis(took)]);
        let seen = Seen { times: [phase(0, 9), phase(1, 80), phase(2, 7)].into(), ..Seen::default() };
        assert_eq!((seen.percentile(99), seen.worst_percentile(99)), (millis(9), millis(80)));
    }
}
