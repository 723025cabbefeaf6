//! The running parts: one PostgreSQL, one Kafka, and replicas, each a host with a sidecar of its own that also ticks for
//! the relay.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use stack::resources::Deliver;
use stack::{
    App, AppOptions, Broker, DatabaseAddress, Host, Kafka, KafkaOptions, Postgres, Sidecar, SidecarOptions,
    database, free_port, write_resources,
};

use crate::Options;

/// Tokens are signed with it; HS256 wants 32 bytes or more.
pub(crate) const SECRET: &str = "chaos-has-a-secret-that-nobody-has-to-keep-00";

/// By which an app knows its sidecar.
pub(crate) const APP_TOKEN: &str = "chaos-has-one-token-for-all-of-its-sidecars";

/// How long the outbox may take to drain once everything works again: the longest back-off (60 s), a lease, and time
/// to work.
const DRAIN_LIMIT: Duration = Duration::from_secs(180);

const PENDING: &str = "select (select count(*) from task_changes) + (select count(*) from parked_events) +
    (select count(*) from user_streams where least(task_events, task_updates, reminders) < last_sequence)";

/// Everything that runs. Fields are dropped, and so ended, in this order.
pub(crate) struct System {
    replicas: Vec<Replica>,
    kafka: Option<Kafka>,
    postgres: Option<Postgres>,
    database_url: String,
    resources: PathBuf,
    kafka_port: u16,
    postgres_port: u16,
    programs: Programs,
}

struct Programs {
    host: Host,
    daprd: PathBuf,
    libraries: PathBuf,
    manifest: PathBuf,
    directory: PathBuf,
}

struct Replica {
    host: Option<App>,
    sidecar: Option<Sidecar>,
    host_port: u16,
    sidecar_port: u16,
}

impl System {
    /// Starts everything in a directory of its own, which is emptied first.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let directory = options.directory.clone();
        clear(&directory)?;
        let (kafka_port, postgres_port) = (free_port()?, free_port()?);
        println!("starting PostgreSQL, Kafka and {} replicas of host and sidecar", options.replicas);
        let postgres = Postgres::start(&directory.join("postgres"), postgres_port)?;
        postgres.create_database("chaos")?;
        let database_url = postgres.url("chaos");
        database::migrate(&database_url, &options.project.join("migrations"))?;
        let resources = directory.join("resources");
        let bootstrap = format!("127.0.0.1:{kafka_port}");
        write_resources(&resources, &Broker::Kafka { bootstrap }, Deliver::Ticks)?;
        let mut system = Self {
            replicas: (0..options.replicas).map(|_| Replica::new()).collect::<Result<_>>()?,
            kafka: None,
            postgres: Some(postgres),
            database_url,
            resources,
            kafka_port,
            postgres_port,
            programs: Programs {
                host: options.host.clone(),
                daprd: options.daprd.clone(),
                libraries: options.kafka.clone(),
                manifest: manifest(&options.project, &directory)?,
                directory,
            },
        };
        system.start_kafka()?;
        for number in 0..options.replicas {
            system.start_host(number)?;
            system.start_sidecar(number)?;
        }
        Ok(system)
    }

    pub(crate) fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// The addresses of the API.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.replicas.iter().map(|replica| format!("http://127.0.0.1:{}", replica.host_port)).collect()
    }

    /// Where the API of a replica listens on 127.0.0.1.
    pub(crate) fn host_port(&self, number: usize) -> Result<u16> {
        Ok(self.replica(number)?.host_port)
    }

    /// `host:port` of Kafka.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.kafka_port)
    }

    pub(crate) fn kill_host(&mut self, number: usize) -> Result<()> {
        match self.replica_mut(number)?.host.take() {
            Some(host) => host.process().kill(),
            None => Ok(()),
        }
    }

    pub(crate) fn start_host(&mut self, number: usize) -> Result<()> {
        let replica = self.replica(number)?;
        let app = App::start(AppOptions {
            host: &self.programs.host,
            manifest: self.programs.manifest.clone(),
            listen_port: replica.host_port,
            variables: self.variables(replica)?,
            log: self.programs.directory.join(format!("host-{number}.log")),
            on_log: None,
        })?;
        self.replica_mut(number)?.host = Some(app);
        Ok(())
    }

    pub(crate) fn kill_sidecar(&mut self, number: usize) -> Result<()> {
        match self.replica_mut(number)?.sidecar.take() {
            Some(sidecar) => sidecar.process().kill(),
            None => Ok(()),
        }
    }

    /// Errors: also that Kafka is down.
    pub(crate) fn start_sidecar(&mut self, number: usize) -> Result<()> {
        let replica = self.replica(number)?;
        let sidecar = Sidecar::start(SidecarOptions {
            daprd: self.programs.daprd.clone(),
            app_id: format!("chaos-{number}"),
            http_port: replica.sidecar_port,
            resources: &self.resources,
            app_port: Some(replica.host_port),
            api_token: None,
            app_token: Some(APP_TOKEN.to_owned()),
            log: self.programs.directory.join(format!("daprd-{number}.log")),
            on_log: None,
        })?;
        self.replica_mut(number)?.sidecar = Some(sidecar);
        Ok(())
    }

    /// The sidecar keeps its connections and answers nothing until it is resumed.
    pub(crate) fn pause_sidecar(&self, number: usize) -> Result<()> {
        self.sidecar(number)?.process().pause()
    }

    pub(crate) fn resume_sidecar(&self, number: usize) -> Result<()> {
        self.sidecar(number)?.process().resume()
    }

    pub(crate) fn stop_kafka(&mut self) -> Result<()> {
        match self.kafka.take() {
            Some(kafka) => kafka.process().stop(),
            None => Ok(()),
        }
    }

    pub(crate) fn start_kafka(&mut self) -> Result<()> {
        self.kafka = Some(Kafka::start(&KafkaOptions {
            libraries: self.programs.libraries.clone(),
            directory: &self.programs.directory.join("kafka"),
            port: self.kafka_port,
        })?);
        Ok(())
    }

    pub(crate) fn pause_kafka(&self) -> Result<()> {
        self.running_kafka()?.process().pause()
    }

    pub(crate) fn resume_kafka(&self) -> Result<()> {
        self.running_kafka()?.process().resume()
    }

    pub(crate) fn stop_postgres(&mut self) -> Result<()> {
        match self.postgres.take() {
            Some(postgres) => postgres.process().stop(),
            None => Ok(()),
        }
    }

    pub(crate) fn start_postgres(&mut self) -> Result<()> {
        self.postgres = Some(Postgres::start(&self.programs.directory.join("postgres"), self.postgres_port)?);
        Ok(())
    }

    /// Waits until nothing is left in the outbox; says how long that took, or `None` when it did not happen.
    pub(crate) fn drain(&self) -> Result<Option<Duration>> {
        let since = Instant::now();
        while since.elapsed() < DRAIN_LIMIT {
            stack::interrupt::check()?;
            if database::run(&self.database_url, PENDING)?.trim() == "0" {
                return Ok(Some(since.elapsed()));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(None)
    }

    /// How many changes each user has committed, from the database.
    pub(crate) fn streams(&self) -> Result<BTreeMap<String, u64>> {
        let rows = database::run(&self.database_url, "select user_id, last_sequence from user_streams")?;
        let parse = |row: &str| {
            let (user, sequence) = row.split_once('|')?;
            Some((user.to_owned(), sequence.parse().ok()?))
        };
        rows.lines().map(|row| parse(row).with_context(|| format!("read `{row}`"))).collect()
    }

    fn variables(&self, replica: &Replica) -> Result<BTreeMap<String, String>> {
        let address = DatabaseAddress::parse(&self.database_url)?;
        let variables = [
            ("database_url", self.database_url.clone()),
            ("database_host", address.host_port().to_owned()),
            ("jwt_secret", SECRET.to_owned()),
            ("app_api_token", APP_TOKEN.to_owned()),
            ("dapr_url", format!("http://127.0.0.1:{}", replica.sidecar_port)),
        ];
        Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn sidecar(&self, number: usize) -> Result<&Sidecar> {
        self.replica(number)?.sidecar.as_ref().context("the sidecar is not running")
    }

    fn running_kafka(&self) -> Result<&Kafka> {
        self.kafka.as_ref().context("Kafka is not running")
    }

    fn replica(&self, number: usize) -> Result<&Replica> {
        self.replicas.get(number).context("there is no such replica")
    }

    fn replica_mut(&mut self, number: usize) -> Result<&mut Replica> {
        self.replicas.get_mut(number).context("there is no such replica")
    }
}

impl Replica {
    fn new() -> Result<Self> {
        Ok(Self { host: None, sidecar: None, host_port: free_port()?, sidecar_port: free_port()? })
    }
}

/// The project's manifest with absolute paths, and for creating tasks the build that has fault points.
fn manifest(project: &Path, directory: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(project.join("spin.toml")).context("read spin.toml")?;
    let target = project.join("target/wasm32-wasip2");
    let (release, faulty) = (target.join("release"), target.join("debug/tasks.wasm"));
    let text = text
        .replace("\"target/wasm32-wasip2/release/tasks.wasm\"", &format!("\"{}\"", faulty.display()))
        .replace("\"target/wasm32-wasip2/release", &format!("\"{}", release.display()));
    let manifest = directory.join("spin.toml");
    fs::write(&manifest, text).context("write the manifest")?;
    fs::copy(project.join("runtime-config.toml"), directory.join("runtime-config.toml"))
        .context("copy runtime-config.toml")?;
    Ok(manifest)
}

fn clear(directory: &Path) -> Result<()> {
    stack::postgres::remove(&directory.join("postgres"))?;
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))
}
