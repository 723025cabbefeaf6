//! The sidecar's program: from the PATH, else built once from `dev/daprd`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use crate::cache;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::go;

const ADVICE: &str = "the sidecar is built with Go; install Go from https://go.dev/dl, or daprd itself on the PATH, or \
                      run without a sidecar (--no-dapr)";

/// Finds or builds `daprd`.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    if let Some(program) = stack::programs::find("daprd") {
        return Ok(program);
    }
    let inputs = ["go.mod", "go.sum", "main.go"].map(|file| project.path("dev/daprd").join(file));
    let directory = cache::entry("daprd-with-names", &inputs, |directory| {
        go::ensure(project, progress, ADVICE)?;
        go::build(project, progress, "Dapr sidecar built", "daprd", &directory.join("daprd"))
    })?;
    Ok(directory.join("daprd"))
}
