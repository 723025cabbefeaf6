//! Python, and an environment of its own with the packages of PyPI that `tests/python/requirements.txt` names.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use stack::Launch;

use crate::cache;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::packages;

/// The oldest version that our packages run on.
const OLDEST: Version = Version(3, 11, 0);

/// By its usual name, or by those that distributions give to versions beside it.
const NAMES: [&str; 5] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];

/// Fails where `venv` could not make an environment: Debian has that in a package of its own.
const PRINT_VERSION: &str = "import ensurepip, sys, venv; print('.'.join(map(str, sys.version_info[:3])))";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

/// The interpreter of an environment that holds exactly the packages of the list, each with one of its checksums.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    const STEP: &str = "packages of Python installed";
    let (python, version) = ensure(project, progress)?;
    let requirements = project.path("tests/python/requirements.txt");
    let Version(major, minor, patch) = version;
    let kind = format!("python-{major}.{minor}.{patch}");
    let directory = cache::entry(&kind, std::slice::from_ref(&requirements), |directory| {
        progress.step(STEP, || {
            let log = project.fresh_log("pip.log");
            Launch::new("python -m venv", &python).args(["-m", "venv"]).arg(directory).log(&log).run()?;
            let pip = Launch::new("pip install", interpreter(directory)).args(["-m", "pip", "install"]);
            let pip = pip.args(["--no-input", "--disable-pip-version-check", "--only-binary", ":all:"]);
            let pip = pip.args(["--require-hashes", "--requirement"]).arg(&requirements);
            pip.log(&log).on_line(progress.follow(STEP)).run()
        })
    })?;
    Ok(interpreter(&directory))
}

/// It finds its packages wherever the environment lies; the other programs there have its first place in them.
fn interpreter(directory: &Path) -> PathBuf {
    directory.join("bin/python")
}

/// Makes sure that there is a Python that can make environments.
fn ensure(project: &Project, progress: &Arc<Progress>) -> Result<(PathBuf, Version)> {
    let Version(major, minor, _) = OLDEST;
    let what = format!("Python {major}.{minor} or newer");
    let advice = || {
        format!("the tests run programs of PyPI: this needs {what} with venv, from https://www.python.org")
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    let install = || packages::install(project, &what, &["python3", "python3-venv"]);
    progress.step("Python installed", install).with_context(advice)?;
    find().with_context(advice)
}

fn find() -> Option<(PathBuf, Version)> {
    let found = NAMES.iter().filter_map(stack::programs::find);
    found
        .filter_map(|python| version(&python).map(|version| (python, version)))
        .find(|(_, version)| *version >= OLDEST)
}

fn version(python: &Path) -> Option<Version> {
    let output =
        Command::new(python).args(["-c", PRINT_VERSION]).current_dir(env::temp_dir()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `3.11.2`
fn parse_version(text: &str) -> Option<Version> {
    let mut numbers = text.trim().split('.').map(str::parse);
    Some(Version(numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_python_is_compared_by_number() {
        assert_eq!(parse_version("3.11.2\n"), Some(Version(3, 11, 2)));
        assert_eq!(parse_version(""), None);
        assert!(parse_version("3.9.18").unwrap() < OLDEST);
        assert!(parse_version("3.14.0").unwrap() > OLDEST);
    }
}
