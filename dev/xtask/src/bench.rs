//! `cargo xtask bench`

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use stack::Launch;

use crate::local;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::components::in_project;
use crate::steps::host::Choice;
use crate::steps::programs;

/// The arguments of `cargo xtask bench`.
#[derive(clap::Args)]
#[command(
    after_help = "Scenarios: compare, growth, start, backlog, churn, scale, abuse. `cargo xtask bench <scenario> --help` lists a scenario's options.\n\
                  Each needs the machine for itself."
)]
pub(crate) struct Options {
    /// What runs the components [default: spin if there is one, else embedded]
    #[arg(long, value_enum)]
    host: Option<Choice>,
    /// What is measured, and its options
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    scenario: Vec<String>,
}

/// Builds everything and runs `dev/bench`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    let _lock = local::lock(&project, "bench")?;
    let programs = Progress::show(|progress| {
        let programs = programs::prepare(&project, progress, options.host)?;
        // In the profile of the host, so that what they share is built once.
        build(&project, progress, "benchmark built", ["--profile", "host", "--package", "bench"])?;
        build(&project, progress, "native peers built", ["--profile", "peer", "--package", "native"])?;
        Ok(programs)
    })?;
    Launch::new("cargo xtask bench", project.path("target/host/bench"))
        .arg("--project")
        .arg(project.path(""))
        .arg("--directory")
        .arg(project.local("bench"))
        .arg("--daprd")
        .arg(&programs.daprd)
        .arg("--kafka")
        .arg(&programs.libraries)
        .args(["--host", &programs.host.to_string()])
        .arg("--native")
        .arg(project.path("target/peer/taskcast-native"))
        .args(&options.scenario)
        .current_dir(project.path(""))
        .run()?;
    Ok(ExitCode::SUCCESS)
}

fn build(project: &Project, progress: &Arc<Progress>, step: &'static str, what: [&str; 4]) -> Result<()> {
    let build = Launch::new("cargo build", "cargo").arg("build").args(what);
    let build = in_project(build, project).log(project.fresh_log("bench.log")).on_line(progress.follow(step));
    progress.step(step, || build.run())
}
