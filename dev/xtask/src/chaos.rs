//! `cargo xtask chaos`

use std::process::ExitCode;

use anyhow::Result;
use stack::Launch;

use crate::local;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::components::in_project;
use crate::steps::host::Choice;
use crate::steps::programs::{self, Programs};

/// The arguments of `cargo xtask chaos`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Determines users, mutations and faults [default: another one in each run]
    #[arg(long)]
    seed: Option<u64>,
    /// For how long things are broken
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// How many hosts, each with a sidecar of its own
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    replicas: u64,
    /// How many clients send mutations
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    clients: u64,
    /// How many users they belong to
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// What runs the components [default: spin if there is one, else embedded]
    #[arg(long, value_enum)]
    host: Option<Choice>,
}

/// Builds everything and runs `dev/chaos`. Errors: also that a promise was broken.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    let _lock = local::lock(&project, "chaos")?;
    let programs = Progress::show(|progress| programs::prepare(&project, progress, options.host))?;
    let seed = options.seed.iter().flat_map(|seed| ["--seed".to_owned(), seed.to_string()]);
    launch(&project, &programs)?
        .args(seed)
        .args(["--minutes", &options.minutes.to_string()])
        .args(["--replicas", &options.replicas.to_string(), "--clients", &options.clients.to_string()])
        .args(["--users", &options.users.to_string()])
        .run()?;
    Ok(ExitCode::SUCCESS)
}

/// With its own defaults for everything else, and so with another seed in each run. The sample consumer is built first.
pub(crate) fn launch(project: &Project, programs: &Programs) -> Result<Launch> {
    in_project(
        Launch::new("cargo build", "cargo").args([
            "build",
            "--quiet",
            "--profile",
            "host",
            "--package",
            "consumer",
        ]),
        project,
    )
    .run()?;
    let launch = Launch::new("cargo xtask chaos", "cargo")
        .args(["run", "--quiet", "--package", "chaos", "--"])
        .arg("--project")
        .arg(project.path(""))
        .arg("--directory")
        .arg(project.local("chaos"))
        .arg("--daprd")
        .arg(&programs.daprd)
        .arg("--kafka")
        .arg(&programs.libraries)
        .args(["--host", &programs.host.to_string()])
        .arg("--consumer")
        .arg(project.path("target/host/consumer"))
        .current_dir(project.path(""));
    Ok(launch)
}
