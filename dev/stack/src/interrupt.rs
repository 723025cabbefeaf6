//! One flag that ends every wait: set it from a signal handler and each wait in this crate returns an error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Result, bail};

/// The flag itself, in the form that signal libraries take.
pub fn flag() -> Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default).clone()
}

/// Whether somebody asked to stop.
pub fn requested() -> bool {
    flag().load(Ordering::Relaxed)
}

/// Fails with `interrupted` once the flag is set.
pub fn check() -> Result<()> {
    if requested() {
        bail!("interrupted");
    }
    Ok(())
}
