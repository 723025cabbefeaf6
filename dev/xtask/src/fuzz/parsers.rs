//! `cargo xtask fuzz parsers`: libFuzzer on each of the targets in `fuzz/fuzz_targets`, by cargo-fuzz.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail, ensure};
use stack::Launch;

use crate::local;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps;
use crate::steps::components::in_project;

/// No sanitizer, because our code has nothing unsafe, and stable Rust has none; and no cfg, because then dependencies may
/// do something else than in the app.
const FLAGS: [&str; 6] =
    ["--fuzz-dir", "fuzz", "--sanitizer", "none", "--no-cfg-fuzzing", "--target-dir=target/fuzz"];

/// Longer inputs find nothing that shorter ones don't; in bytes.
const MAX_LENGTH: &str = "-max_len=4096";

/// An input that takes longer is a finding, in seconds.
const SLOWEST: &str = "-timeout=10";

/// The arguments of `cargo xtask fuzz parsers`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// For how long each target runs; two run at a time
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Run this input of the target once, such as a crash's
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
    /// Run only this target
    target: Option<String>,
}

/// Fuzzes the targets, with what earlier runs found worth keeping (fuzz/corpus).
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    let _lock = local::lock(&project, "fuzz")?;
    let input = options.input.as_deref().map(fs::canonicalize).transpose().context("--input")?;
    let fuzzer = Progress::show(|progress| Fuzzer::prepare(&project, progress))?;
    let all = fuzzer.targets()?;
    let chosen: Vec<&String> =
        all.iter().filter(|name| options.target.as_ref().is_none_or(|target| target == *name)).collect();
    ensure!(!chosen.is_empty(), "there is no such target, only {}", all.join(", "));
    if let (Some(input), [target]) = (&input, chosen.as_slice()) {
        fuzzer.cargo_fuzz("run").arg(target).arg(input).run()?;
        return Ok(ExitCode::SUCCESS);
    }
    let limit = format!("-max_total_time={}", options.seconds);
    let mut found = false;
    for pair in chosen.chunks(2) {
        let fuzz =
            |target: &String| fuzzer.fuzz(target, &project.path("fuzz/corpus").join(target), &[&limit]);
        let (first, second) = match pair {
            [first, second] => steps::side_by_side(|| Ok(fuzz(first)), || Ok(fuzz(second)))?,
            pair => (pair.first().map_or(Ok(()), |target| fuzz(target)), Ok(())),
        };
        stack::interrupt::check()?;
        for error in [first.err(), second.err()].into_iter().flatten() {
            println!("error: {error:#}");
            found = true;
        }
    }
    Ok(if found { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The targets, built.
pub(crate) struct Fuzzer<'a> {
    project: &'a Project,
    program: PathBuf,
}

impl<'a> Fuzzer<'a> {
    /// Builds what is missing.
    pub(crate) fn prepare(project: &'a Project, progress: &Arc<Progress>) -> Result<Self> {
        const STEP: &str = "fuzz targets built";
        let fuzzer = Self { project, program: steps::cargo_fuzz::prepare(project, progress)? };
        let build = fuzzer.cargo_fuzz("build").log(project.fresh_log("fuzz-build.log"));
        progress.step(STEP, || build.on_line(progress.follow(STEP)).run())?;
        Ok(fuzzer)
    }

    /// Their names.
    pub(crate) fn targets(&self) -> Result<Vec<String>> {
        let files = steps::checker::files_below(&self.project.path("fuzz/fuzz_targets"))?;
        Ok(files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect())
    }

    /// Begins with nothing but the seeds and ends after a number of runs, always the same.
    pub(crate) fn try_shortly(&self, target: &str, runs: u64) -> Result<()> {
        let corpus = self.project.local("fuzz").join(target);
        if corpus.exists() {
            fs::remove_dir_all(&corpus).with_context(|| format!("remove {}", corpus.display()))?;
        }
        self.fuzz(target, &corpus, &[&format!("-runs={runs}"), "-seed=1"])
    }

    /// Runs a target within limits. Errors: that it found something, with the input and how to run it again.
    fn fuzz(&self, target: &str, corpus: &Path, limits: &[&str]) -> Result<()> {
        fs::create_dir_all(corpus).with_context(|| format!("create {}", corpus.display()))?;
        let output = Arc::new(Mutex::new(Vec::new()));
        let lines = output.clone();
        let on_line = move |line: &str| {
            if let (Ok(mut lines), false) = (lines.lock(), line.starts_with('#')) {
                lines.push(line.to_owned());
            }
        };
        let log = self.project.fresh_log(&format!("fuzz-{target}.log"));
        let launch = self.cargo_fuzz("run").arg(target).arg(corpus).arg(format!("fuzz/seeds/{target}"));
        let launch = launch.arg("--").args(limits).args([MAX_LENGTH, SLOWEST, "-print_final_stats=1"]);
        let process = launch.yielding().log(&log).on_line(Some(Box::new(on_line))).start()?;
        let succeeded = process.wait()?.success();
        stack::interrupt::check()?;
        let output = output.lock().map(|lines| lines.clone()).unwrap_or_default();
        match executions(&output) {
            Some(executions) if succeeded => println!("{target}: {executions} inputs, nothing found"),
            _ => bail!("{}", finding(target, &output, &log)),
        }
        Ok(())
    }

    fn cargo_fuzz(&self, command: &str) -> Launch {
        let launch = Launch::new(format!("cargo fuzz {command}"), &self.program);
        // Called as cargo calls it.
        in_project(launch.args(["fuzz", command]).args(FLAGS), self.project).env("RUST_BACKTRACE", "0")
    }
}

fn executions(output: &[String]) -> Option<u64> {
    let line = output.iter().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

/// What it says, and how to run the input again; or where to read why it did not run.
fn finding(target: &str, output: &[String], log: &Path) -> String {
    let Some(input) = output.iter().find_map(|line| line.split_once("Test unit written to ")) else {
        return format!("fuzz target {target} did not run to its end: {}", log.display());
    };
    let said = output.iter().skip_while(|line| !line.contains("panicked at"));
    let said: Vec<&str> = said
        .map(String::as_str)
        .take_while(|line| !line.starts_with("==") && !line.starts_with("note:"))
        .collect();
    let bytes = fs::read(input.1).unwrap_or_default();
    format!(
        "fuzz target {target} found an input: {:?}\n{}\nagain: cargo xtask fuzz parsers {target} --input {}",
        String::from_utf8_lossy(&bytes),
        said.join("\n"),
        input.1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_was_wrong_and_how_to_run_it_again() {
        let output = [
            "thread '<unnamed>' panicked at fuzz_targets/title.rs:12:5:",
            "a title that is none",
            "==7== ERROR: libFuzzer: deadly signal",
            "artifact_prefix='fuzz/artifacts/title/'; Test unit written to fuzz/artifacts/title/crash-1",
            "stat::number_of_executed_units: 42",
        ];
        let output = output.map(str::to_owned);
        let said = finding("title", &output, Path::new("log"));
        assert!(said.contains("a title that is none\n") && !said.contains("deadly signal"), "{said}");
        assert!(said.ends_with("parsers title --input fuzz/artifacts/title/crash-1"), "{said}");
        assert_eq!(executions(&output), Some(42));
        assert!(finding("title", &[], Path::new("log")).contains("did not run"));
    }
}
