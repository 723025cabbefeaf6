//! One flag that ends every wait: once a signal has set it, each wait in this crate returns an error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail};

/// The flag itself, in the form that signal libraries take.
pub fn flag() -> Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default).clone()
}

/// Has Ctrl-C, SIGTERM and a closed terminal set the flag, so that everything that was started is ended.
pub fn listen() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, flag()).context("listen for signals")?;
    }
    Ok(())
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
