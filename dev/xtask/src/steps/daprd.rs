//! The sidecar's program: from the PATH, else built once from `dev/daprd`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use stack::Launch;

use crate::cache;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::packages;

/// From this version on Go fetches the version by itself that a module asks for.
const OLDEST_GO: (u32, u32) = (1, 21);

/// Finds or builds `daprd`.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    if let Some(program) = stack::programs::find("daprd") {
        return Ok(program);
    }
    let inputs = ["go.mod", "go.sum", "main.go"].map(|file| project.path("dev/daprd").join(file));
    let directory = cache::entry("daprd", &inputs, |directory| {
        ensure_go(project, progress)?;
        build(project, progress, directory)
    })?;
    Ok(directory.join("daprd"))
}

fn build(project: &Project, progress: &Arc<Progress>, directory: &Path) -> Result<()> {
    const STEP: &str = "Dapr sidecar built";
    let launch = Launch::new("go build", "go")
        .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
        .arg(directory.join("daprd"))
        .arg(".")
        .current_dir(project.path("dev/daprd"))
        // Without C the program runs on any Linux, and no C compiler is needed.
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "auto")
        .log(project.fresh_log("daprd-build.log"))
        .on_line(progress.follow(STEP));
    progress.step(STEP, || launch.run())
}

/// Makes sure that there is a Go that can build the sidecar.
fn ensure_go(project: &Project, progress: &Arc<Progress>) -> Result<()> {
    if stack::programs::find("go").is_none() {
        let advice = "the sidecar is built with Go; install Go from https://go.dev/dl, or daprd itself on the PATH, or \
                      run without a sidecar (--no-dapr)";
        progress.step("Go installed", || {
            packages::install(project, "Go", &["golang-go", "ca-certificates"]).context(advice)
        })?;
    }
    let version = go_version().context("`go env GOVERSION` did not print a version")?;
    if version < OLDEST_GO {
        let (major, minor) = version;
        bail!(
            "Go {major}.{minor} is too old to build the sidecar: install a newer one from https://go.dev/dl"
        );
    }
    Ok(())
}

fn go_version() -> Option<(u32, u32)> {
    let output = Command::new("go").args(["env", "GOVERSION"]).current_dir(env::temp_dir()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `go1.26.4`
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers =
        text.trim().strip_prefix("go")?.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_go_is_compared_by_number() {
        assert_eq!(parse_version("go1.26.4\n"), Some((1, 26)));
        assert_eq!(parse_version("go1.27rc1"), Some((1, 27)));
        assert!(parse_version("go1.19.8").unwrap() < OLDEST_GO);
    }
}
