//! The API beside its peers in one run: a native service with the same outbox, and a conventional one that publishes each
//! event before it answers; with events, without, and with a sidecar that fails. Rounds are interleaved, so that whatever
//! else the machine does meets all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use stack::{database, system};
use tokio::runtime::Runtime;

use crate::Programs;
use crate::arrival;
use crate::calls::Users;
use crate::floor;
use crate::load::{self, Make, Seen, as_f64};
use crate::peers::{Events, Kind, Parts, Peer, Spec};
use crate::report::{Report, Spread};
use crate::usage::{self, Usage};

mod targets;

/// Users whose tasks are changed and read, and tasks of each.
const USERS: u64 = 200;
const TASKS: u64 = 20;

/// Users with many tasks, and tasks of each.
const HOARDERS: u64 = 4;
const HOARD: u64 = 1_000;

/// The rates at which latencies are measured, per second.
const RATES: [u32; 3] = [50, 200, 500];

/// The rate at which the cost of events is measured, per second.
const RATE: u32 = 200;

/// Connections that never pause, for throughput.
const CONNECTIONS: [usize; 4] = [1, 16, 64, 256];

/// For everything but creating.
const SOME: usize = 16;

/// Between two measurements: what the one before has left is delivered meanwhile.
const PAUSE: Duration = Duration::from_secs(1);

/// The arguments of `bench compare`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often everything is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// How long each measurement takes
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure only what has this in its name, such as "get" or "64 connections"
    #[arg(long)]
    only: Option<String>,
}

/// What is compared.
const PEERS: [Spec; 8] = [
    Spec { name: TASKCAST, kind: Kind::Taskcast, events: Events::Kafka, relay: true },
    Spec { name: NATIVE, kind: Kind::Native, events: Events::Kafka, relay: false },
    Spec { name: CONVENTIONAL, kind: Kind::Conventional, events: Events::Kafka, relay: false },
    Spec { name: IN_MEMORY, kind: Kind::Taskcast, events: Events::InMemory, relay: true },
    Spec { name: OFF, kind: Kind::Taskcast, events: Events::Off, relay: false },
    Spec { name: NATIVE_OFF, kind: Kind::Native, events: Events::Off, relay: false },
    Spec { name: HUNG, kind: Kind::Taskcast, events: Events::Hung, relay: true },
    Spec { name: REFUSED, kind: Kind::Taskcast, events: Events::Refused, relay: true },
];
const TASKCAST: &str = "taskcast";
const NATIVE: &str = "native";
const CONVENTIONAL: &str = "conventional";
const IN_MEMORY: &str = "taskcast, broker in memory";
const OFF: &str = "taskcast, events off";
const NATIVE_OFF: &str = "native, events off";
const HUNG: &str = "taskcast, sidecar hangs";
const REFUSED: &str = "taskcast, no sidecar";

/// Those that deliver to Kafka.
const MAIN: [&str; 3] = [TASKCAST, NATIVE, CONVENTIONAL];

/// What a figure is compared with.
fn reference(peer: &str) -> &'static str {
    if [OFF, NATIVE_OFF].contains(&peer) { NATIVE_OFF } else { NATIVE }
}

/// The database of the same statements without any service.
const FLOOR: &str = "floor";

/// Readers and creators are others, so that no list grows.
struct Callers {
    readers: Users,
    creators: Users,
    hoarders: Users,
}

pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Report> {
    let directory = programs.directory.join("compare");
    let runtime = crate::runtime()?;
    let parts = Parts::start(programs, &directory)?;
    let callers = Callers {
        readers: Users::new("reader", USERS, TASKS),
        creators: Users::new("creator", USERS, 0),
        hoarders: Users::new("hoarder", HOARDERS, HOARD),
    };
    let mut peers = Vec::new();
    for name in PEERS.map(|spec| spec.name).into_iter().chain([FLOOR]) {
        let url = parts.database(name)?;
        runtime.block_on(callers.seed(&url))?;
        database::run(&url, "vacuum analyze tasks")?;
    }
    for spec in PEERS {
        println!("starting {}", spec.name);
        peers.push(parts.peer(spec)?);
    }
    let postgres = parts.postgres.process().pid();
    let only = options.only.clone().unwrap_or_default();
    let mut table =
        Table { runtime, parts: &parts, postgres, peers, callers, only, figures: BTreeMap::new() };
    println!("warming up");
    table.round(Duration::from_secs(1))?;
    table.figures.clear();
    for round in 1..=options.rounds {
        println!("round {round} of {}", options.rounds);
        table.round(Duration::from_secs(options.seconds))?;
    }
    let mut report = Report::new("compare", json!({"rounds": options.rounds, "seconds": options.seconds}));
    table.report(&mut report)?;
    Ok(report)
}

impl Callers {
    async fn seed(&self, database_url: &str) -> Result<()> {
        self.readers.seed(database_url).await?;
        self.hoarders.seed(database_url).await
    }
}

/// Everything that is measured.
struct Table<'a> {
    runtime: Runtime,
    parts: &'a Parts<'a>,
    postgres: u32,
    peers: Vec<Peer>,
    callers: Callers,
    /// What is measured has this in its name.
    only: String,
    /// By what, and by peer.
    figures: BTreeMap<(String, &'static str), Figures>,
}

/// One thing, of one peer, over the rounds.
#[derive(Default)]
struct Figures {
    /// How many things were measured before it.
    order: usize,
    /// Requests per second.
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    p999: Vec<f64>,
    /// Milliseconds of the processor for a request: the service, PostgreSQL, the sidecar.
    costs: [Vec<f64>; 3],
    failed: u64,
}

impl Table<'_> {
    fn round(&mut self, time: Duration) -> Result<()> {
        system::write_out();
        let create = self.callers.creators.create();
        for connections in CONNECTIONS {
            self.closed(&MAIN, &creates(connections), &create, connections, time)?;
        }
        self.closed(&[IN_MEMORY, OFF, NATIVE_OFF], &creates(SOME), &create, SOME, time)?;
        self.floor("create", floor::CREATE, time)?;
        let readers = self.callers.readers.clone();
        self.closed(&MAIN, "patch, 16 connections", &readers.update(), SOME, time)?;
        self.closed(&MAIN, "complete, 16 connections", &readers.complete(), SOME, time)?;
        self.closed(&MAIN, GET, &readers.read(), SOME, time)?;
        self.floor("get", floor::GET, time)?;
        self.closed(&MAIN, &format!("list of {TASKS}, 16 connections"), &readers.list(), SOME, time)?;
        let what = "nothing but an answer, 16 connections";
        self.closed(&[TASKCAST, NATIVE], what, &readers.preflight(), SOME, time)?;
        let hoarders = self.callers.hoarders.list();
        self.closed(&[TASKCAST, NATIVE], &format!("list of {HOARD}, 16 connections"), &hoarders, SOME, time)?;
        for rate in RATES {
            self.open(&MAIN, rate, &create, time)?;
        }
        self.open(&[OFF, HUNG, REFUSED], RATE, &create, time)?;
        for peer in [TASKCAST, NATIVE] {
            self.arrival(peer, &create, time)?;
        }
        Ok(())
    }

    fn peer(&self, name: &str) -> Result<&Peer> {
        self.peers.iter().find(|peer| peer.name == name).context("no such peer")
    }

    fn closed(
        &mut self,
        names: &[&'static str],
        what: &str,
        make: &Make,
        connections: usize,
        time: Duration,
    ) -> Result<()> {
        for name in names {
            let port = [self.peer(name)?.port];
            self.measure(name, what, load::closed(&port, connections, time, make))?;
        }
        Ok(())
    }

    fn open(&mut self, names: &[&'static str], rate: u32, make: &Make, time: Duration) -> Result<()> {
        for name in names {
            let port = [self.peer(name)?.port];
            self.measure(name, &creates_at(rate), load::open(&port, rate, time, make))?;
        }
        Ok(())
    }

    fn measure(
        &mut self,
        name: &'static str,
        what: &str,
        load: impl Future<Output = Result<Seen>>,
    ) -> Result<()> {
        if !what.contains(&self.only) {
            return Ok(());
        }
        let before = self.usage(name)?;
        let seen = self.runtime.block_on(load)?;
        // What follows the responses belongs to them.
        std::thread::sleep(PAUSE);
        let after = self.usage(name)?;
        let figures = self.figures(what, name);
        figures.add(&seen);
        for ((costs, after), before) in figures.costs.iter_mut().zip(after).zip(before) {
            let used = (after - before).processor.as_secs_f64();
            costs.push(used * 1_000.0 / as_f64(seen.times.len().max(1)));
        }
        Ok(())
    }

    /// The service, PostgreSQL, the sidecar.
    fn usage(&self, name: &str) -> Result<[Usage; 3]> {
        let [service, sidecar] = self.peer(name)?.usage()?;
        Ok([service, usage::of(&[self.postgres])?, sidecar])
    }

    /// The statement alone, by pgbench.
    fn floor(&mut self, what: &str, script: &str, time: Duration) -> Result<()> {
        let (what, url) = (format!("{what}, {SOME} connections"), self.parts.url(FLOOR));
        if !what.contains(&self.only) {
            return Ok(());
        }
        for (peer, mode) in [(PGBENCH_PREPARED, "prepared"), (PGBENCH, "extended")] {
            let rate = floor::run(&url, script, mode, SOME, time)?;
            self.figures(&what, peer).rates.push(rate);
        }
        Ok(())
    }

    /// From the change to a consumer of Kafka.
    fn arrival(&mut self, name: &'static str, make: &Make, time: Duration) -> Result<()> {
        if !ARRIVAL.contains(&self.only) {
            return Ok(());
        }
        let (bootstrap, port) = (self.parts.kafka.bootstrap(), [self.peer(name)?.port]);
        let load = load::open(&port, RATE, time, make);
        let seen = self.runtime.block_on(arrival::during(&bootstrap, load, PAUSE))?;
        self.figures(ARRIVAL, name).add(&seen);
        Ok(())
    }

    /// What there is of it, at first nothing.
    fn figures(&mut self, what: &str, peer: &'static str) -> &mut Figures {
        let order = self.figures.len();
        self.figures.entry((what.to_owned(), peer)).or_insert_with(|| Figures { order, ..Figures::default() })
    }

    fn report(&self, report: &mut Report) -> Result<()> {
        let mut all: Vec<_> = self.figures.iter().collect();
        all.sort_by_key(|(_, figures)| figures.order);
        for ((what, peer), figures) in all {
            let reference = self.get(what, reference(peer));
            report.row(format!("{what}: {peer}"), figures.shown(reference), figures.value(reference));
        }
        for peer in &self.peers {
            let [service, sidecar] = peer.usage()?.map(|usage| as_f64(usage.memory) / 1e6);
            let shown = format!("{service:.0} MB + {sidecar:.0} MB of the sidecar");
            report.row(
                format!("memory: {}", peer.name),
                shown,
                json!({"service_mb": service, "sidecar_mb": sidecar}),
            );
        }
        if self.only.is_empty() {
            targets::report(self, report);
        }
        Ok(())
    }

    fn get(&self, what: &str, peer: &str) -> Option<&Figures> {
        self.figures.iter().find(|((of, by), _)| of == what && *by == peer).map(|(_, figures)| figures)
    }
}

const PGBENCH: &str = "pgbench, statements parsed each time";
const PGBENCH_PREPARED: &str = "pgbench, prepared statements";
const GET: &str = "get, 16 connections";
const ARRIVAL: &str = "from a change to a consumer of Kafka, 200 per second";

fn creates(connections: usize) -> String {
    let s = if connections == 1 { "" } else { "s" };
    format!("create, {connections} connection{s}")
}

fn creates_at(rate: u32) -> String {
    format!("create, {rate} per second")
}

impl Figures {
    fn add(&mut self, seen: &Seen) {
        self.rates.push(seen.rate());
        self.p50.push(seen.quantile(0.5));
        self.p99.push(seen.quantile(0.99));
        self.p999.push(seen.quantile(0.999));
        self.failed += seen.failed;
    }

    fn shown(&self, reference: Option<&Self>) -> String {
        let mut shown = format!("{:>7.0}/s", median(&self.rates));
        if let Some(ratio) = ratio(self, reference, |figures| &figures.rates) {
            shown += &format!(" ({ratio:.2} of native)");
        }
        if !self.p50.is_empty() {
            let [p50, p99, p999] = [&self.p50, &self.p99, &self.p999].map(|times| median(times));
            shown += &format!("  p50 {p50:>6.2}  p99 {p99:>6.2}  p99.9 {p999:>6.2} ms");
        }
        let [service, postgres, sidecar] = self.costs.each_ref().map(|costs| median(costs));
        if service.is_finite() {
            shown += &format!("  processor {service:.2} + {postgres:.2} + {sidecar:.2} ms");
        }
        if self.failed > 0 {
            shown += &format!(", {} FAILED", self.failed);
        }
        shown
    }

    fn value(&self, reference: Option<&Self>) -> serde_json::Value {
        let [service, postgres, sidecar] = &self.costs;
        json!({
            "rates": self.rates, "p50_ms": self.p50, "p99_ms": self.p99, "p999_ms": self.p999,
            "failed": self.failed,
            "processor_ms_per_request": {"service": service, "postgres": postgres, "sidecar": sidecar},
            "rate_to_native": ratio(self, reference, |figures| &figures.rates),
            "p50_to_native": ratio(self, reference, |figures| &figures.p50),
        })
    }
}

/// NaN of nothing.
fn median(values: &[f64]) -> f64 {
    Spread::of(values.to_vec()).median()
}

/// Of the medians; `None` where one was not measured.
fn ratio(figures: &Figures, reference: Option<&Figures>, of: fn(&Figures) -> &Vec<f64>) -> Option<f64> {
    let ratio = median(of(figures)) / median(of(reference?));
    ratio.is_finite().then_some(ratio)
}
