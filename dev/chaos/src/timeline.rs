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

/// Phases without gaps in between; the first is calm.
#[derive(Default)]
pub(crate) struct Timeline {
    pub(crate) phases: Vec<Phase>,
}

impl Timeline {
    /// From the end of the last phase until now.
    pub(crate) fn add(&mut self, fault: Option<Fault>, started: Instant) {
        self.phases.push(Phase { fault, started, ended: Instant::now() });
    }

    /// The faults that something between these instants can be due to.
    pub(crate) fn faults(&self, started: Instant, ended: Instant) -> impl Iterator<Item = Fault> + '_ {
        self.phases
            .iter()
            .filter(move |phase| started <= phase.ended + AFTERMATH && ended >= phase.started)
            .filter_map(|phase| phase.fault)
    }

    /// The phase during which this instant lies.
    pub(crate) fn at(&self, instant: Instant) -> Option<&Phase> {
        self.phases.iter().find(|phase| (phase.started..phase.ended).contains(&instant))
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
