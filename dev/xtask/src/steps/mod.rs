//! What commands need before they can start: built or installed when missing, otherwise left as it is.

pub(crate) mod cargo_fuzz;
pub(crate) mod cargo_tool;
pub(crate) mod checker;
pub(crate) mod chromium;
pub(crate) mod components;
pub(crate) mod daprd;
pub(crate) mod go;
pub(crate) mod host;
pub(crate) mod kafka;
pub(crate) mod node;
pub(crate) mod observability;
pub(crate) mod oldest_postgresql;
pub(crate) mod packages;
pub(crate) mod pgbouncer;
pub(crate) mod postgresql;
pub(crate) mod programs;
pub(crate) mod python;

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::thread;

use anyhow::{Context, Error, Result};

/// Runs two pieces of work side by side. When one fails, the other is interrupted and the first failure is returned.
pub(crate) fn side_by_side<A: Send, B>(
    first: impl FnOnce() -> Result<A> + Send,
    second: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    let failure = FirstFailure::default();
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| failure.keep(first()));
        let second = failure.keep(second());
        (first.join().ok().flatten(), second)
    });
    match failure.take() {
        Some(error) => Err(error),
        None => Ok((first.context("a step panicked")?, second.context("a step panicked")?)),
    }
}

#[derive(Default)]
struct FirstFailure {
    /// With whether we set the interrupt flag: if the user did, it stays set.
    error: Mutex<Option<(Error, bool)>>,
}

impl FirstFailure {
    fn keep<T>(&self, result: Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        if let Ok(mut kept) = self.error.lock()
            && kept.is_none()
        {
            let user_interrupted = stack::interrupt::flag().swap(true, Ordering::Relaxed);
            *kept = Some((error, !user_interrupted));
        }
        None
    }

    fn take(self) -> Option<Error> {
        let (error, ours) = self.error.into_inner().ok()??;
        if ours {
            stack::interrupt::flag().store(false, Ordering::Relaxed);
        }
        Some(error)
    }
}
