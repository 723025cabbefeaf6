//! `cargo xtask fuzz`

mod api;

use std::process::ExitCode;

use anyhow::Result;

/// What is sent to.
#[derive(clap::Subcommand)]
pub(crate) enum Target {
    /// Call the running API with what docs/openapi.yaml allows and with what it does not, by schemathesis
    Api(api::Options),
}

/// Errors: also that something was found.
pub(crate) fn run(target: &Target) -> Result<ExitCode> {
    match target {
        Target::Api(options) => api::run(options),
    }
}
