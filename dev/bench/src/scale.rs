//! What more replicas bring and cost on one database: mutations per second, and how fast they deliver a backlog together. On
//! one machine the processors are the limit, so that what is to be seen is whether replicas stand in each other's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use stack::{System, system};
use tokio::runtime::Runtime;

use crate::Programs;
use crate::backlog::{self, Backlog};
use crate::calls::Users;
use crate::load::{self, Make, as_f64};
use crate::report::{Report, Spread};
use crate::usage;

const REPLICAS: [usize; 3] = [1, 2, 4];

/// As many callers whatever the number of replicas, so that they never are the limit.
const CONNECTIONS: usize = 64;

/// Between two looks at who waits for a lock.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Of sessions that do something: how many there are, and how many of those wait for a lock of somebody else's.
const WAITING: &str =
    "select count(*), count(*) filter (where wait_event_type = 'Lock') from pg_stat_activity
    where datname = current_database() and state = 'active' and pid <> pg_backend_pid()";

/// The arguments of `bench scale`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often everything is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// How long mutations are counted in each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How many changes are pending when delivery is measured
    #[arg(long, default_value_t = 20_000)]
    changes: u64,
    /// Of how many users
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
}

struct Bench {
    system: System,
    runtime: Runtime,
    ports: Vec<u16>,
    create: Make,
}

/// A number of replicas, over the rounds.
#[derive(Default)]
struct Side {
    /// Mutations per second.
    mutations: Vec<f64>,
    /// Milliseconds of PostgreSQL's processors for a mutation and its delivery.
    costs: Vec<f64>,
    /// The share of the busy sessions that waited for a lock, in percent.
    waiting: Vec<f64>,
    /// Events delivered per second.
    events: Vec<f64>,
}

pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Report> {
    let mut bench = Bench::start(programs)?;
    println!("warming up");
    bench.mutate(bench.ports.len(), Duration::from_secs(3), &mut Side::default())?;
    let mut sides = REPLICAS.map(|_| Side::default());
    for round in 1..=options.rounds {
        println!("round {round} of {}", options.rounds);
        for (replicas, side) in REPLICAS.into_iter().zip(&mut sides) {
            bench.mutate(replicas, Duration::from_secs(options.seconds), side)?;
            bench.deliver(replicas, options, side)?;
        }
    }
    let settings = json!({"rounds": options.rounds, "seconds": options.seconds, "connections": CONNECTIONS,
        "changes": options.changes, "users": options.users});
    let mut report = Report::new("scale", settings);
    for (replicas, side) in REPLICAS.into_iter().zip(sides) {
        report.spread(format!("replicas: {replicas}"), "mutations/s", &Spread::of(side.mutations));
        report.spread("  PostgreSQL for a mutation", "ms", &Spread::of(side.costs));
        report.spread("  busy sessions that wait for a lock", "%", &Spread::of(side.waiting));
        report.spread("  delivery of a backlog", "events/s", &Spread::of(side.events));
    }
    Ok(report)
}

impl Bench {
    fn start(programs: &Programs) -> Result<Self> {
        let most = REPLICAS.into_iter().max().unwrap_or_default();
        let system = System::start(programs.system("scale", most)?)?;
        Ok(Self {
            runtime: crate::runtime()?,
            ports: (0..most).map(|number| system.host_port(number)).collect::<Result<_>>()?,
            create: Users::new("caller", 1_000, 0).create(),
            system,
        })
    }

    /// Only these have a sidecar. The other hosts serve nobody and deliver nothing.
    fn only(&mut self, replicas: usize) -> Result<()> {
        for number in 0..self.system.replicas() {
            self.system.kill_sidecar(number)?;
        }
        (0..replicas).try_for_each(|number| self.system.start_sidecar(number))
    }

    fn mutate(&mut self, replicas: usize, time: Duration, side: &mut Side) -> Result<()> {
        self.only(replicas)?;
        system::write_out();
        let postgres = [self.system.postgres()?.process().pid()];
        let before = usage::of(&postgres)?;
        let ports = self.ports.get(..replicas).context("there are not so many replicas")?;
        let (seen, waiting) = self.runtime.block_on(async {
            let stopped = Arc::new(AtomicBool::new(false));
            let watch = tokio::spawn(watch(self.system.database_url().to_owned(), stopped.clone()));
            let seen = load::closed(ports, CONNECTIONS, time, &self.create).await?;
            stopped.store(true, Ordering::Relaxed);
            anyhow::Ok((seen, watch.await??))
        })?;
        self.runtime.block_on(backlog::drained(self.system.database_url()))?;
        let used = usage::of(&postgres)? - before;
        side.mutations.push(seen.rate());
        side.costs.push(used.processor.as_secs_f64() * 1_000.0 / as_f64(seen.times.len().max(1)));
        side.waiting.push(100.0 * waiting);
        Ok(())
    }

    fn deliver(&mut self, replicas: usize, options: &Options, side: &mut Side) -> Result<()> {
        self.only(0)?;
        let pending = Backlog { changes: options.changes, users: options.users };
        pending.fill(self.system.database_url())?;
        system::write_out();
        let started = Instant::now();
        self.only(replicas)?;
        self.runtime.block_on(backlog::drained(self.system.database_url()))?;
        side.events.push(as_f64(pending.events()) / started.elapsed().as_secs_f64());
        Ok(())
    }
}

/// The share of the busy sessions that wait for a lock, until it is to stop.
async fn watch(database_url: String, stopped: Arc<AtomicBool>) -> Result<f64> {
    let client = crate::connect(&database_url).await?;
    let look = client.prepare(WAITING).await?;
    let (mut busy, mut waiting) = (0_i64, 0_i64);
    while !stopped.load(Ordering::Relaxed) {
        let row = client.query_one(&look, &[]).await?;
        busy += row.try_get::<_, i64>(0)?;
        waiting += row.try_get::<_, i64>(1)?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let number = |count: i64| as_f64(count.unsigned_abs());
    Ok(number(waiting) / number(busy).max(1.0))
}
