//! Programs that are not ours, run to their end.

use std::process::Command;

/// What a program has printed, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) succeeded: bool,
    pub(crate) printed: String,
    pub(crate) errors: String,
}

impl Ended {
    /// Runs it.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output();
        let output = output.unwrap_or_else(|error| panic!("{command:?}, {error}: run `cargo xtask test`"));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { succeeded: output.status.success(), printed: text(output.stdout), errors: text(output.stderr) }
    }

    /// What it has printed, if it succeeded.
    #[track_caller]
    pub(crate) fn success(self, what: &str) -> String {
        assert!(self.succeeded, "{what}: {}{}", self.printed, self.errors);
        self.printed
    }
}
