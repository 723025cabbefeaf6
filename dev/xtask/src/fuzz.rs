//! `cargo xtask fuzz`

pub(crate) mod parsers;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// The arguments of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Look for inputs that break the rules of what parses input from outside (fuzz/fuzz_targets)
    Parsers(parsers::Options),
}

/// Errors: also that something was found.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::Parsers(options) => parsers::run(options),
    }
}
