//! How long things are broken, and how long the calm in between lasts.

use std::time::Duration;

/// Runs shorter than this are brief in everything.
const LONG: Duration = Duration::from_secs(5 * 60);

/// Ranges are in milliseconds.
pub(super) struct Pace {
    /// Before anything is measured, while everything is still being loaded.
    pub(super) warm_up: Duration,
    /// The calm at the beginning, which the other phases are compared with.
    pub(super) baseline: Duration,
    /// Between two faults.
    pub(super) calm: (u64, u64),
    /// How long a sidecar or a broker hangs. A publish gives up after 2 s.
    pub(super) hang: (u64, u64),
    /// How long a part is down.
    pub(super) down: (u64, u64),
}

impl Pace {
    /// In a short run, each kind of fault has to come within two minutes.
    pub(super) fn of(run: Duration) -> Self {
        if run < LONG {
            Self {
                warm_up: Duration::from_secs(5),
                baseline: Duration::from_secs(8),
                calm: (500, 1_500),
                hang: (4_000, 7_000),
                down: (300, 2_000),
            }
        } else {
            Self {
                warm_up: Duration::from_secs(15),
                baseline: Duration::from_secs(15),
                calm: (3_000, 6_000),
                hang: (5_000, 20_000),
                down: (500, 5_000),
            }
        }
    }
}
