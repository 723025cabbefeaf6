//! `cargo xtask test`

mod checks;
mod fuzz;
pub(crate) mod parts;
mod tally;

use std::process::ExitCode;

use anyhow::Result;
use stack::Launch;

use crate::local;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps;
use crate::steps::host::Choice;
use parts::Parts;
use tally::Tally;

/// Time for each kind of fault to come once.
const CHAOS_MINUTES: &str = "2";

/// The arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What runs the components [default: spin if there is one, else embedded]
    #[arg(long, value_enum)]
    host: Option<Choice>,
    /// Run only the tests whose name contains this, and no formatting or lint checks
    filter: Option<String>,
}

/// Runs everything even when something fails, so that one run tells all, and ends with the sum on a line of its own.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    let _lock = local::lock(&project, "test")?;
    let mut tally = Tally::default();
    // Without them the workspace does not compile.
    Progress::show(|progress| steps::node::modules_of_components(&project, progress))?;
    if options.filter.is_none() {
        Progress::show(|progress| crate::wasm_target::ensure(&project, progress))?;
        checks::run(&project, &mut tally)?;
    }
    let unit_tests = cargo(&project, ["test", "--workspace", "--exclude", "tests", "--exclude", "host"]);
    tally.tests("unit tests", with_filter(unit_tests, options), &project)?;
    // In the profile in which it runs, so that its dependencies are built once.
    let host_tests = cargo(&project, ["test", "--profile", "host", "--package", "host"]);
    tally.tests("tests of the host", with_filter(host_tests, options), &project)?;
    if options.filter.is_none() {
        fuzz::run(&project, &mut tally)?;
    }
    end_to_end(options, &project, &mut tally)?;
    Ok(tally.close())
}

fn end_to_end(options: &Options, project: &Project, tally: &mut Tally) -> Result<()> {
    let parts = match Progress::show(|progress| parts::start(project, progress, options.host)) {
        Ok(parts) => parts,
        // Without the parts there is nothing to run the tests on, but what was counted before still holds.
        Err(error) => return tally.fail(&error),
    };
    tally.tests("end to end", with_filter(parts.tests(project)?, options), project)?;
    match options.filter {
        Some(_) => Ok(()),
        None => break_parts(parts, project, tally),
    }
}

/// A short run of `cargo xtask chaos`, which starts a database and a broker of its own. How fast the API is has a test of
/// its own; here it would also depend on what else the machine does.
fn break_parts(parts: Parts, project: &Project, tally: &mut Tally) -> Result<()> {
    let chaos = crate::chaos::launch(project, &parts.end())?.args(["--minutes", CHAOS_MINUTES, "--untimed"]);
    tally.run("chaos", chaos)
}

fn with_filter(launch: Launch, options: &Options) -> Launch {
    options.filter.iter().fold(launch.arg("--no-fail-fast").arg("--"), |launch, filter| launch.arg(filter))
}

fn cargo<const N: usize>(project: &Project, arguments: [&str; N]) -> Launch {
    let name = format!("cargo {}", arguments.first().copied().unwrap_or_default());
    Launch::new(name, "cargo").args(arguments).current_dir(project.path(""))
}
