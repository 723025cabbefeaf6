//! Programs that are built from Go: the sidecar, and what checks the manifests.

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use stack::Launch;

use crate::progress::Progress;
use crate::project::Project;
use crate::steps::packages;

/// From this version on Go fetches the version by itself that a module asks for.
const OLDEST: (u32, u32) = (1, 21);

/// Makes sure that there is a Go that can build our modules; `advice` is for who has to install it.
pub(crate) fn ensure(project: &Project, progress: &Arc<Progress>, advice: &'static str) -> Result<()> {
    if stack::programs::find("go").is_none() {
        progress.step("Go installed", || {
            packages::install(project, "Go", &["golang-go", "ca-certificates"]).context(advice)
        })?;
    }
    let version = version().context("`go env GOVERSION` did not print a version")?;
    if version < OLDEST {
        let (major, minor) = version;
        bail!("Go {major}.{minor} is too old: install a newer one from https://go.dev/dl");
    }
    Ok(())
}

/// Builds the program of a module, a directory below `dev`.
pub(crate) fn build(
    project: &Project,
    progress: &Arc<Progress>,
    step: &'static str,
    module: &str,
    program: &Path,
) -> Result<()> {
    let launch = go(project, module)
        // The names of its functions stay in, so that govulncheck sees which of a module's are there.
        .args(["build", "-trimpath", "-ldflags", "-w", "-o"])
        .arg(program)
        .arg(".")
        .log(project.fresh_log(&format!("{module}-build.log")))
        .on_line(progress.follow(step));
    progress.step(step, || launch.run())
}

/// `go` in the directory of a module.
pub(crate) fn go(project: &Project, module: &str) -> Launch {
    Launch::new("go", "go")
        .current_dir(project.path("dev").join(module))
        // Without C the program runs on any Linux, and no C compiler is needed.
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "auto")
}

fn version() -> Option<(u32, u32)> {
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
        assert!(parse_version("go1.19.8").unwrap() < OLDEST);
    }
}
