//! A whole taskcast: one PostgreSQL, one Kafka, and replicas, each a host with a sidecar of its own that also ticks for the
//! relay. For programs that break it or measure it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::resources::Deliver;
use crate::{
    App, Broker, DatabaseAddress, Host, Kafka, Postgres, Process, Sidecar, database, free_port, interrupt,
    write_resources,
};

mod parts;

/// Tokens are signed with it; HS256 wants 32 bytes or more.
pub const SECRET: &str = "a-system-has-a-secret-that-nobody-has-to-keep-0";

/// By which an app knows its sidecar.
pub const APP_TOKEN: &str = "a-system-has-one-token-for-all-of-its-sidecars";

/// The API's database.
const DATABASE: &str = "taskcast";

const PENDING: &str = "select (select count(*) from task_changes) + (select count(*) from parked_events) +
    (select count(*) from user_streams where least(task_events, task_updates, reminders) < last_sequence)";

/// The programs a system runs on, and where it is.
#[derive(Clone, Debug)]
pub struct SystemOptions {
    /// The clone whose migrations are applied.
    pub project: PathBuf,
    /// The manifest that the hosts run; a `runtime-config.toml` beside it is used too.
    pub manifest: PathBuf,
    /// Holds the data and the logs; what is there is deleted.
    pub directory: PathBuf,
    /// The sidecar's program.
    pub daprd: PathBuf,
    /// The directory with Kafka's jars.
    pub kafka: PathBuf,
    /// What runs the components.
    pub host: Host,
    /// How many hosts, each with a sidecar of its own.
    pub replicas: usize,
    /// What the hosts show their sidecars; without one, these ask for none.
    pub api_token: Option<String>,
}

/// Everything that runs. Fields are dropped, and so ended, in this order.
pub struct System {
    replicas: Vec<Replica>,
    kafka: Option<Kafka>,
    postgres: Option<Postgres>,
    database_url: String,
    resources: PathBuf,
    kafka_port: u16,
    postgres_port: u16,
    options: SystemOptions,
}

struct Replica {
    host: Option<App>,
    sidecar: Option<Sidecar>,
    host_port: u16,
    sidecar_port: u16,
}

impl System {
    /// Starts PostgreSQL (with fsync) and Kafka, applies the migrations, and starts every host and sidecar.
    pub fn start(options: SystemOptions) -> Result<Self> {
        clear(&options.directory)?;
        let (kafka_port, postgres_port) = (free_port()?, free_port()?);
        println!("starting PostgreSQL, Kafka and {} replicas of host and sidecar", options.replicas);
        let postgres = Postgres::start(&options.directory.join("postgres"), postgres_port)?;
        postgres.create_database(DATABASE)?;
        let database_url = postgres.url(DATABASE);
        database::migrate(&database_url, &options.project.join("migrations"))?;
        let resources = options.directory.join("resources");
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
            options,
        };
        system.start_kafka()?;
        for number in 0..system.replicas() {
            system.start_host(number)?;
            system.start_sidecar(number)?;
        }
        Ok(system)
    }

    /// What it was started with.
    pub fn options(&self) -> &SystemOptions {
        &self.options
    }

    /// How many there are; they are numbered from 0.
    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// The addresses of the API.
    pub fn urls(&self) -> Vec<String> {
        self.replicas.iter().map(|replica| format!("http://127.0.0.1:{}", replica.host_port)).collect()
    }

    /// Where the API of a replica listens on 127.0.0.1.
    pub fn host_port(&self, number: usize) -> Result<u16> {
        Ok(self.replica(number)?.host_port)
    }

    /// Where the sidecar of a replica listens on 127.0.0.1.
    pub fn sidecar_port(&self, number: usize) -> Result<u16> {
        Ok(self.replica(number)?.sidecar_port)
    }

    /// `host:port` of Kafka.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.kafka_port)
    }

    /// The API's database.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// What a host and its components have written.
    pub fn host_log(&self, number: usize) -> PathBuf {
        self.options.directory.join(format!("host-{number}.log"))
    }

    /// The database server, for databases of its own that a program needs beside the API's.
    pub fn postgres(&self) -> Result<&Postgres> {
        self.postgres.as_ref().context("PostgreSQL is not running")
    }

    /// The process ids of the sidecars that run.
    pub fn sidecars(&self) -> Vec<u32> {
        self.replicas.iter().filter_map(|replica| Some(replica.sidecar.as_ref()?.process().pid())).collect()
    }

    /// Opens a session on the API's database that runs SQL and then ends, beside everything else.
    pub fn open_session(&self, sql: &str) -> Result<Process> {
        database::start(&self.database_url, sql, &self.options.directory.join("sessions.log"))
    }

    /// Waits until nothing is left in the outbox, parked events included; says how long that took, or `None` when it did
    /// not happen within `limit`.
    pub fn drain(&self, limit: Duration) -> Result<Option<Duration>> {
        let since = Instant::now();
        while since.elapsed() < limit {
            interrupt::check()?;
            if database::run(&self.database_url, PENDING)?.trim() == "0" {
                return Ok(Some(since.elapsed()));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(None)
    }

    /// How many changes each user has committed, from the database.
    pub fn streams(&self) -> Result<BTreeMap<String, u64>> {
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
            ("dapr_api_token", self.options.api_token.clone().unwrap_or_default()),
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

/// Makes this an empty directory; a cluster in its `postgres` is deleted with its data, wherever that is.
pub fn clear(directory: &Path) -> Result<()> {
    crate::postgres::remove(&directory.join("postgres"))?;
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))
}

/// Waits until the disk holds what has been written so far. The system would write it at a time of its own, and commits,
/// which wait for the disk, would stand in line behind it: what a measurement has set up must not slow it down.
pub fn write_out() {
    rustix::fs::sync();
}
