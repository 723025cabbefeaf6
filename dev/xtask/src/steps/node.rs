//! Node.js, and the packages of the npm registry that a directory's lock file names.

use std::env;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use stack::Launch;

use crate::progress::Progress;
use crate::project::Project;
use crate::steps::packages;

/// The oldest version that our packages run on.
const OLDEST: u32 = 18;

/// Where npm notes what it has installed; ours says from which lock file.
const INSTALLED: &str = "node_modules/.installed-from";

/// What the component `reference` is built with.
pub(crate) fn modules_of_components(project: &Project, progress: &Arc<Progress>) -> Result<()> {
    modules(project, progress, "Swagger UI fetched", "components/reference")
}

/// Makes sure that `node_modules` in a directory of the project holds what its lock file names. `what` is what they are for.
pub(crate) fn modules(
    project: &Project,
    progress: &Arc<Progress>,
    what: &'static str,
    directory: &str,
) -> Result<()> {
    let directory = project.path(directory);
    let lock = fs::read(directory.join("package-lock.json")).context("read package-lock.json")?;
    if fs::read(directory.join(INSTALLED)).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    ensure(project, progress, what)?;
    progress.step(what, || {
        let npm = Launch::new("npm ci", "npm").args(["ci", "--no-progress"]).current_dir(&directory);
        npm.log(project.fresh_log("npm.log")).on_line(progress.follow(what)).run()?;
        fs::write(directory.join(INSTALLED), &lock).context("note what npm has installed")
    })
}

/// Makes sure that there are `node` and `npm`.
pub(crate) fn ensure(project: &Project, progress: &Arc<Progress>, what: &str) -> Result<()> {
    let advice = || format!("{what}: this needs Node.js {OLDEST} or newer, from https://nodejs.org");
    if stack::programs::find("node").is_none() || stack::programs::find("npm").is_none() {
        let install = || packages::install(project, "Node.js", &["nodejs", "npm"]);
        progress.step("Node.js installed", install).with_context(advice)?;
    }
    match version() {
        Some(version) if version >= OLDEST => Ok(()),
        version => bail!("{} (here is {version:?})", advice()),
    }
}

fn version() -> Option<u32> {
    let output = Command::new("node").arg("--version").current_dir(env::temp_dir()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `v20.20.2`
fn parse_version(text: &str) -> Option<u32> {
    text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_node_is_its_first_number() {
        assert_eq!(parse_version("v20.20.2\n"), Some(20));
        assert_eq!(parse_version("20"), None);
    }
}
