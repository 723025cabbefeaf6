//! `cargo xtask fuzz`

mod api;
pub(crate) mod parsers;

use std::process::ExitCode;

use anyhow::Result;

/// What is sent to.
#[derive(clap::Subcommand)]
pub(crate) enum Target {
    /// Call the running API with what docs/openapi.yaml allows and with what it does not, by schemathesis
    Api(api::Options),
    /// Look for inputs that break the rules of what parses input from outside (fuzz/fuzz_targets)
    Parsers(parsers::Options),
}

/// Errors: also that something was found.
pub(crate) fn run(target: &Target) -> Result<ExitCode> {
    match target {
        Target::Api(options) => api::run(options),
        Target::Parsers(options) => parsers::run(options),
    }
}
