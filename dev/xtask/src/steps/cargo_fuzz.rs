//! cargo-fuzz, and the C++ compiler that libFuzzer is built with.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::progress::Progress;
use crate::project::Project;
use crate::steps::cargo_tool::CargoTool;
use crate::steps::packages;

const CARGO_FUZZ: CargoTool = CargoTool { name: "cargo-fuzz", version: "0.13.2", step: "cargo-fuzz built" };

/// Builds or finds `cargo-fuzz`.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    if stack::programs::find("c++").is_none() {
        progress.step("C++ compiler installed", || {
            packages::install(project, "a C++ compiler", &["g++"]).context("libFuzzer is written in C++")
        })?;
    }
    CARGO_FUZZ.prepare(project, progress)
}
