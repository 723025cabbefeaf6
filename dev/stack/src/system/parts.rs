//! Starting, stopping and breaking the parts of a system.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{APP_TOKEN, System};
use crate::{App, AppOptions, Kafka, KafkaOptions, Postgres, Sidecar, SidecarOptions, interrupt, probe};

impl System {
    /// Kills a host, as a crash would.
    pub fn kill_host(&mut self, number: usize) -> Result<()> {
        match self.replica_mut(number)?.host.take() {
            Some(host) => host.process().kill(),
            None => Ok(()),
        }
    }

    /// Starts a host and waits until it answers.
    pub fn start_host(&mut self, number: usize) -> Result<()> {
        let replica = self.replica(number)?;
        let app = App::start(AppOptions {
            host: &self.options.host,
            manifest: self.options.manifest.clone(),
            listen_port: replica.host_port,
            variables: self.variables(replica)?,
            environment: BTreeMap::new(),
            log: self.host_log(number),
            on_log: None,
        })?;
        self.replica_mut(number)?.host = Some(app);
        Ok(())
    }

    /// Kills a sidecar, as a crash would.
    pub fn kill_sidecar(&mut self, number: usize) -> Result<()> {
        match self.replica_mut(number)?.sidecar.take() {
            Some(sidecar) => sidecar.process().kill(),
            None => Ok(()),
        }
    }

    /// Starts a sidecar and waits until it can publish. Errors: also that Kafka is down.
    pub fn start_sidecar(&mut self, number: usize) -> Result<()> {
        let replica = self.replica(number)?;
        let sidecar = Sidecar::start(SidecarOptions {
            daprd: self.options.daprd.clone(),
            app_id: format!("taskcast-{number}"),
            http_port: replica.sidecar_port,
            resources: &self.resources,
            configuration: None,
            app_port: Some(replica.host_port),
            api_token: self.options.api_token.clone(),
            app_token: Some(APP_TOKEN.to_owned()),
            metrics_port: None,
            log: self.options.directory.join(format!("daprd-{number}.log")),
            on_log: None,
            yielding: false,
        })?;
        self.replica_mut(number)?.sidecar = Some(sidecar);
        Ok(())
    }

    /// The resource files of all sidecars.
    pub fn resources(&self) -> &Path {
        &self.resources
    }

    /// Waits until a sidecar can publish. Errors: it ended.
    pub fn wait_for_sidecar(&self, number: usize) -> Result<()> {
        let (sidecar, port) = (self.sidecar(number)?, self.sidecar_port(number)?);
        let ready = || probe::status(port, "/v1.0/healthz/outbound") == Some(204);
        sidecar.process().wait_until(Duration::from_secs(60), ready)
    }

    /// The sidecar keeps its connections and answers nothing until it is resumed.
    pub fn pause_sidecar(&self, number: usize) -> Result<()> {
        self.sidecar(number)?.process().pause()
    }

    /// Lets a paused sidecar go on.
    pub fn resume_sidecar(&self, number: usize) -> Result<()> {
        self.sidecar(number)?.process().resume()
    }

    /// Ends Kafka; its data stays.
    pub fn stop_kafka(&mut self) -> Result<()> {
        match self.kafka.take() {
            Some(kafka) => kafka.process().stop(),
            None => Ok(()),
        }
    }

    /// Kills Kafka, as a crash would; its data stays as it is.
    pub fn kill_kafka(&mut self) -> Result<()> {
        match self.kafka.take() {
            Some(kafka) => kafka.process().kill(),
            None => Ok(()),
        }
    }

    /// Starts Kafka with the topics.
    pub fn start_kafka(&mut self) -> Result<()> {
        self.kafka = Some(Kafka::start(&KafkaOptions {
            libraries: self.options.kafka.clone(),
            directory: &self.options.directory.join("kafka"),
            port: self.kafka_port,
        })?);
        Ok(())
    }

    /// Kafka keeps its connections and answers nothing until it is resumed.
    pub fn pause_kafka(&self) -> Result<()> {
        self.running_kafka()?.process().pause()
    }

    /// Lets a paused Kafka go on.
    pub fn resume_kafka(&self) -> Result<()> {
        self.running_kafka()?.process().resume()
    }

    /// Ends PostgreSQL with a fast shutdown: it cuts every connection.
    pub fn stop_postgres(&mut self) -> Result<()> {
        match self.postgres.take() {
            Some(postgres) => postgres.process().stop(),
            None => Ok(()),
        }
    }

    /// Starts PostgreSQL on the data that is there. After a kill, the processes of the old server may still be ending: the new
    /// one refuses to start beside them.
    pub fn start_postgres(&mut self) -> Result<()> {
        let directory = self.options.directory.join("postgres");
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut postgres = Postgres::start(&directory, self.postgres_port);
        while postgres.is_err() && Instant::now() < deadline {
            interrupt::check()?;
            thread::sleep(Duration::from_millis(200));
            postgres = Postgres::start(&directory, self.postgres_port);
        }
        self.postgres = Some(postgres?);
        Ok(())
    }

    /// Kills PostgreSQL's postmaster, as the kernel does when it is out of memory. Its other processes end by themselves.
    pub fn kill_postgres(&mut self) -> Result<()> {
        match self.postgres.take() {
            Some(postgres) => postgres.process().kill(),
            None => Ok(()),
        }
    }
}
