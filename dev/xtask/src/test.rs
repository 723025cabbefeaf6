//! `cargo xtask test`

mod checks;
mod fuzz;
mod hosts;
pub(crate) mod parts;
mod tally;

use std::process::ExitCode;

use anyhow::Result;
use stack::{Host, Launch, Process};

use crate::local;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps;
use hosts::Hosts;
use parts::Parts;
use tally::Tally;

/// Time for each kind of fault to come once.
const CHAOS_MINUTES: &str = "2";

/// The embedded host's own tests, in the profile in which it runs, so that its dependencies are built once.
const HOST_TESTS: [&str; 5] = ["test", "--profile", "host", "--package", "host"];

/// The arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What runs the components [default: spin if there is one, and then a part of the tests on the embedded host too]
    #[arg(long, value_enum)]
    host: Option<Hosts>,
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
    if options.filter.is_none() {
        fuzz::run(&project, &mut tally)?;
    }
    let parts = start_parts(options, &project, &mut tally)?;
    // It is kept until its result is used: dropping it would end the compiler.
    let _compiling = parts.as_ref().map(|parts| compile_host_tests(&project, parts)).transpose()?;
    if let Some(parts) = &parts {
        let tests = parts.tests(&project, parts.host())?;
        tally.tests("end to end", with_filter(tests, options), &project)?;
    }
    tally.tests("tests of the host", with_filter(cargo(&project, HOST_TESTS), options), &project)?;
    if let Some(parts) = parts {
        on_second_host(options, &parts, &project, &mut tally)?;
        if options.filter.is_none() {
            break_parts(parts, &project, &mut tally)?;
        }
    }
    Ok(tally.close())
}

/// Returns nothing where a part can't be started: then there is nothing to run the tests on, but what was counted before
/// still holds.
fn start_parts(options: &Options, project: &Project, tally: &mut Tally) -> Result<Option<Parts>> {
    let host = options.host.map(Hosts::first);
    match tally.timed("parts started", || Progress::show(|progress| parts::start(project, progress, host))) {
        Ok(parts) => Ok(Some(parts)),
        Err(error) => tally.fail(&error).map(|()| None),
    }
}

/// Compiles the embedded host and its tests while the end-to-end tests, which wait for half of their time, run on Spin.
/// The compiler yields to them. An error is reported when the tests of the host run.
fn compile_host_tests(project: &Project, parts: &Parts) -> Result<Option<Process>> {
    match parts.host() {
        Host::Embedded(_) => Ok(None),
        Host::Spin(_) => {
            let compile = cargo(project, HOST_TESTS).arg("--no-run").yielding();
            compile.log(project.fresh_log("host-tests-build.log")).start().map(Some)
        }
    }
}

/// After Spin, the embedded host: by default for the tests that would show a difference.
fn on_second_host(options: &Options, parts: &Parts, project: &Project, tally: &mut Tally) -> Result<()> {
    let only = match (parts.host(), options.host, &options.filter) {
        (Host::Spin(_), Some(Hosts::Both), _) => &[][..],
        (Host::Spin(_), None, None) => &hosts::ON_BOTH,
        _ => return Ok(()),
    };
    let host = match Progress::show(|progress| steps::host::build(project, progress)) {
        Ok(host) => host,
        Err(error) => return tally.fail(&error),
    };
    let tests = with_filter(parts.tests(project, &host)?, options).args(only);
    tally.tests("end to end on the embedded host", tests, project)
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
