//! Programs in JavaScript, with the packages that `cargo xtask test` has installed in tests/node.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::environment::root;
use crate::harness::program::Ended;

/// A file of tests/node.
pub(crate) fn file(path: &str) -> PathBuf {
    root().join("tests/node").join(path)
}

/// Runs a program in a directory to its end.
pub(crate) fn run(
    directory: &Path,
    program: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Ended {
    Ended::of(Command::new("node").arg(program).args(arguments).current_dir(directory))
}

/// Runs a program that must succeed; returns what it has printed.
#[track_caller]
pub(crate) fn succeed(
    directory: &Path,
    program: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> String {
    run(directory, program, arguments).success(&program.display().to_string())
}
