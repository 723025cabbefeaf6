//! The app's components, as `spin build` would build them.

use std::sync::Arc;

use anyhow::Result;
use stack::Launch;

use crate::progress::Progress;
use crate::project::Project;

/// Builds every component that `spin.toml` names, in release.
pub(crate) fn build(project: &Project, progress: &Arc<Progress>) -> Result<()> {
    const STEP: &str = "components built";
    let packages: Vec<String> = project.components()?;
    progress.step(STEP, || cargo(project, progress, STEP, &packages).arg("--release").run())
}

/// Builds the components with the faults that tests provoke, in a profile of their own beside the release build.
pub(crate) fn build_with_faults(project: &Project, progress: &Arc<Progress>) -> Result<()> {
    const STEP: &str = "components with faults built";
    let packages = ["tasks".to_owned(), "task".to_owned()];
    progress.step(STEP, || {
        cargo(project, progress, STEP, &packages).args(["--profile", "faults", "--features", "faults"]).run()
    })
}

fn cargo(project: &Project, progress: &Arc<Progress>, step: &'static str, packages: &[String]) -> Launch {
    let launch = Launch::new("cargo build", "cargo").args(["build", "--target", "wasm32-wasip2"]);
    let launch = packages.iter().fold(launch, |launch, package| launch.args(["--package", package]));
    in_project(launch, project).log(project.fresh_log("components.log")).on_line(progress.follow(step))
}

/// Builds into the directory that `spin.toml` names, wherever cargo is told to build by default.
pub(crate) fn in_project(launch: Launch, project: &Project) -> Launch {
    let launch = launch.current_dir(project.path("")).env("CARGO_TERM_COLOR", "never");
    launch.env("CARGO_TARGET_DIR", project.path("target"))
}
