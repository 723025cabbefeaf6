//! What was broken, and when.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::faults::Fault;

/// For how long after its end a fault may still show: connections that it cut are noticed when they are next used.
const AFTERMATH: Duration = Duration::from_secs(1);

/// One time during which one thing was broken, or none.
pub(crate) struct Phase {
    /// `None`: all is well.
    pub(crate) fault: Option<Fault>,
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
}

/// What happened, and when.
#[derive(Default)]
pub(crate) struct Timeline {
    /// Without gaps in between; the first is calm.
    pub(crate) phases: Vec<Phase>,
    /// Faults that lasted beside these phases.
    pub(crate) beside: Vec<Phase>,
    /// Calls of a relay that were not answered with 200.
    pub(crate) relay_failures: Vec<String>,
}

impl Timeline {
    /// From the end of the last phase until now.
    pub(crate) fn add(&mut self, fault: Option<Fault>, started: Instant) {
        self.phases.push(Phase { fault, started, ended: Instant::now() });
    }

    /// Adds a fault that lasted beside other phases.
    pub(crate) fn add_beside(&mut self, fault: Fault, started: Instant) {
        self.beside.push(Phase { fault: Some(fault), started, ended: Instant::now() });
    }

    /// Every fault, once for each time that it came.
    pub(crate) fn all_faults(&self) -> impl Iterator<Item = Fault> + '_ {
        self.phases.iter().chain(&self.beside).filter_map(|phase| phase.fault)
    }

    /// The faults that something between these instants can be due to.
    pub(crate) fn faults(&self, started: Instant, ended: Instant) -> impl Iterator<Item = Fault> + '_ {
        self.phases
            .iter()
            .chain(&self.beside)
            .filter(move |phase| started <= phase.ended + AFTERMATH && ended >= phase.started)
            .filter_map(|phase| phase.fault)
    }

    /// The phase during which this instant lies. During a calm phase, a fault that lasts beside it counts.
    pub(crate) fn at(&self, instant: Instant) -> Option<&Phase> {
        let find = |phases: &'_ [Phase]| {
            phases.iter().position(|phase| (phase.started..phase.ended).contains(&instant))
        };
        let phase = self.phases.get(find(&self.phases)?)?;
        let beside = find(&self.beside).and_then(|position| self.beside.get(position));
        Some(if phase.fault.is_none() { beside.unwrap_or(phase) } else { phase })
    }

    /// The calm at the beginning by the clock, in milliseconds since 1970; empty when there was none.
    pub(crate) fn baseline(&self) -> Range<i64> {
        let Some(first) = self.phases.first() else { return 0..0 };
        clock(first.started)..clock(first.ended)
    }

    /// Whether this instant is in the calm at the beginning: what the other phases are compared with.
    pub(crate) fn is_baseline(&self, instant: Instant) -> bool {
        self.phases.first().is_some_and(|first| (first.started..first.ended).contains(&instant))
    }
}

/// What the clock showed then, in milliseconds since 1970.
pub(crate) fn clock(instant: Instant) -> i64 {
    let time = SystemTime::now().checked_sub(instant.elapsed());
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
