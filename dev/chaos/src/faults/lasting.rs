//! Faults that last for 20 s, beside which others come.

use std::time::{Duration, Instant};

use stack::Process;

use super::kind::{Fault, Kind};
use crate::timeline::Timeline;

/// How long a session holds a snapshot or a transaction. A stalled publisher stands still for 17 s; its lease ends after 14 s.
pub(super) const LASTS: Duration = Duration::from_secs(20);

struct Lasting {
    fault: Fault,
    started: Instant,
    session: Option<Process>,
}

impl Lasting {
    /// A session ends by itself.
    fn is_over(&self) -> bool {
        match &self.session {
            Some(session) => !session.is_running(),
            None => self.started.elapsed() >= LASTS,
        }
    }
}

/// Those that have begun and are not over.
#[derive(Default)]
pub(super) struct LastingFaults(Vec<Lasting>);

impl LastingFaults {
    /// A fault that has begun at that instant; a session of the database that goes on for as long, if there is one.
    pub(super) fn add(&mut self, fault: Fault, started: Instant, session: Option<Process>) {
        self.0.push(Lasting { fault, started, session });
    }

    /// Whether this kind would end one of them before its time.
    pub(super) fn forbid(&self, kind: Kind) -> bool {
        self.0.iter().any(|lasting| kind.ends(lasting.fault.kind))
    }

    /// Writes down those that are over. Whether none is left.
    pub(super) fn settle(&mut self, timeline: &mut Timeline) -> bool {
        for over in self.0.extract_if(.., |lasting| lasting.is_over()) {
            timeline.add_beside(over.fault, over.started);
        }
        self.0.is_empty()
    }
}
