//! Breaks the real parts of taskcast one after the other while clients change tasks, and then checks what Kafka holds
//! against what the API acknowledged. `cargo xtask chaos` builds everything and starts it; docs/guarantees.md explains
//! the promises and shows runs.
//!
//! | what | module |
//! |---|---|
//! | database, broker, and replicas of host and sidecar | `stack::system`, [`manifest`] |
//! | clients and what each mutation came to | [`clients`], [`mutation`] |
//! | what is broken, and when | [`faults`], [`timeline`] |
//! | what is in Kafka, and what the sample consumer saw of it | [`events`], [`observer`] |
//! | the promises | [`delivery`], [`service`], [`atomicity`], [`secrets`] |
//! | what is printed, and each call in a file | [`report`], [`calls`] |

mod atomicity;
mod calls;
mod clients;
mod delivery;
mod events;
mod faults;
mod manifest;
mod mutation;
mod observer;
mod random;
mod report;
mod secrets;
mod service;
mod timeline;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use stack::{Host, System, SystemOptions, system};

use atomicity::Oracle;
use clients::Clients;
use faults::Broken;
use observer::Observer;
use report::Report;
use secrets::Secrets;

/// How long the outbox may take to drain once everything works again: the longest back-off (60 s), a lease, and time
/// to work.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);

/// Breaks the real parts of taskcast under load and checks that no event is lost or out of order.
#[derive(Parser)]
pub(crate) struct Options {
    /// Determines users, mutations and faults [default: another one in each run]
    #[arg(long)]
    seed: Option<u64>,
    /// For how long things are broken
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// How many hosts, each with a sidecar of its own
    #[arg(long, default_value_t = 2)]
    replicas: usize,
    /// How many clients send mutations
    #[arg(long, default_value_t = 32)]
    clients: u64,
    /// How many users they belong to
    #[arg(long, default_value_t = 200)]
    users: usize,
    /// Show how fast the API was without judging it, for a machine that has other things to do
    #[arg(long)]
    untimed: bool,
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
    /// The program of examples/consumer
    #[arg(long)]
    consumer: PathBuf,
}

fn main() -> ExitCode {
    match stack::interrupt::listen().and_then(|()| run(&Options::parse())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(_) if stack::interrupt::requested() => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every promise was kept.
fn run(options: &Options) -> Result<bool> {
    let seed = options.seed.unwrap_or_else(new_seed);
    println!("seed {seed}; to repeat: cargo xtask chaos --seed {seed} --minutes {}", options.minutes);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut parts = System::start(SystemOptions {
        project: options.project.clone(),
        manifest: manifest::write(&options.project, &options.directory.join("app"))?,
        directory: options.directory.join("system"),
        daprd: options.daprd.clone(),
        kafka: options.kafka.clone(),
        host: options.host.clone(),
        replicas: options.replicas,
        api_token: Some(secrets::API_TOKEN.to_owned()),
    })?;
    let directory = options.directory.join("consumer");
    let observer = Observer::start(&parts, &options.consumer, &options.project, &directory)?;
    let secrets = Secrets::plant(&parts, vec![observer::log(&directory)])?;
    system::write_out();
    let clients = Clients::start(&runtime, options, seed, parts.urls());
    let oracle = Oracle::start(&parts);
    let duration = Duration::from_secs(options.minutes * 60);
    let Broken { timeline, changes } = faults::run(&mut parts, &clients, seed, duration)?;
    let mutations = runtime.block_on(clients.stop())?;
    let atomicity = oracle.stop()?;
    calls::write(&options.directory.join("calls.csv"), &mutations, &timeline)?;
    let drained = parts.drain(DRAIN_LIMIT)?;
    let events = runtime.block_on(events::read(&parts.bootstrap()))?;
    let observed = observer.compare(&events)?;
    let all_changes: Vec<_> = mutations.iter().chain(&changes).collect();
    let delivery = delivery::check(&all_changes, &events, &parts.streams()?, &timeline.baseline());
    let service = service::check(&mutations, &timeline, !options.untimed);
    let leaked = secrets.find()?;
    let (mutations, timeline) = (&mutations, &timeline);
    let report = Report { mutations, timeline, drained, delivery, observed, service, leaked, atomicity };
    let kept = report.print();
    if !kept {
        println!("to repeat: cargo xtask chaos --seed {seed} --minutes {}", options.minutes);
    }
    Ok(kept)
}

/// Short enough to be typed.
fn new_seed() -> u64 {
    RandomState::new().hash_one("seed") % 1_000_000
}
