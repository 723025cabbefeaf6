//! Chromium, in which the tests open the API's page.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::progress::Progress;
use crate::project::Project;
use crate::steps::packages;

/// By its names in Debian, in others, and as Google calls it.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The program.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    const ADVICE: &str = "the tests open the API's page in a browser";
    if let Some(program) = find() {
        return Ok(program);
    }
    let install = || packages::install(project, "Chromium", &["chromium"]);
    progress.step("Chromium installed", install).context(ADVICE)?;
    find().context("Chromium was installed, but is not on the PATH")
}

fn find() -> Option<PathBuf> {
    NAMES.iter().find_map(stack::programs::find)
}
