//! `cargo xtask fuzz api`: the test of tests/end_to_end/schemathesis.rs with more cases.

use std::process::ExitCode;

use anyhow::Result;

use crate::local;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::host::Choice;
use crate::test::parts;

/// The arguments of `cargo xtask fuzz api`.
#[derive(clap::Args)]
#[command(after_help = "With two cores, 12000 cases take four to five minutes.")]
pub(crate) struct Options {
    /// How many cases there are at least
    #[arg(long, default_value_t = 12_000, value_parser = clap::value_parser!(u64).range(1..))]
    cases: u64,
    /// What the cases follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What runs the components [default: spin if there is one, else embedded]
    #[arg(long, value_enum)]
    host: Option<Choice>,
}

/// Starts the parts and runs the test with its output on the terminal.
pub(super) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    let _lock = local::lock(&project, "test")?;
    let parts = Progress::show(|progress| parts::start(&project, progress, options.host))?;
    parts
        .tests(&project, parts.host())?
        .env("TASKCAST_TEST_API_CASES", options.cases.to_string())
        .env("TASKCAST_TEST_API_SEED", options.seed.to_string())
        .args(["--", "schemathesis::", "--nocapture"])
        .run()?;
    Ok(ExitCode::SUCCESS)
}
