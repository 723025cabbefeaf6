//! The API beside its peers in one run: a native service with the same outbox, and a conventional one that publishes each
//! event before it answers. All have their own database in one PostgreSQL and their own sidecar on one Kafka; rounds are
//! interleaved, so that whatever else the machine does meets all of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use stack::resources::Deliver;
use stack::system::{APP_TOKEN, SECRET};
use stack::{
    App, AppOptions, Broker, DatabaseAddress, Kafka, KafkaOptions, Launch, Postgres, Process, Sidecar,
    SidecarOptions, database, free_port, probe, write_resources,
};
use tokio::runtime::Runtime;

use crate::Programs;
use crate::calls::{TASKS_PER_USER, Users};
use crate::load::{self, Make, Seen, as_f64};
use crate::report::{Report, Spread};
use crate::usage::{self, Usage};

/// Users whose tasks are changed and read.
const USERS: u64 = 200;

/// The rate at which latencies are measured, per second.
const RATE: u32 = 200;

/// Connections that never pause, for throughput.
const CONNECTIONS: [usize; 3] = [1, 16, 64];

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
}

/// What is compared. The second one is what ratios are to.
const PEERS: [&str; 3] = ["taskcast", "native", "conventional"];

/// A running service with its parts. Fields are dropped, and so ended, in this order.
struct Peer {
    name: &'static str,
    service: Service,
    sidecar: Sidecar,
    port: u16,
}

enum Service {
    Components(App),
    Native(Process),
}

struct Parts<'a> {
    programs: &'a Programs,
    directory: &'a Path,
    postgres: Postgres,
    kafka: Kafka,
}

pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Report> {
    let directory = programs.directory.join("compare");
    let runtime = crate::runtime()?;
    let parts = Parts::start(programs, &directory)?;
    // Those who read and those who create are others, so that no list grows.
    let (users, creators) = (Users::new("reader", USERS), Users::new("creator", USERS));
    let mut peers = Vec::new();
    for name in PEERS {
        println!("starting {name}");
        let peer = parts.peer(name)?;
        runtime.block_on(users.seed(&parts.postgres.url(name)))?;
        peers.push(peer);
    }
    let mut table = Table { runtime, postgres: parts.postgres.process().pid(), figures: BTreeMap::new() };
    let time = Duration::from_secs(options.seconds);
    // Everything is compiled, connected and prepared before anything counts.
    table.round(&peers, &users, &creators, Duration::from_secs(2))?;
    table.figures.clear();
    for round in 1..=options.rounds {
        println!("round {round} of {}", options.rounds);
        table.round(&peers, &users, &creators, time)?;
    }
    let mut report = Report::new("compare", json!({"rounds": options.rounds, "seconds": options.seconds}));
    table.report(&mut report);
    Ok(report)
}

impl<'a> Parts<'a> {
    fn start(programs: &'a Programs, directory: &'a Path) -> Result<Self> {
        stack::system::clear(directory)?;
        let postgres = Postgres::start(&directory.join("postgres"), free_port()?)?;
        let options = KafkaOptions {
            libraries: programs.kafka.clone(),
            directory: &directory.join("kafka"),
            port: free_port()?,
        };
        Ok(Self { programs, directory, postgres, kafka: Kafka::start(&options)? })
    }

    fn peer(&self, name: &'static str) -> Result<Peer> {
        self.postgres.create_database(name)?;
        database::migrate(&self.postgres.url(name), &self.programs.project.join("migrations"))?;
        let (port, sidecar_port) = (free_port()?, free_port()?);
        let service = match name {
            "taskcast" => Service::Components(self.components(name, port, sidecar_port)?),
            "native" => Service::Native(self.native(name, "outbox", port, sidecar_port)?),
            _ => Service::Native(self.native(name, "direct", port, sidecar_port)?),
        };
        let resources = self.directory.join(name).join("resources");
        let deliver = if name == "taskcast" { Deliver::Ticks } else { Deliver::Nothing };
        write_resources(&resources, &Broker::Kafka { bootstrap: self.kafka.bootstrap() }, deliver)?;
        let sidecar = Sidecar::start(SidecarOptions {
            daprd: self.programs.daprd.clone(),
            app_id: name.to_owned(),
            http_port: sidecar_port,
            resources: &resources,
            app_port: Some(port),
            api_token: None,
            app_token: Some(APP_TOKEN.to_owned()),
            log: self.directory.join(name).join("daprd.log"),
            on_log: None,
            yielding: false,
        })?;
        Ok(Peer { name, service, sidecar, port })
    }

    fn components(&self, name: &str, port: u16, sidecar_port: u16) -> Result<App> {
        let database_url = self.postgres.url(name);
        let address = DatabaseAddress::parse(&database_url)?;
        let variables = [
            ("database_host", address.host_port().to_owned()),
            ("database_url", database_url.clone()),
            ("jwt_secret", SECRET.to_owned()),
            ("app_api_token", APP_TOKEN.to_owned()),
            ("dapr_url", format!("http://127.0.0.1:{sidecar_port}")),
        ];
        App::start(AppOptions {
            host: &self.programs.host,
            manifest: self.programs.manifest()?,
            listen_port: port,
            variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            log: self.directory.join(name).join("service.log"),
            on_log: None,
        })
    }

    fn native(&self, name: &str, events: &str, port: u16, sidecar_port: u16) -> Result<Process> {
        let process = Launch::new(name, &self.programs.native)
            .args(["--listen", &format!("127.0.0.1:{port}"), "--events", events])
            .args(["--database-url", &self.postgres.url(name), "--jwt-secret", SECRET])
            .args(["--dapr-url", &format!("http://127.0.0.1:{sidecar_port}")])
            .log(self.directory.join(name).join("service.log"))
            .start()?;
        process.wait_until(Duration::from_secs(30), || probe::status(port, "/api/v1/health").is_some())?;
        Ok(process)
    }
}

impl Peer {
    fn service(&self) -> u32 {
        match &self.service {
            Service::Components(app) => app.process().pid(),
            Service::Native(process) => process.pid(),
        }
    }
}

/// By what was measured, and by peer.
struct Table {
    runtime: Runtime,
    postgres: u32,
    figures: BTreeMap<(String, &'static str), Figures>,
}

#[derive(Default)]
struct Figures {
    /// Requests per second.
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Milliseconds of the processor for a request: the service, PostgreSQL, the sidecar.
    costs: [Vec<f64>; 3],
    failed: u64,
}

impl Table {
    fn round(&mut self, peers: &[Peer], users: &Users, creators: &Users, time: Duration) -> Result<()> {
        for connections in CONNECTIONS {
            for peer in peers {
                self.closed(
                    peer,
                    &format!("create, {connections} connections"),
                    &creators.create(),
                    connections,
                    time,
                )?;
            }
        }
        let list = format!("list of {TASKS_PER_USER}");
        for (what, make) in [("get", users.read()), (&list, users.list()), ("patch", users.update())] {
            for peer in peers {
                self.closed(peer, &format!("{what}, 16 connections"), &make, 16, time)?;
            }
        }
        for peer in peers {
            let seen = self.runtime.block_on(load::open(&[peer.port], RATE, time, &creators.create()))?;
            self.add(format!("create, {RATE} per second"), peer.name, &seen, [Usage::default(); 3]);
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn closed(
        &mut self,
        peer: &Peer,
        what: &str,
        make: &Make,
        connections: usize,
        time: Duration,
    ) -> Result<()> {
        let pids = [peer.service(), self.postgres, peer.sidecar.process().pid()];
        let before = pids.map(|pid| usage::of(&[pid]));
        let seen = self.runtime.block_on(load::closed(&[peer.port], connections, time, make))?;
        // What follows the responses belongs to them.
        std::thread::sleep(PAUSE);
        let mut used = [Usage::default(); 3];
        for ((used, pid), before) in used.iter_mut().zip(pids).zip(before) {
            *used = usage::of(&[pid])? - before?;
        }
        self.add(what.to_owned(), peer.name, &seen, used);
        Ok(())
    }

    fn add(&mut self, what: String, peer: &'static str, seen: &Seen, used: [Usage; 3]) {
        let figures = self.figures.entry((what, peer)).or_default();
        figures.rates.push(seen.rate());
        figures.p50.push(seen.quantile(0.5));
        figures.p99.push(seen.quantile(0.99));
        for (costs, used) in figures.costs.iter_mut().zip(used) {
            costs.push(used.processor.as_secs_f64() * 1_000.0 / as_f64(seen.times.len().max(1)));
        }
        figures.failed += seen.failed;
    }

    fn report(&self, report: &mut Report) {
        for ((what, peer), figures) in &self.figures {
            let median = |values: &[f64]| Spread::of(values.to_vec()).median();
            let reference = self.figures.get(&(what.clone(), "native"));
            let ratio = |of: fn(&Figures) -> &Vec<f64>| {
                reference.map(|native| median(of(figures)) / median(of(native)))
            };
            let (rate, p50, p99) = (median(&figures.rates), median(&figures.p50), median(&figures.p99));
            let [service, postgres, sidecar] = figures.costs.each_ref().map(|costs| median(costs));
            let failed =
                if figures.failed == 0 { String::new() } else { format!(", {} FAILED", figures.failed) };
            let shown = format!(
                "{rate:>7.0}/s ({:.2} of native)  p50 {p50:>6.2} ms  p99 {p99:>6.2} ms  processor {service:.2} + {postgres:.2} + {sidecar:.2} ms{failed}",
                ratio(|figures| &figures.rates).unwrap_or(f64::NAN)
            );
            let value = json!({
                "rates": figures.rates, "p50_ms": figures.p50, "p99_ms": figures.p99, "failed": figures.failed,
                "processor_ms_per_request": {"service": service, "postgres": postgres, "sidecar": sidecar},
                "rate_to_native": ratio(|figures| &figures.rates), "p50_to_native": ratio(|figures| &figures.p50),
            });
            report.row(format!("{what}: {peer}"), shown, value);
        }
    }
}
