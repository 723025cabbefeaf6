//! Programs in Python, with the packages that `cargo xtask test` has installed from tests/python/requirements.txt.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::environment::{self, root};

/// A file of tests/python.
pub(crate) fn file(path: &str) -> PathBuf {
    root().join("tests/python").join(path)
}

/// The interpreter. It writes nothing beside its sources.
pub(crate) fn python() -> Command {
    let mut python = Command::new(environment::python());
    python.arg("-B");
    python
}
