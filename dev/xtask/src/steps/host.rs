//! What runs the components: `spin` when it is there and new enough, else the embedded host.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use stack::{Host, Launch};

use crate::progress::Progress;
use crate::project::Project;
use crate::steps::components::in_project;

/// WASI 0.3.0 came with this version.
const OLDEST_SPIN: (u32, u32) = (4, 1);

/// The user's choice.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Choice {
    /// `spin` from the PATH, 4.1 or later
    Spin,
    /// The host of this repository, built when needed
    Embedded,
}

/// Finds or builds the host.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>, choice: Option<Choice>) -> Result<Host> {
    match (choice, find_spin()) {
        (Some(Choice::Spin), found) => found,
        (None, Ok(host)) => Ok(host),
        _ => build(project, progress),
    }
}

fn find_spin() -> Result<Host> {
    let program = stack::programs::find("spin")
        .context("there is no spin on the PATH: install Spin 4.1 or later, or choose --host embedded")?;
    let version = spin_version(&program).context("`spin --version` did not print a version")?;
    if version < OLDEST_SPIN {
        let (major, minor) = version;
        bail!(
            "spin is version {major}.{minor}, which cannot run these components: install 4.1 or later, or choose --host embedded"
        );
    }
    Ok(Host::Spin(program))
}

fn spin_version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `spin 4.1.0-pre0 (2f5f4c3 2026-05-01)`
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(1)?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Builds the host of this repository.
pub(crate) fn build(project: &Project, progress: &Arc<Progress>) -> Result<Host> {
    const STEP: &str = "embedded host built";
    let launch =
        Launch::new("cargo build", "cargo").args(["build", "--profile", "host", "--package", "host"]);
    let launch =
        in_project(launch, project).log(project.fresh_log("host-build.log")).on_line(progress.follow(STEP));
    progress.step(STEP, || launch.run())?;
    Ok(Host::Embedded(project.path("target/host/taskcast-host")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_spin_is_compared_by_number() {
        assert_eq!(parse_version("spin 4.1.0-pre0 (2f5f4c3 2026-05-01)\n"), Some((4, 1)));
        assert!(parse_version("spin 10.0.0").unwrap() > OLDEST_SPIN);
        assert!(parse_version("spin 4.0.2").unwrap() < OLDEST_SPIN);
        assert_eq!(parse_version("spin"), None);
    }
}
