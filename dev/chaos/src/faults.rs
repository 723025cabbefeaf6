//! What is broken, one thing at a time, with calm in between.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use stack::system::APP_TOKEN;
use stack::{System, probe};

use crate::clients::Clients;
use crate::random::Random;
use crate::timeline::Timeline;

/// How long the calm at the beginning lasts, which the other phases are compared with; and how long before it nothing
/// is measured, because everything is still being loaded.
const BASELINE: Duration = Duration::from_secs(15);
const WARM_UP: Duration = Duration::from_secs(15);

/// How long a host lives on after it was told where to stop.
const HOLD: (u64, u64) = (300, 1_500);

/// How long a publisher is given that stands still for 17 s: its lease ends after 14 s.
const STALL: Duration = Duration::from_secs(19);

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillHost,
    KillHostBeforePublish,
    KillHostBeforeSettle,
    StallPublisher,
    KillSidecar,
    PauseSidecar,
    RestartKafka,
    PauseKafka,
    RestartPostgres,
    SidecarWithoutKafka,
    TicksAtOnce,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::KillHost,
        Self::KillHostBeforePublish,
        Self::KillHostBeforeSettle,
        Self::StallPublisher,
        Self::KillSidecar,
        Self::PauseSidecar,
        Self::RestartKafka,
        Self::PauseKafka,
        Self::RestartPostgres,
        Self::SidecarWithoutKafka,
        Self::TicksAtOnce,
    ];

    /// Whether the API's own parts are untouched, so that its clients must notice nothing.
    pub(crate) fn spares_api(self) -> bool {
        !self.kills_host() && self != Self::RestartPostgres
    }

    /// Whether connections to a host break.
    pub(crate) fn kills_host(self) -> bool {
        matches!(self, Self::KillHost | Self::KillHostBeforePublish | Self::KillHostBeforeSettle)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::KillHost => "host killed",
            Self::KillHostBeforePublish => "host killed between commit and publish",
            Self::KillHostBeforeSettle => "host killed between publish and settle",
            Self::StallPublisher => "publisher outlives its lease",
            Self::KillSidecar => "daprd killed",
            Self::PauseSidecar => "daprd hangs",
            Self::RestartKafka => "Kafka restarted",
            Self::PauseKafka => "Kafka hangs",
            Self::RestartPostgres => "PostgreSQL restarted",
            Self::SidecarWithoutKafka => "daprd started without Kafka",
            Self::TicksAtOnce => "relays called at once",
        })
    }
}

/// One thing that was broken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Whose host or sidecar, where it is one replica's.
    pub(crate) replica: usize,
}

/// Breaks and mends until the time is over and each kind has come; all is mended at the end. Each kind comes once before
/// any comes again.
pub(crate) fn run(system: &mut System, clients: &Clients, seed: u64, duration: Duration) -> Result<Timeline> {
    let mut random = Random::new(seed, 0);
    let mut timeline = Timeline::default();
    rest(WARM_UP)?;
    let began = Instant::now();
    calm(&mut timeline, BASELINE)?;
    let (mut kinds, mut rounds) = (Vec::new(), 0);
    while began.elapsed() < duration || rounds == 1 && !kinds.is_empty() {
        if kinds.is_empty() {
            kinds.extend(Kind::ALL);
            random.shuffle(&mut kinds);
            rounds += 1;
        }
        let Some(kind) = kinds.pop() else { continue };
        let fault = Fault { kind, replica: random.index(system.replicas()) };
        let started = Instant::now();
        println!("{} {kind} ({} mutations so far)", clock(began), clients.count());
        Breaking { system, clients, random: &mut random, replica: fault.replica }.run(kind)?;
        timeline.add(Some(fault), started);
        calm(&mut timeline, random.millis(3_000, 6_000))?;
    }
    println!("{} all is mended ({} mutations)", clock(began), clients.count());
    Ok(timeline)
}

fn calm(timeline: &mut Timeline, duration: Duration) -> Result<()> {
    let started = Instant::now();
    rest(duration)?;
    timeline.add(None, started);
    Ok(())
}

struct Breaking<'a> {
    system: &'a mut System,
    clients: &'a Clients,
    random: &'a mut Random,
    replica: usize,
}

impl Breaking<'_> {
    /// Returns when all is mended.
    fn run(&mut self, kind: Kind) -> Result<()> {
        match kind {
            Kind::KillHost => self.kill_host(),
            Kind::KillHostBeforePublish => self.kill_host_at("hold-before-publish"),
            Kind::KillHostBeforeSettle => self.kill_host_at("hold-before-settle"),
            Kind::StallPublisher => self.stall_publisher(),
            Kind::KillSidecar => self.kill_sidecar(),
            Kind::PauseSidecar => self.pause_sidecar(),
            Kind::RestartKafka => self.restart_kafka(),
            Kind::PauseKafka => self.pause_kafka(),
            Kind::RestartPostgres => self.restart_postgres(),
            Kind::SidecarWithoutKafka => self.start_sidecar_without_kafka(),
            Kind::TicksAtOnce => self.tick_at_once(),
        }
    }

    fn kill_host(&mut self) -> Result<()> {
        self.system.kill_host(self.replica)?;
        self.wait(500, 4_000)?;
        self.system.start_host(self.replica)
    }

    fn kill_host_at(&mut self, point: &'static str) -> Result<()> {
        self.inject(point)?;
        self.wait(HOLD.0, HOLD.1)?;
        self.kill_host()
    }

    /// Others take over what it has leased, and then it goes on.
    fn stall_publisher(&mut self) -> Result<()> {
        self.inject("stall-before-settle")?;
        rest(STALL)
    }

    /// The next request that creates a task there takes the fault along.
    fn inject(&mut self, point: &'static str) -> Result<()> {
        self.clients.arm(self.replica, point);
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.clients.is_armed() {
            rest(Duration::from_millis(10))?;
            if Instant::now() > deadline {
                bail!("no client created a task within 10 s");
            }
        }
        Ok(())
    }

    fn kill_sidecar(&mut self) -> Result<()> {
        self.system.kill_sidecar(self.replica)?;
        self.wait(500, 5_000)?;
        self.system.start_sidecar(self.replica)
    }

    fn pause_sidecar(&mut self) -> Result<()> {
        self.system.pause_sidecar(self.replica)?;
        self.wait(5_000, 20_000)?;
        self.system.resume_sidecar(self.replica)
    }

    fn restart_kafka(&mut self) -> Result<()> {
        self.system.stop_kafka()?;
        self.wait(1_000, 5_000)?;
        self.system.start_kafka()
    }

    fn pause_kafka(&mut self) -> Result<()> {
        self.system.pause_kafka()?;
        self.wait(5_000, 15_000)?;
        self.system.resume_kafka()
    }

    fn restart_postgres(&mut self) -> Result<()> {
        self.system.stop_postgres()?;
        self.wait(500, 3_000)?;
        self.system.start_postgres()
    }

    /// The sidecar gives up, and is started again when Kafka is there, as Kubernetes would.
    fn start_sidecar_without_kafka(&mut self) -> Result<()> {
        self.system.stop_kafka()?;
        self.system.kill_sidecar(self.replica)?;
        if self.system.start_sidecar(self.replica).is_ok() {
            println!("      the sidecar started although Kafka is down");
        }
        self.system.start_kafka()?;
        self.system.kill_sidecar(self.replica)?;
        self.system.start_sidecar(self.replica)
    }

    /// Several calls of every replica's relay, all at once, some times over.
    fn tick_at_once(&mut self) -> Result<()> {
        let ports = (0..self.system.replicas()).map(|number| self.system.host_port(number));
        let ports = ports.collect::<Result<Vec<_>>>()?;
        for _ in 0..10 {
            thread::scope(|scope| {
                for port in ports.iter().flat_map(|port| [*port; 4]) {
                    scope.spawn(move || tick(port));
                }
            });
            self.wait(100, 500)?;
        }
        Ok(())
    }

    fn wait(&mut self, from_millis: u64, to_millis: u64) -> Result<()> {
        rest(self.random.millis(from_millis, to_millis))
    }
}

fn tick(port: u16) {
    let answer = probe::post(port, "/internal/relay", ("dapr-api-token", APP_TOKEN), Duration::from_secs(30));
    if answer != Some(200) {
        println!("      the relay answered {answer:?}");
    }
}

/// Sleeps, unless interrupted.
fn rest(duration: Duration) -> Result<()> {
    let until = Instant::now() + duration;
    while Instant::now() < until {
        stack::interrupt::check()?;
        thread::sleep(Duration::from_millis(10).min(duration));
    }
    Ok(())
}

fn clock(began: Instant) -> String {
    let seconds = began.elapsed().as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
