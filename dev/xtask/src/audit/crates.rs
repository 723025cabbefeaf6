//! The crates, by cargo-deny. What they may be is in deny.toml.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::{Outcome, output, text};
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::cargo_tool::CargoTool;

const CARGO_DENY: CargoTool = CargoTool { name: "cargo-deny", version: "0.20.2", step: "cargo-deny built" };

const SETTINGS: &str = "deny.toml";

/// Where cargo-deny takes the advisories from.
const DATABASE: &str = "https://github.com/RustSec/advisory-db";

/// Our workspaces.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

pub(super) fn check(
    project: &Project,
    progress: &Arc<Progress>,
    advisories: Option<&Path>,
) -> Result<Vec<Outcome>> {
    let deny = Deny { program: CARGO_DENY.prepare(project, progress)?, project };
    progress.step("crates checked", || {
        let mut outcomes = Vec::new();
        for manifest in MANIFESTS {
            outcomes.push(judge(deny.command(manifest), manifest, &["bans", "licenses", "sources"])?);
        }
        outcomes.extend(deny.check_advisories(advisories)?);
        Ok(outcomes)
    })
}

struct Deny<'a> {
    program: PathBuf,
    project: &'a Project,
}

impl Deny<'_> {
    fn command(&self, manifest: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.project.path("")).args(["--color", "never", "--locked"]);
        command.arg("--manifest-path").arg(self.project.path(manifest));
        command.arg("--config").arg(self.project.path(SETTINGS));
        command
    }

    fn check_advisories(&self, clone: Option<&Path>) -> Result<Vec<Outcome>> {
        let mut fetch = self.command("Cargo.toml");
        fetch.args(["fetch", "db"]);
        if let Some(clone) = clone {
            let clone = clone.canonicalize().with_context(|| format!("find {}", clone.display()))?;
            // cargo-deny takes no directory, but git does.
            let key = format!("url.file://{}.insteadOf", clone.display());
            fetch
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", key)
                .env("GIT_CONFIG_VALUE_0", DATABASE);
        }
        let fetched = output(&mut fetch)?;
        if !fetched.status.success() {
            return Ok(vec![why_not_fetched(&text(&fetched.stderr), clone.is_some())]);
        }
        // Once is enough, and a clone has taken the place of what the network has.
        let offline = |manifest| {
            let mut command = self.command(manifest);
            command.arg("--offline");
            judge(command, manifest, &["advisories"])
        };
        MANIFESTS.into_iter().map(offline).collect()
    }
}

/// Whether these checks of cargo-deny's pass.
fn judge(mut deny: Command, manifest: &str, checks: &[&str]) -> Result<Outcome> {
    let output = output(deny.args(["check", "--hide-inclusion-graph"]).args(checks))?;
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let what = format!("{manifest}: {} of the crates", checks.join(", "));
    Ok(match output.status.success() {
        true => Outcome::Good(format!("{what}, by {SETTINGS}")),
        false => Outcome::Bad(format!("{what}\n{said}")),
    })
}

/// What git says when it is the network's fault, which is nobody's here. A server that says "no" is not: then the database has moved.
const UNREACHABLE: [&str; 8] = [
    "Could not resolve host",
    "Could not resolve proxy",
    "Failed to connect",
    "Connection timed out",
    "CONNECT tunnel failed",
    "The requested URL returned error: 407",
    "The requested URL returned error: 429",
    "The requested URL returned error: 5",
];

fn why_not_fetched(said: &str, from_clone: bool) -> Outcome {
    let reason = said.lines().rfind(|line| UNREACHABLE.iter().any(|part| line.contains(part)));
    match reason {
        Some(reason) if !from_clone => Outcome::NotChecked(format!(
            "advisories about crates, and whether one was yanked: RustSec's database can't be fetched ({}); \
             --advisory-db takes a clone of it",
            reason.trim()
        )),
        _ => Outcome::Bad(format!("cargo-deny can't fetch the advisories:\n{said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_is_not_there_is_not_wrong_and_everything_else_is() {
        let failed = "[ERROR] failed to fetch database: failed to fetch advisory database X with cli\n";
        let offline = format!("{failed}fatal: unable to access 'X': Could not resolve host: X\n");
        assert!(
            matches!(why_not_fetched(&offline, false), Outcome::NotChecked(why) if why.contains("resolve host"))
        );
        assert!(matches!(why_not_fetched(&offline, true), Outcome::Bad(_)));
        let answered = |status| {
            format!("{failed}fatal: unable to access 'X': The requested URL returned error: {status}\n")
        };
        assert!(matches!(why_not_fetched(&answered(503), false), Outcome::NotChecked(_)));
        assert!(matches!(why_not_fetched(&answered(404), false), Outcome::Bad(_)));
        let no_clone = format!("{failed}fatal: 'X' does not appear to be a git repository\n");
        for said in [no_clone.as_str(), "error: deny.toml is none", "failed to spawn git"] {
            assert!(matches!(why_not_fetched(said, false), Outcome::Bad(_)), "{said}");
        }
    }
}
