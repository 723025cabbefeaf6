//! The sample consumer of `examples/consumer`, behind a sidecar and with a database server of its own: what a subscriber sees
//! that drops repeats and watches `sequence`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use stack::resources::Deliver;
use stack::{
    Broker, Launch, Postgres, PostgresOptions, Process, Sidecar, SidecarOptions, System, database, free_port,
    probe, system, write_resources,
};

use crate::events::Event;

/// The application's name, in `subscription.yaml` too.
const NAME: &str = "consumer";

/// How long it may receive nothing while something is left. A consumer that Kafka has lost sight of waits for its group
/// to form anew, which takes a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// The consumer at work. Fields are dropped, and so ended, in this order.
pub(crate) struct Observer {
    sidecar: Option<Sidecar>,
    _consumer: Process,
    _postgres: Postgres,
    database_url: String,
    directory: PathBuf,
    daprd: PathBuf,
    /// Where it listens.
    port: u16,
}

/// What it saw.
#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) stored: usize,
    pub(crate) repeated: usize,
    /// Whether its sidecar had stopped delivering and was started anew.
    pub(crate) restarted: bool,
    /// Events in Kafka that it has not stored, and stored ones that are not in Kafka.
    pub(crate) different: Vec<String>,
    /// Its own complaints: a gap, or an event that came after a later one.
    pub(crate) complaints: Vec<String>,
}

impl Observer {
    pub(crate) fn start(system: &System, program: &Path, project: &Path, directory: &Path) -> Result<Self> {
        system::clear(directory)?;
        // Elsewhere it has a machine of its own: neither its commits nor its queries are to slow the API's down.
        let postgres = Postgres::start_with(&PostgresOptions {
            directory: &directory.join("postgres"),
            port: free_port()?,
            durable: false,
            yielding: true,
        })?;
        postgres.create_database(NAME)?;
        let (database_url, port) = (postgres.url(NAME), free_port()?);
        let resources = directory.join("resources");
        write_resources(&resources, &Broker::Kafka { bootstrap: system.bootstrap() }, Deliver::Nothing)?;
        fs::copy(project.join("examples/consumer/subscription.yaml"), resources.join("subscription.yaml"))
            .context("copy subscription.yaml")?;
        let consumer = Launch::new("the sample consumer", program)
            .args(["--database-url", &database_url, "--port", &port.to_string()])
            .log(log(directory))
            .yielding()
            .start()?;
        consumer.wait_until(Duration::from_secs(30), || probe::accepts(port))?;
        let (directory, daprd) = (directory.to_owned(), system.options().daprd.clone());
        let mut observer = Self {
            sidecar: None,
            _consumer: consumer,
            _postgres: postgres,
            database_url,
            directory,
            daprd,
            port,
        };
        observer.start_sidecar("daprd.log")?;
        Ok(observer)
    }

    /// Ends the one that runs.
    fn start_sidecar(&mut self, log: &str) -> Result<()> {
        self.sidecar = None;
        self.sidecar = Some(Sidecar::start(SidecarOptions {
            daprd: self.daprd.clone(),
            app_id: NAME.to_owned(),
            http_port: free_port()?,
            resources: &self.directory.join("resources"),
            configuration: None,
            app_port: Some(self.port),
            api_token: None,
            app_token: None,
            metrics_port: None,
            log: self.directory.join(log),
            on_log: None,
            yielding: true,
        })?);
        Ok(())
    }

    /// Waits until it has stored as many events as there are in Kafka, or gets no further, and compares them. When nothing
    /// has come for long, its sidecar is started anew once, as an operator would do.
    pub(crate) fn compare(mut self, events: &[Event]) -> Result<Observed> {
        let sent: HashSet<String> = events.iter().map(|event| name(&event.source, &event.id)).collect();
        let (mut count, mut since, mut restarted) = (self.count()?, Instant::now(), false);
        while count < sent.len() {
            if since.elapsed() > PATIENCE {
                if restarted {
                    break;
                }
                println!("the sample consumer's sidecar delivers nothing: started anew");
                self.start_sidecar("daprd-2.log")?;
                (since, restarted) = (Instant::now(), true);
            }
            stack::interrupt::check()?;
            thread::sleep(Duration::from_millis(200));
            let now = self.count()?;
            if now > count {
                (count, since) = (now, Instant::now());
            }
        }
        let stored = self.stored()?;
        let missing = sent.difference(&stored).map(|event| format!("not stored: {event}"));
        let unknown = stored.difference(&sent).map(|event| format!("not in Kafka: {event}"));
        let log = fs::read_to_string(log(&self.directory)).context("read the consumer's log")?;
        let lines = |word: &str| log.lines().filter(|line| line.contains(word)).map(str::to_owned).collect();
        let complaints: [Vec<String>; 2] = [lines(": GAP,"), lines(": LATE,")];
        Ok(Observed {
            stored: stored.len(),
            repeated: lines(": repeated,").len(),
            restarted,
            different: missing.chain(unknown).collect(),
            complaints: complaints.concat(),
        })
    }

    fn count(&self) -> Result<usize> {
        let count = database::run(&self.database_url, "select count(*) from events")?;
        count.trim().parse().context("count the consumer's events")
    }

    fn stored(&self) -> Result<HashSet<String>> {
        let rows = database::run(&self.database_url, "select source, id from events")?;
        Ok(rows.lines().filter_map(|row| row.split_once('|')).map(|(source, id)| name(source, id)).collect())
    }
}

/// What a consumer in this directory writes.
pub(crate) fn log(directory: &Path) -> PathBuf {
    directory.join("consumer.log")
}

fn name(source: &str, id: &str) -> String {
    format!("{source} {id}")
}
