//! Looks again and again, while the run goes on, whether tasks and their changes are of one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use stack::{Atomicity, System};

/// Pause between two looks. A change is in the outbox for a moment only, or for as long as something is broken.
const PAUSE: Duration = Duration::from_millis(500);

/// The oracle at work.
pub(crate) struct Oracle {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Atomicity>,
}

impl Oracle {
    pub(crate) fn start(system: &System) -> Self {
        let (stopped, url) = (Arc::new(AtomicBool::new(false)), system.database_url().to_owned());
        let seen = Arc::clone(&stopped);
        let thread = thread::spawn(move || {
            let mut all = Atomicity::default();
            while !seen.load(Ordering::Relaxed) {
                // PostgreSQL may be one of the things that are broken.
                if let Ok(look) = Atomicity::look(&url) {
                    all.compared += look.compared;
                    all.torn.extend(look.torn);
                }
                thread::sleep(PAUSE);
            }
            all
        });
        Self { stopped, thread }
    }

    /// All looks together.
    pub(crate) fn stop(self) -> Result<Atomicity> {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the oracle panicked"))
    }
}
