//! What the end-to-end tests run on. They start apps and sidecars of their own; database server and broker are shared.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use stack::{Host, Kafka, KafkaOptions, Postgres, PostgresOptions, free_port};

use crate::progress::Progress;
use crate::project::Project;
use crate::steps::host::Choice;
use crate::{steps, wasm_target};

pub(super) struct Parts {
    postgres: Postgres,
    kafka: Kafka,
    daprd: PathBuf,
    host: Host,
}

/// Builds what is missing and starts an empty database server and an empty broker.
pub(super) fn start(project: &Project, progress: &Arc<Progress>, host: Option<Choice>) -> Result<Parts> {
    steps::postgresql::ensure_server(project, progress)?;
    let ((daprd, libraries), host) = steps::side_by_side(
        || Ok((steps::daprd::prepare(project, progress)?, steps::kafka::prepare(project, progress)?)),
        || {
            wasm_target::ensure(project, progress)?;
            steps::components::build(project, progress)?;
            steps::components::build_with_faults(project, progress)?;
            steps::host::prepare(project, progress, host)
        },
    )?;
    let (postgres, kafka) = steps::side_by_side(
        || start_postgres(project, progress),
        || start_kafka(project, progress, libraries),
    )?;
    Ok(Parts { postgres, kafka, daprd, host })
}

impl Parts {
    /// How the tests find the parts.
    pub(super) fn environment(&self) -> Result<[(&'static str, String); 5]> {
        let host = match &self.host {
            Host::Embedded(program) => format!("embedded:{}", program.display()),
            Host::Spin(program) => format!("spin:{}", program.display()),
        };
        let this = std::env::current_exe().context("find the program of cargo xtask")?;
        Ok([
            ("TASKCAST_TEST_DATABASE", self.postgres.admin_url()),
            ("TASKCAST_TEST_KAFKA", self.kafka.bootstrap()),
            ("TASKCAST_TEST_DAPRD", self.daprd.display().to_string()),
            ("TASKCAST_TEST_HOST", host),
            ("TASKCAST_TEST_XTASK", this.display().to_string()),
        ])
    }
}

fn start_postgres(project: &Project, progress: &Arc<Progress>) -> Result<Postgres> {
    let directory = project.local("test/postgres");
    stack::postgres::remove(&directory)?;
    progress.step("PostgreSQL started", || {
        Postgres::start_with(&PostgresOptions { directory: &directory, port: free_port()?, durable: false })
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
