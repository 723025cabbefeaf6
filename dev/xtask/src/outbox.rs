//! `cargo xtask outbox`: what waits in the outbox, and what to do with events that were refused for good. Titles are never
//! shown, so that the output can be passed on.

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use stack::{database, postgres};

use crate::project::Project;

const STATUS: &str = include_str!("outbox/status.sql");
const LIST_PENDING: &str = include_str!("outbox/list_pending.sql");
const LIST_PARKED: &str = include_str!("outbox/list_parked.sql");

/// The arguments of `cargo xtask outbox`.
#[derive(clap::Args)]
#[command(
    after_help = "Works on DATABASE_URL, which may be a production database, or else on what `up` runs."
)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Show what is pending and parked, by topic and by user
    Status,
    /// List the changes that have not reached every topic
    List {
        /// List the events that were refused for good, instead
        #[arg(long)]
        parked: bool,
    },
    /// Have a parked event published again by the next relay
    Requeue {
        /// Its id in `list --parked`
        id: u64,
    },
    /// Delete a parked event: its consumers will never see it
    Skip {
        /// Its id in `list --parked`
        id: u64,
    },
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let url = database_url()?;
    let show = |sql| database::run(&url, sql).context("the outbox can't be read");
    match options.command {
        Command::Status => print!("{}", show(STATUS)?),
        Command::List { parked: false } => print!("{}", show(LIST_PENDING)?),
        Command::List { parked: true } => print!("{}", show(LIST_PARKED)?),
        Command::Requeue { id } => {
            change(&url, id, "update parked_events set requeued_at = now(), lease_until = null")?;
            println!("event {id} will be published by the next relay");
        }
        Command::Skip { id } => {
            change(&url, id, "delete from parked_events")?;
            println!("event {id} is deleted");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn change(url: &str, id: u64, what: &str) -> Result<()> {
    let changed = database::run(url, &format!("{what} where id = {id} returning id"))?;
    if changed.trim().is_empty() {
        bail!("there is no parked event {id}: `cargo xtask outbox list --parked` shows them");
    }
    Ok(())
}

fn database_url() -> Result<String> {
    match env::var("DATABASE_URL") {
        Ok(url) => Ok(url),
        Err(_) => postgres::running_url(&Project::find()?.local("postgres"), "taskcast")
            .context("set DATABASE_URL, or start `cargo xtask up` in this clone"),
    }
}
