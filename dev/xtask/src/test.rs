//! `cargo xtask test`
use anyhow::Result;
use std::process::ExitCode;
#[derive(clap::Args)]
pub(crate) struct Options {}
pub(crate) fn run(_options: &Options) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
