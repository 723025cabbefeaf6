//! Subcommands of cargo that are built from crates.io.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use stack::Launch;

use crate::cache;
use crate::progress::Progress;
use crate::project::Project;

/// A program of crates.io in one version.
pub(crate) struct CargoTool {
    /// The crate, and its program.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// What is said of its build.
    pub(crate) step: &'static str,
}

impl CargoTool {
    /// Builds it once, or finds it. Quickly built counts for more than fast: it runs once in a while.
    pub(crate) fn prepare(&self, project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
        let Self { name, version, step } = *self;
        let directory = cache::entry(&format!("{name}-{version}"), &[], |directory| {
            let install = Launch::new(format!("cargo install {name}"), "cargo")
                .args(["install", "--locked", "--no-track", "--version", version, "--root"])
                .arg(directory)
                .arg(name)
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                .env("CARGO_TERM_COLOR", "never")
                .env_remove("CARGO_TARGET_DIR")
                .current_dir(directory)
                .log(project.fresh_log(&format!("{name}-build.log")))
                .on_line(progress.follow(step));
            progress.step(step, || install.run())
        })?;
        Ok(directory.join("bin").join(name))
    }
}
