//! Programs in JavaScript, with the packages that `cargo xtask test` has installed in tests/node.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::environment::root;

/// What a program has printed, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) succeeded: bool,
    pub(crate) printed: String,
    pub(crate) errors: String,
}

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
    let node = Command::new("node").arg(program).args(arguments).current_dir(directory).output();
    let output = node.expect("node: run `cargo xtask test`");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { succeeded: output.status.success(), printed: text(output.stdout), errors: text(output.stderr) }
}

/// Runs a program that must succeed; returns what it has printed.
#[track_caller]
pub(crate) fn succeed(
    directory: &Path,
    program: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> String {
    let ended = run(directory, program, arguments);
    assert!(ended.succeeded, "{}: {}{}", program.display(), ended.printed, ended.errors);
    ended.printed
}
