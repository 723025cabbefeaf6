//! The project's commands. `cargo xtask --help` lists them; each is a module here, and what `up` and `test` have to do
//! first is in `steps`.

mod app_variables;
mod audit;
mod bench;
mod cache;
mod chaos;
mod debian;
mod docs;
mod event_lines;
mod event_log;
mod fuzz;
mod instructions;
mod local;
mod manifests;
mod migrate;
mod outbox;
mod progress;
mod project;
mod steps;
mod tail;
mod test;
mod token;
mod up;
mod wasm_target;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Run, test and talk to taskcast, a task API that tells the rest of the system what happened to every task.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up what is missing, run everything on this machine, and show each event as it is delivered
    Up(up::Options),
    /// Show the events of what `up` runs, or of a Kafka
    Tail(tail::Options),
    /// Run all checks and tests on a real database, sidecar and broker
    Test(test::Options),
    /// Write the page on configuration from spin.toml
    Docs,
    /// Check the manifests for Kubernetes, without a cluster
    Manifests(manifests::Options),
    /// Check what the project is built from: licences, sources, advisories, lock files
    Audit(audit::Options),
    /// Send what nobody would, in great numbers
    #[command(subcommand)]
    Fuzz(fuzz::Target),
    /// Break the real parts under load and check that no event is lost or out of order
    Chaos(chaos::Options),
    /// Measure speed and cost on the real parts
    Bench(bench::Options),
    /// Apply the migrations that are missing to the database that DATABASE_URL names
    Migrate,
    /// Print a token, signed with JWT_SECRET or with the secret of the API that `up` runs
    Token(token::Options),
    /// Show what waits in the outbox, and requeue or skip events that were refused for good
    Outbox(outbox::Options),
}

fn main() -> ExitCode {
    match stack::interrupt::listen().and_then(|()| run(Cli::parse().command)) {
        Ok(code) => code,
        // A signal is an answer, not an error, but whoever called must see that the work is not done.
        Err(_) if stack::interrupt::requested() => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(options) => up::run(&options),
        Command::Tail(options) => tail::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Docs => docs::run(),
        Command::Manifests(options) => manifests::run(&options),
        Command::Audit(options) => audit::run(&options),
        Command::Fuzz(target) => fuzz::run(&target),
        Command::Chaos(options) => chaos::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Migrate => migrate::run(),
        Command::Token(options) => token::run(&options),
        Command::Outbox(options) => outbox::run(&options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_arguments_of_every_command_fit_together() {
        Cli::command().debug_assert();
    }
}
