//! The sample consumer of `examples/consumer`, behind a sidecar and with a database of its own: what a subscriber sees
//! that drops repeats and watches `sequence`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use stack::resources::Deliver;
use stack::{
    Broker, Launch, Process, Sidecar, SidecarOptions, System, database, free_port, probe, write_resources,
};

use crate::events::Event;

/// The application's name, in `subscription.yaml` too.
const NAME: &str = "consumer";

/// How long it may receive nothing while something is left. A consumer that Kafka has lost sight of waits for its group
/// to form anew, which takes a minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// The consumer at work. Fields are dropped, and so ended, in this order.
pub(crate) struct Observer {
    _sidecar: Sidecar,
    _consumer: Process,
    database_url: String,
    log: PathBuf,
}

/// What it saw.
#[derive(Default)]
pub(crate) struct Observed {
    pub(crate) stored: usize,
    pub(crate) repeated: usize,
    /// Events in Kafka that it has not stored, and stored ones that are not in Kafka.
    pub(crate) different: Vec<String>,
    /// Its own complaints: a gap, or an event that came after a later one.
    pub(crate) complaints: Vec<String>,
}

impl Observer {
    pub(crate) fn start(system: &System, program: &Path, project: &Path, directory: &Path) -> Result<Self> {
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
        }
        let postgres = system.postgres()?;
        postgres.create_database(NAME)?;
        let (database_url, port) = (postgres.url(NAME), free_port()?);
        // It stores one event after the other, and would spend its time waiting for the disk that the API needs. The
        // server is shut down in this run but never killed, so nothing is lost by it.
        database::run(&database_url, &format!("alter database {NAME} set synchronous_commit = off"))?;
        let resources = directory.join("resources");
        write_resources(&resources, &Broker::Kafka { bootstrap: system.bootstrap() }, Deliver::Nothing)?;
        fs::copy(project.join("examples/consumer/subscription.yaml"), resources.join("subscription.yaml"))
            .context("copy subscription.yaml")?;
        let log = directory.join("consumer.log");
        let consumer = Launch::new("the sample consumer", program)
            .args(["--database-url", &database_url, "--port", &port.to_string()])
            .log(&log)
            .yielding()
            .start()?;
        consumer.wait_until(Duration::from_secs(30), || probe::accepts(port))?;
        let sidecar = Sidecar::start(SidecarOptions {
            daprd: system.options().daprd.clone(),
            app_id: NAME.to_owned(),
            http_port: free_port()?,
            resources: &resources,
            app_port: Some(port),
            api_token: None,
            app_token: None,
            log: directory.join("daprd.log"),
            on_log: None,
            yielding: true,
        })?;
        Ok(Self { _sidecar: sidecar, _consumer: consumer, database_url, log })
    }

    /// Waits until it has stored as many events as there are in Kafka, or gets no further, and compares them.
    pub(crate) fn compare(self, events: &[Event]) -> Result<Observed> {
        let sent: HashSet<String> = events.iter().map(|event| name(&event.source, &event.id)).collect();
        let (mut count, mut since) = (self.count()?, Instant::now());
        while count < sent.len() && since.elapsed() < PATIENCE {
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
        let log = fs::read_to_string(&self.log).context("read the consumer's log")?;
        let lines = |word: &str| log.lines().filter(|line| line.contains(word)).map(str::to_owned).collect();
        let complaints: [Vec<String>; 2] = [lines(": GAP,"), lines(": LATE,")];
        Ok(Observed {
            stored: stored.len(),
            repeated: lines(": repeated,").len(),
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

fn name(source: &str, id: &str) -> String {
    format!("{source} {id}")
}
