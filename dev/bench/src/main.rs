//! Measures taskcast on real parts, beside its peers, in one run. `cargo xtask bench` builds everything and starts it;
//! docs/performance.md shows what it printed.
//!
//! | what | module |
//! |---|---|
//! | the API beside a native and a conventional service | [`compare`], [`peers`], [`floor`], [`arrival`] |
//! | the cost of a request as tables, users and backlog grow | [`growth`] |
//! | from a cold start to an answer, and sizes | [`start`] |
//! | a backlog after an outage | [`backlog`], [`raw`] |
//! | what more replicas bring | [`scale`] |
//! | what others notice of abuse | [`abuse`] |
//! | the outbox after millions of delivered changes | [`churn`] |
//! | requests, and sending them | [`calls`], [`client`], [`load`] |
//! | what processes cost | [`usage`] |
//! | what is printed | [`report`] |

mod abuse;
mod arrival;
mod backlog;
mod calls;
mod churn;
mod client;
mod compare;
mod floor;
mod growth;
mod load;
mod peers;
mod raw;
mod report;
mod scale;
mod start;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use stack::{Host, SystemOptions};
use tokio::runtime::Runtime;

use report::Report;

/// Measures taskcast on real parts, beside its peers.
#[derive(Parser)]
#[command(bin_name = "cargo xtask bench")]
struct Options {
    #[command(flatten)]
    programs: Programs,
    #[command(subcommand)]
    scenario: Scenario,
}

/// What `cargo xtask bench` has built.
#[derive(clap::Args)]
pub(crate) struct Programs {
    /// The clone whose manifest and components run
    #[arg(long)]
    project: PathBuf,
    /// Holds the data of this run; what is there is deleted
    #[arg(long)]
    directory: PathBuf,
    /// The sidecar's program
    #[arg(long)]
    daprd: PathBuf,
    /// The directory with Kafka's jars
    #[arg(long)]
    kafka: PathBuf,
    /// What runs the components: embedded:<path> or spin:<path>
    #[arg(long)]
    host: Host,
    /// The program of dev/bench/native
    #[arg(long)]
    native: PathBuf,
}

#[derive(Subcommand)]
enum Scenario {
    /// How fast requests are answered, beside a native and a conventional service
    Compare(compare::Options),
    /// Whether a request costs more the more tasks, users or pending changes there are
    Growth(growth::Options),
    /// How long a first request takes, and how large the components are
    Start(start::Options),
    /// How fast a backlog is delivered after an outage, and what callers notice of it
    Backlog(backlog::Options),
    /// What more replicas bring on one database, and whether they stand in each other's way
    Scale(scale::Options),
    /// Whether a mutation costs more after millions of delivered changes
    Churn(churn::Options),
    /// What callers notice while somebody abuses the API
    Abuse(abuse::Options),
}

fn main() -> ExitCode {
    match stack::interrupt::listen().and_then(|()| run(&Options::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if stack::interrupt::requested() => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let programs = &options.programs;
    let report: Report = match &options.scenario {
        Scenario::Compare(options) => compare::run(programs, options)?,
        Scenario::Growth(options) => growth::run(programs, options)?,
        Scenario::Start(options) => start::run(programs, options)?,
        Scenario::Backlog(options) => backlog::run(programs, options)?,
        Scenario::Scale(options) => scale::run(programs, options)?,
        Scenario::Churn(options) => churn::run(programs, options)?,
        Scenario::Abuse(options) => abuse::run(programs, options)?,
    };
    report.finish(&programs.directory)
}

impl Programs {
    fn manifest(&self) -> Result<PathBuf> {
        self.project.join("spin.toml").canonicalize().context("find spin.toml")
    }

    /// The project's own manifest on so many replicas.
    fn system(&self, name: &str, replicas: usize) -> Result<SystemOptions> {
        Ok(SystemOptions {
            project: self.project.clone(),
            manifest: self.manifest()?,
            directory: self.directory.join(name),
            daprd: self.daprd.clone(),
            kafka: self.kafka.clone(),
            host: self.host.clone(),
            replicas,
            api_token: None,
        })
    }
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the clients' runtime")
}

/// A session of our own in the API's database.
async fn connect(database_url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(database_url, tokio_postgres::NoTls)
        .await
        .context("connect to the database")?;
    // It ends with its client; why it ended shows at the next query.
    tokio::spawn(async move { connection.await.ok() });
    Ok(client)
}
