//! What checks the alerting rules and the dashboard, and our metrics: a program built once from `dev/observability`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use crate::cache;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::checker::files_below;
use crate::steps::go;

const ADVICE: &str = "what checks the alerts is built with Go; install Go from https://go.dev/dl";

/// Builds or finds the program.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    let inputs = files_below(&project.path("dev/observability"))?;
    let directory = cache::entry("observability", &inputs, |directory| {
        go::ensure(project, progress, ADVICE)?;
        let program = directory.join("observability");
        go::build(project, progress, "checker of alerts built", "observability", &program)
    })?;
    Ok(directory.join("observability"))
}
