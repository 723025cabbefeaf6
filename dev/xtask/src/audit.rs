//! `cargo xtask audit`: what the project is built from. What needs a database that can't be reached is said to be not checked;
//! everything else has to be right.
//!
//! | what | where |
//! |---|---|
//! | lock files: exact versions, with hashes, from the public registries | [`locks`] |
//! | crates: licences, sources and advisories, by cargo-deny and deny.toml | [`crates`] |
//! | Go programs: vulnerabilities, by govulncheck | [`go_programs`] |
//! | npm packages: advisories, by npm | [`npm_packages`] |

mod crates;
mod go_programs;
mod locks;
mod npm_packages;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::project::Project;

/// The arguments of `cargo xtask audit`.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// A git clone of RustSec's advisory database, instead of the one on the network
    #[arg(long, value_name = "DIRECTORY")]
    advisory_db: Option<PathBuf>,
    /// A vulnerability database of Go's, instead of the one on the network
    #[arg(long, value_name = "DIRECTORY")]
    vulnerability_db: Option<PathBuf>,
}

/// What came of a check.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// How much was looked at.
    Good(String),
    /// What is wrong, and what to do.
    Bad(String),
    /// Why not.
    NotChecked(String),
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    Progress::show(|progress| check(&project, progress, options))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what was checked and what was not. Errors: something is wrong.
pub(crate) fn check(project: &Project, progress: &Arc<Progress>, options: &Options) -> Result<()> {
    let mut outcomes = locks::check(project)?;
    outcomes.extend(crates::check(project, progress, options.advisory_db.as_deref())?);
    outcomes.extend(go_programs::check(project, progress, options.vulnerability_db.as_deref())?);
    outcomes.extend(npm_packages::check(project, progress)?);
    for outcome in &outcomes {
        match outcome {
            Outcome::Good(what) => progress.say(what),
            Outcome::Bad(what) => progress.say(&format!("WRONG: {what}")),
            Outcome::NotChecked(what) => progress.say(&format!("NOT CHECKED: {what}")),
        }
    }
    match outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Bad(_))).count() {
        0 => Ok(()),
        1 => bail!("the audit has found something wrong"),
        count => bail!("the audit has found {count} things wrong"),
    }
}

/// Runs a program to its end, whatever that is.
fn output(command: &mut Command) -> Result<Output> {
    let output = command.output();
    stack::interrupt::check()?;
    output.with_context(|| format!("run {}", command.get_program().display()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
