//! Counting what passed and what failed.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use stack::{Launch, interrupt};

use crate::project::Project;

/// Tests by their number; of the checks, which have none, each that fails counts as one.
#[derive(Default)]
pub(super) struct Tally {
    sum: Sum,
    /// What took how long, in the order in which it ended.
    durations: Vec<(String, Duration)>,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    passed: u32,
    failed: u32,
}

impl Tally {
    /// Runs a check with its output on the terminal.
    pub(super) fn check(&mut self, name: &str, launch: Launch) -> Result<()> {
        println!("── {name}");
        match self.timed(name, || launch.run()) {
            Ok(()) => Ok(()),
            Err(error) => self.fail(&error),
        }
    }

    /// Runs `cargo test` and adds up what its test binaries report.
    pub(super) fn tests(&mut self, name: &str, launch: Launch, project: &Project) -> Result<()> {
        println!("── {name}");
        let counted = Arc::new(Mutex::new(Sum::default()));
        let counter = counted.clone();
        let color = if stdout().is_terminal() { "always" } else { "never" };
        let on_line = move |line: &str| {
            println!("{line}");
            if let (Ok(mut counted), Some(sum)) = (counter.lock(), parse(line)) {
                counted.passed += sum.passed;
                counted.failed += sum.failed;
            }
        };
        let log = project.fresh_log(&format!("{}.log", name.replace(' ', "-")));
        let launch = launch.env("CARGO_TERM_COLOR", color).log(log).on_line(Some(Box::new(on_line)));
        let succeeded = self.timed(name, || launch.start()?.wait())?.success();
        let sum = counted.lock().map(|counted| *counted).unwrap_or_default();
        self.sum.passed += sum.passed;
        self.sum.failed += sum.failed;
        if !succeeded && sum.failed == 0 {
            // It did not come to an end: it does not compile, or a test ended the whole binary.
            self.sum.failed += 1;
        }
        Ok(())
    }

    /// Runs a program that passes or fails as a whole, with its output on the terminal.
    pub(super) fn run(&mut self, name: &str, launch: Launch) -> Result<()> {
        println!("── {name}");
        let result = self.timed(name, || launch.run());
        self.part(result)
    }

    /// Remembers how long this took.
    pub(super) fn timed<T>(&mut self, name: &str, work: impl FnOnce() -> T) -> T {
        let since = Instant::now();
        let result = work();
        self.durations.push((name.to_owned(), since.elapsed()));
        result
    }

    /// Counts something that has passed or failed as a whole.
    pub(super) fn part(&mut self, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => self.sum.passed += 1,
            Err(error) => self.fail(&error)?,
        }
        Ok(())
    }

    /// Counts something that failed as a whole, unless it failed because the user interrupted it.
    pub(super) fn fail(&mut self, error: &Error) -> Result<()> {
        interrupt::check()?;
        println!("error: {error:#}");
        self.sum.failed += 1;
        Ok(())
    }

    /// Prints how long everything took, and the sum.
    pub(super) fn close(self) -> ExitCode {
        println!();
        for (name, duration) in &self.durations {
            println!("{:>6.1} s  {name}", duration.as_secs_f64());
        }
        let Sum { passed, failed } = self.sum;
        println!("\n{passed} passed, {failed} failed");
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// `test result: ok. 5 passed; 0 failed; …`, perhaps in colour.
fn parse(line: &str) -> Option<Sum> {
    let counts = line.trim_start().strip_prefix("test result:")?;
    let number = |before: &str| counts.split(before).next()?.split_whitespace().last()?.parse().ok();
    Some(Sum { passed: number(" passed")?, failed: number(" failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_test_binary_is_read_also_in_colour() {
        for ok in ["ok", "\x1b[32mok\x1b[m"] {
            let line =
                format!("test result: {ok}. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out");
            let sum = parse(&line).unwrap();
            assert_eq!((sum.passed, sum.failed), (12, 3));
        }
        assert!(parse("test a_test ... ok").is_none());
    }
}
