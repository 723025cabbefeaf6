//! What the end-to-end tests run on. They start apps and sidecars of their own; database server and broker are shared.

use std::fs;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use stack::{Host, Kafka, KafkaOptions, Launch, Postgres, PostgresOptions, free_port};

use super::cargo;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps;
use crate::steps::host::Choice;
use crate::steps::programs::Programs;

const TESTS_PER_PROCESSOR: usize = 2;

pub(crate) struct Parts {
    postgres: Postgres,
    kafka: Kafka,
    programs: Programs,
    chromium: PathBuf,
    observability: PathBuf,
    python: PathBuf,
}

/// Builds what is missing and starts an empty database server and an empty broker.
pub(crate) fn start(project: &Project, progress: &Arc<Progress>, host: Option<Choice>) -> Result<Parts> {
    let python = steps::python::prepare(project, progress)?;
    let programs = steps::programs::prepare(project, progress, host)?;
    steps::node::modules(project, progress, "packages for the tests installed", "tests/node")?;
    let chromium = steps::chromium::prepare(project, progress)?;
    let observability = steps::observability::prepare(project, progress)?;
    let (postgres, kafka) = steps::side_by_side(
        || start_postgres(project, progress),
        || start_kafka(project, progress, programs.libraries.clone()),
    )?;
    Ok(Parts { postgres, kafka, programs, chromium, observability, python })
}

impl Parts {
    /// Ends what was started; what was built stays.
    pub(super) fn end(self) -> Programs {
        self.programs
    }

    /// The host that was chosen.
    pub(crate) fn host(&self) -> &Host {
        &self.programs.host
    }

    /// The end-to-end tests on this host. They find the parts by their environment.
    pub(crate) fn tests(&self, project: &Project, host: &Host) -> Result<Launch> {
        let tests = cargo(project, ["test", "--package", "tests"])
            .env("RUST_TEST_THREADS", threads().to_string())
            .env("TASKCAST_TEST_HOST", host.to_string());
        Ok(self.environment()?.into_iter().fold(tests, |tests, (name, value)| tests.env(name, value)))
    }

    fn environment(&self) -> Result<[(&'static str, String); 8]> {
        let this = std::env::current_exe().context("find the program of cargo xtask")?;
        Ok([
            ("TASKCAST_TEST_DATABASE", self.postgres.admin_url()),
            ("TASKCAST_TEST_KAFKA", self.kafka.bootstrap()),
            ("TASKCAST_TEST_KAFKA_LIBRARIES", self.programs.libraries.display().to_string()),
            ("TASKCAST_TEST_DAPRD", self.programs.daprd.display().to_string()),
            ("TASKCAST_TEST_CHROMIUM", self.chromium.display().to_string()),
            ("TASKCAST_TEST_OBSERVABILITY", self.observability.display().to_string()),
            ("TASKCAST_TEST_PYTHON", self.python.display().to_string()),
            ("TASKCAST_TEST_XTASK", this.display().to_string()),
        ])
    }
}

/// How many tests run side by side: half of the time, a test waits for what somebody else's time-out does.
fn threads() -> usize {
    TESTS_PER_PROCESSOR * std::thread::available_parallelism().map_or(1, NonZero::get)
}

fn start_postgres(project: &Project, progress: &Arc<Progress>) -> Result<Postgres> {
    let directory = project.local("test/postgres");
    stack::postgres::remove(&directory)?;
    progress.step("PostgreSQL started", || {
        Postgres::start_with(&PostgresOptions {
            directory: &directory,
            port: free_port()?,
            durable: false,
            yielding: false,
        })
    })
}

fn start_kafka(project: &Project, progress: &Arc<Progress>, libraries: PathBuf) -> Result<Kafka> {
    let directory = project.local("test/kafka");
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    progress.step("Kafka started", || {
        Kafka::start(&KafkaOptions { libraries, directory: &directory, port: free_port()? })
    })
}
