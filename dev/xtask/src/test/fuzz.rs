//! A short run of each fuzz target: the seeds, and what comes of them within a number of runs.

use anyhow::Result;

use super::tally::Tally;
use crate::fuzz::parsers::Fuzzer;
use crate::progress::Progress;
use crate::project::Project;

/// How often a target runs: for a second or two. Checking a signature takes a quarter of a millisecond.
fn runs(target: &str) -> u64 {
    match target {
        "token" => 4_000,
        "body" | "trace" => 60_000,
        _ => 100_000,
    }
}

pub(super) fn run(project: &Project, tally: &mut Tally) -> Result<()> {
    println!("── fuzz targets");
    let prepared =
        tally.timed("fuzz targets built", || Progress::show(|progress| Fuzzer::prepare(project, progress)));
    let fuzzer = match prepared {
        Ok(fuzzer) => fuzzer,
        Err(error) => return tally.fail(&error),
    };
    for target in fuzzer.targets()? {
        let name = format!("fuzz target {target}");
        let result = tally.timed(&name, || fuzzer.try_shortly(&target, runs(&target)));
        tally.part(result)?;
    }
    Ok(())
}
