//! What callers notice while somebody abuses the API: how long their requests take, beside the same without abuse, and how much
//! memory the host needs. Whoever abuses it does so from threads that give way to everything else on this machine, as if from
//! a machine of their own.

mod attack;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use stack::{database, system};
use tokio::runtime::Runtime;

use crate::Programs;
use crate::calls::Users;
use crate::load::{self, Make, Seen, as_f64};
use crate::peers::{Events, Kind, Parts, Peer, Spec};
use crate::report::Report;
use attack::Attack;

/// Everybody else: so many users with so many tasks each, and their requests per second.
const USERS: u64 = 100;
const TASKS: u64 = 20;
const RATE: u32 = 50;

/// Between two attacks: what the one before has left is over then.
const PAUSE: Duration = Duration::from_secs(3);

/// Between two looks at the host's memory.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The arguments of `bench abuse`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long each kind of abuse lasts
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Only what has this in its name, such as "idle"
    #[arg(long, default_value_t)]
    only: String,
}

pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Report> {
    attack::allow_connections()?;
    let (runtime, attackers) = (crate::runtime()?, attack::runtime()?);
    let directory = programs.directory.join("abuse");
    let parts = Parts::start(programs, &directory)?;
    let everybody = Users::new("everybody", USERS, TASKS);
    let url = parts.database("taskcast")?;
    runtime.block_on(everybody.seed(&url))?;
    runtime.block_on(attack::seed(&url))?;
    database::run(&url, "vacuum analyze")?;
    let spec = Spec { name: "taskcast", kind: Kind::Taskcast, events: Events::Kafka, relay: true };
    let bench = Bench { peer: parts.peer(spec)?, runtime, attackers, requests: mixed(&everybody) };
    system::write_out();
    println!("warming up");
    bench.measure(None, Duration::from_secs(3))?;
    let time = Duration::from_secs(options.seconds);
    let settings = json!({"seconds": options.seconds, "others_per_second": RATE, "others": USERS, "tasks_of_each": TASKS});
    let mut report = Report::new("abuse", settings);
    for attack in Attack::ALL.into_iter().filter(|attack| attack.name().contains(&options.only)) {
        println!("{}", attack.name());
        // Each has its own figure without, from the moments before it.
        let before = bench.measure(None, time / 2)?;
        let during = bench.measure(Some(attack), time)?;
        report.latency(format!("others, before: {}", attack.name()), &before.seen);
        report.latency(format!("others, during: {}", attack.name()), &during.seen);
        let (rate, memory) = (as_f64(during.attacked) / time.as_secs_f64(), as_f64(during.memory) / 1e6);
        let shown = format!("{rate:.0} answers/s to the attackers, host at most {memory:.0} MB");
        report.row("", shown, json!({"attackers_answers_per_second": rate, "host_peak_mb": memory}));
    }
    Ok(report)
}

/// Each user's requests in turn: half of them mutations.
fn mixed(users: &Users) -> Make {
    let kinds = [users.create(), users.read(), users.update(), users.list()];
    Arc::new(move |call| {
        let turn = usize::try_from(call % 4).unwrap_or_default();
        // The kinds take turns within a user's turn.
        kinds.get(turn).unwrap_or(&kinds[0])(call / 4)
    })
}

struct Bench {
    peer: Peer,
    runtime: Runtime,
    /// Their threads give way to everybody else's.
    attackers: Runtime,
    requests: Make,
}

struct Measured {
    seen: Seen,
    /// What attackers have been answered.
    attacked: u64,
    /// The host's, at its most, in bytes.
    memory: u64,
}

impl Bench {
    fn measure(&self, attack: Option<Attack>, time: Duration) -> Result<Measured> {
        std::thread::sleep(PAUSE);
        let (ports, answers) = ([self.peer.port], Arc::new(AtomicU64::new(0)));
        let watched = async {
            let under_way = match attack {
                Some(attack) => Some(self.attackers.spawn(attack.start(ports[0], answers.clone())).await??),
                None => None,
            };
            let until = tokio::time::Instant::now() + time;
            let mut most = 0;
            while tokio::time::Instant::now() < until {
                most = most.max(self.memory()?);
                tokio::time::sleep(LOOK_EVERY).await;
            }
            drop(under_way);
            Ok((most, answers.load(Ordering::Relaxed)))
        };
        let measured = load::open_during(&ports, RATE, &self.requests, watched);
        let (seen, (memory, attacked)) = self.runtime.block_on(measured)?;
        Ok(Measured { seen, attacked, memory })
    }

    fn memory(&self) -> Result<u64> {
        Ok(self.peer.usage()?.first().context("the host")?.memory)
    }
}
