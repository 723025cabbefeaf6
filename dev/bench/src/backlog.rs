//! After an outage: how fast two relays deliver what is pending, beside what the sidecars and the broker can take at
//! all, and what the API's callers notice of it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::json;
use stack::{System, database, system};
use tokio::runtime::Runtime;

use crate::Programs;
use crate::calls::Users;
use crate::load::{self, Make, Seen, as_f64};
use crate::raw::{self, Amount};
use crate::report::{Report, Spread};
use crate::usage;

/// A minute per thousand pending changes of a user would be far too long.
const DRAIN_LIMIT: Duration = Duration::from_secs(600);

/// How long the calm is watched in each round.
const CALM: Duration = Duration::from_secs(10);

const WARM_UP: Duration = Duration::from_secs(5);

/// As a mutation records it.
const FILL: &str = "select count(record_change(md5('backlog ' || number)::uuid, gen_random_uuid(), 'created',
    'Task of the backlog, user ' || number, false, null, true, true, false, gen_random_uuid()::text, null, null))
    from generate_series(1, :users) number;\n";

const PENDING: &str =
    "select coalesce(sum(last_sequence - least(task_events, task_updates, reminders)), 0)::bigint
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

/// Changes that nobody has delivered yet, of several users.
pub(crate) struct Backlog {
    pub(crate) changes: u64,
    pub(crate) users: u64,
}

impl Backlog {
    /// Records them, as mutations do. The sidecars must be down.
    pub(crate) fn fill(&self, database_url: &str) -> Result<()> {
        let fill = FILL.replace(":users", &self.users.to_string());
        (0..self.changes / self.users).try_for_each(|_| database::run(database_url, &fill).map(drop))
    }

    /// Each has two.
    pub(crate) fn events(&self) -> u64 {
        2 * self.users * (self.changes / self.users)
    }
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
    let (mut small, mut large, mut drained) = (Side::new()?, Side::new()?, Side::new()?);
    let (mut calm, mut shares) = (Seen::new()?, Vec::new());
    for round in 1..=options.rounds {
        println!("round {round} of {}", options.rounds);
        calm += &bench.load(CALM)?;
        small.add(bench.raw(options, 100)?);
        large.add(bench.raw(options, 256)?);
        drained.add(bench.drain(options)?);
        let rate = |side: &Side| side.rates.last().copied().unwrap_or_default();
        shares.push(rate(&drained) / rate(&small).max(rate(&large)));
        println!("  {:.0} events/s; bulk calls alone: {:.0}", rate(&drained), rate(&small).max(rate(&large)));
    }
    let settings = json!({"changes": options.changes, "users": options.users, "rate": options.rate});
    let mut report = Report::new("backlog", settings);
    report.latency("create while calm", &calm);
    small.report(&mut report, "bulk calls of 100 events alone");
    large.report(&mut report, "bulk calls of 256 events alone");
    report.figure("  p50 added to create", "ms", large.seen.quantile(0.5) - calm.quantile(0.5));
    drained.report(&mut report, "two relays");
    report.figure("  p50 added to create", "ms", drained.seen.quantile(0.5) - calm.quantile(0.5));
    report.spread("  share of the better of the bulk calls", "", &Spread::of(shares));
    Ok(report)
}

/// One way of publishing, over the rounds.
struct Side {
    /// Events per second.
    rates: Vec<f64>,
    /// Microseconds that the sidecars' processors work for an event.
    costs: Vec<f64>,
    /// What callers of the API saw meanwhile.
    seen: Seen,
}

impl Side {
    fn new() -> Result<Self> {
        Ok(Self { rates: Vec::new(), costs: Vec::new(), seen: Seen::new()? })
    }

    fn add(&mut self, other: Self) {
        self.rates.extend(other.rates);
        self.costs.extend(other.costs);
        self.seen += &other.seen;
    }

    fn report(&self, report: &mut Report, name: &str) {
        report.spread(name, "events/s", &Spread::of(self.rates.clone()));
        report.spread("  processor time of the sidecars", "µs per event", &Spread::of(self.costs.clone()));
        report.latency("  create meanwhile", &self.seen);
    }
}

impl Bench {
    fn start(programs: &Programs, options: &Options) -> Result<Self> {
        let system = System::start(programs.system("backlog", 2)?)?;
        let numbers = || 0..system.replicas();
        Ok(Self {
            runtime: crate::runtime()?,
            ports: numbers().map(|number| system.host_port(number)).collect::<Result<_>>()?,
            sidecars: numbers().map(|number| system.sidecar_port(number)).collect::<Result<_>>()?,
            create: Users::new("caller", 200, 0).create(),
            rate: options.rate,
            system,
        })
    }

    fn load(&self, time: Duration) -> Result<Seen> {
        system::write_out();
        self.runtime.block_on(load::open(&self.ports, self.rate, time, &self.create))
    }

    fn raw(&self, options: &Options, per_call: usize) -> Result<Side> {
        let changes = options.changes / options.users;
        let publishing = raw::publish(&self.sidecars, Amount { users: options.users, changes, per_call });
        self.measure(2 * changes * options.users, publishing)
    }

    /// The events of callers' own mutations meanwhile are not counted.
    fn drain(&mut self, options: &Options) -> Result<Side> {
        for number in 0..self.system.replicas() {
            self.system.kill_sidecar(number)?;
        }
        let pending = Backlog { changes: options.changes, users: options.users };
        pending.fill(self.system.database_url())?;
        system::write_out();
        let started = Instant::now();
        for number in 0..self.system.replicas() {
            self.system.start_sidecar(number)?;
        }
        let drained = async {
            drained(self.system.database_url()).await?;
            Ok(started.elapsed())
        };
        self.measure(pending.events(), drained)
    }

    /// Of work that publishes so many events and returns how long that took.
    fn measure(&self, events: u64, work: impl Future<Output = Result<Duration>>) -> Result<Side> {
        let pids = self.system.sidecars();
        let before = usage::of(&pids)?;
        let (seen, took) =
            self.runtime.block_on(load::open_during(&self.ports, self.rate, &self.create, work))?;
        let used = usage::of(&pids)? - before;
        let cost = used.processor.as_secs_f64() * 1e6 / as_f64(events);
        Ok(Side { rates: vec![as_f64(events) / took.as_secs_f64()], costs: vec![cost], seen })
    }
}

/// Until less is pending than callers add within a moment.
pub(crate) async fn drained(database_url: &str) -> Result<()> {
    let since = Instant::now();
    let client = crate::connect(database_url).await?;
    let pending = client.prepare(PENDING).await?;
    loop {
        let pending: i64 = client.query_one(&pending, &[]).await?.try_get(0)?;
        if pending < 50 {
            return Ok(());
        }
        if since.elapsed() > DRAIN_LIMIT {
            bail!("{pending} changes are still pending after {} s", DRAIN_LIMIT.as_secs());
        }
        stack::interrupt::check()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
