//! Tools that took minutes to build or fetch are kept outside the clone, so that the next clone finds them.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The directory of tools of this kind made from these inputs; `make` fills it when it is missing. A half-made one is
/// never seen: it is filled under another name and then renamed.
pub(crate) fn entry(
    kind: &str,
    inputs: &[PathBuf],
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let directory = directory()?;
    let name = format!("{kind}-{}", hash(inputs)?);
    let entry = directory.join(&name);
    if entry.exists() {
        return Ok(entry);
    }
    let advice = || {
        format!(
            "cannot write to {}: set TASKCAST_CACHE to a directory that can be written",
            directory.display()
        )
    };
    fs::create_dir_all(&directory).with_context(advice)?;
    let lock = File::create(directory.join(format!("{name}.lock"))).with_context(advice)?;
    while lock.try_lock().is_err() {
        // Another clone is making the same entry.
        stack::interrupt::check()?;
        thread::sleep(Duration::from_millis(200));
    }
    if !entry.exists() {
        let unfinished = directory.join(format!("{name}.unfinished"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).with_context(advice)?;
        }
        fs::create_dir(&unfinished).with_context(advice)?;
        make(&unfinished)?;
        fs::rename(&unfinished, &entry).with_context(advice)?;
    }
    Ok(entry)
}

/// `$TASKCAST_CACHE`, else `$XDG_CACHE_HOME/taskcast`, else `~/.cache/taskcast`.
pub(crate) fn directory() -> Result<PathBuf> {
    if let Some(directory) = env::var_os("TASKCAST_CACHE") {
        return Ok(directory.into());
    }
    let xdg = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = xdg.or_else(|| Some(env::home_dir()?.join(".cache")));
    Ok(base
        .context("there is no home directory: set TASKCAST_CACHE to a directory for built tools")?
        .join("taskcast"))
}

fn hash(inputs: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    for input in inputs {
        hasher.update(fs::read(input).with_context(|| format!("read {}", input.display()))?);
    }
    Ok(hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}
