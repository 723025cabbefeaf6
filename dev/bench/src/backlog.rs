//! After an outage: how fast two relays deliver what is pending, beside what the sidecars and the broker can take at
//! all, and what the API's callers notice of it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;
use stack::{System, database};
use tokio::runtime::Runtime;

use crate::Programs;
use crate::calls::Users;
use crate::load::{self, Make, Seen, as_f64};
use crate::raw::{self, Amount};
use crate::report::{Report, Spread};

/// A minute per thousand pending changes of a user would be far too long.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);

/// How long the calm is watched in each round.
const CALM: Duration = Duration::from_secs(10);

const WARM_UP: Duration = Duration::from_secs(5);

/// As a mutation records it. The sidecars are down meanwhile, so nobody drains.
const FILL: &str = "select count(record_change(md5('backlog ' || number)::uuid, gen_random_uuid(), 'created',
    'Task of the backlog, user ' || number, false, null, true, true, false, gen_random_uuid()::text, null, null))
    from generate_series(1, :users) number;\n";

const PENDING: &str = "select coalesce(sum(last_sequence - least(task_events, task_updates, reminders)), 0)
    from user_streams";

/// The arguments of `bench backlog`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many changes are pending
    #[arg(long, default_value_t = 100_000)]
    changes: u64,
    /// Of how many users
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// Mutations per second that the API's callers make meanwhile
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How often everything is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
}

struct Bench {
    system: System,
    runtime: Runtime,
    ports: Vec<u16>,
    sidecars: Vec<u16>,
    create: Make,
    rate: u32,
}

pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Report> {
    let mut bench = Bench::start(programs, options)?;
    bench.load(WARM_UP)?;
    let (mut raw_small, mut raw_large) = (Vec::new(), Vec::new());
    let (mut drained, mut shares) = (Vec::new(), Vec::new());
    let (mut calm, mut beside_raw, mut during) = (Seen::new()?, Seen::new()?, Seen::new()?);
    for round in 1..=options.rounds {
        println!("round {round} of {}", options.rounds);
        calm += &bench.load(CALM)?;
        let [(seen_small, small), (seen_large, large)] = [bench.raw(options, 100)?, bench.raw(options, 256)?];
        beside_raw += &seen_small;
        beside_raw += &seen_large;
        let (seen, rate) = bench.drain(options)?;
        println!("  drained {rate:.0} events/s; bulk calls of 100: {small:.0}, of 256: {large:.0}");
        during += &seen;
        shares.push(rate / small.max(large));
        raw_small.push(small);
        raw_large.push(large);
        drained.push(rate);
    }
    let mut report = Report::new(
        "backlog",
        json!({"changes": options.changes, "users": options.users, "rate": options.rate}),
    );
    report.spread("raw bulk calls of 100 events", "events/s", &Spread::of(raw_small));
    report.spread("raw bulk calls of 256 events", "events/s", &Spread::of(raw_large));
    report.spread("two relays drain", "events/s", &Spread::of(drained));
    report.spread("share of the better raw figure", "", &Spread::of(shares));
    report.latency("create while calm", &calm);
    report.latency("create beside raw bulk calls", &beside_raw);
    report.latency("create while draining", &during);
    report.figure("p50 added while draining", "ms", during.quantile(0.5) - calm.quantile(0.5));
    Ok(report)
}

impl Bench {
    fn start(programs: &Programs, options: &Options) -> Result<Self> {
        let system = System::start(programs.system("backlog", 2)?)?;
        let numbers = || 0..system.replicas();
        Ok(Self {
            runtime: crate::runtime()?,
            ports: numbers().map(|number| system.host_port(number)).collect::<Result<_>>()?,
            sidecars: numbers().map(|number| system.sidecar_port(number)).collect::<Result<_>>()?,
            create: Users::new("caller", 200).create(),
            rate: options.rate,
            system,
        })
    }

    fn load(&self, time: Duration) -> Result<Seen> {
        self.runtime.block_on(load::open(&self.ports, self.rate, time, &self.create))
    }

    /// What callers saw, and events per second.
    fn raw(&self, options: &Options, per_call: usize) -> Result<(Seen, f64)> {
        let changes = options.changes / options.users;
        let publishing = raw::publish(&self.sidecars, Amount { users: options.users, changes, per_call });
        let (seen, took) =
            self.runtime.block_on(load::open_during(&self.ports, self.rate, &self.create, publishing))?;
        Ok((seen, as_f64(2 * changes * options.users) / took.as_secs_f64()))
    }

    /// What callers saw, and events per second. The events of their own mutations meanwhile are not counted.
    fn drain(&mut self, options: &Options) -> Result<(Seen, f64)> {
        for number in 0..self.system.replicas() {
            self.system.kill_sidecar(number)?;
        }
        let changes = options.changes / options.users;
        let fill = FILL.replace(":users", &options.users.to_string());
        for _ in 0..changes {
            database::run(self.system.database_url(), &fill)?;
        }
        let started = Instant::now();
        for number in 0..self.system.replicas() {
            self.system.start_sidecar(number)?;
        }
        let drained = drained(self.system.database_url().to_owned());
        let (seen, ()) =
            self.runtime.block_on(load::open_during(&self.ports, self.rate, &self.create, drained))?;
        Ok((seen, as_f64(2 * changes * options.users) / started.elapsed().as_secs_f64()))
    }
}

/// Until less is pending than callers add within a moment.
async fn drained(database_url: String) -> Result<()> {
    let since = Instant::now();
    loop {
        let url = database_url.clone();
        let pending = tokio::task::spawn_blocking(move || database::run(&url, PENDING)).await??;
        if pending.trim().parse::<u64>()? < 50 {
            return Ok(());
        }
        if since.elapsed() > DRAIN_LIMIT {
            bail!("{} changes are still pending after {} s", pending.trim(), DRAIN_LIMIT.as_secs());
        }
        stack::interrupt::check()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
