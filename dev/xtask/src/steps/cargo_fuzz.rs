//! cargo-fuzz, and the C++ compiler that libFuzzer is built with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use stack::Launch;

use crate::cache;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::packages;

const VERSION_FILE: &str = "fuzz/cargo-fuzz.version";

/// Builds or finds `cargo-fuzz`.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    if stack::programs::find("c++").is_none() {
        progress.step("C++ compiler installed", || {
            packages::install(project, "a C++ compiler", &["g++"]).context("libFuzzer is written in C++")
        })?;
    }
    let version = project.path(VERSION_FILE);
    let directory = cache::entry("cargo-fuzz", std::slice::from_ref(&version), |directory| {
        install(project, progress, std::fs::read_to_string(&version)?.trim(), directory)
    })?;
    Ok(directory.join("bin/cargo-fuzz"))
}

fn install(project: &Project, progress: &Arc<Progress>, version: &str, directory: &Path) -> Result<()> {
    const STEP: &str = "cargo-fuzz built";
    let launch = Launch::new("cargo install", "cargo")
        .args(["install", "--locked", "--root"])
        .arg(directory)
        .arg(format!("cargo-fuzz@{version}"))
        .env("CARGO_TERM_COLOR", "never")
        .env_remove("CARGO_TARGET_DIR")
        .log(project.fresh_log("cargo-fuzz-build.log"))
        .on_line(progress.follow(STEP));
    progress.step(STEP, || launch.run())
}
