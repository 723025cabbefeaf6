//! Apache Kafka on loopback: one node in KRaft mode.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{Launch, Process, free_port, probe, random, topics};

/// How a broker runs.
pub struct KafkaOptions<'a> {
    /// The directory with Kafka's jars.
    pub libraries: PathBuf,
    /// Holds the data, the settings and the log; created when missing.
    pub directory: &'a Path,
    /// The port on 127.0.0.1.
    pub port: u16,
}

/// A running broker that has the topics.
pub struct Kafka {
    process: Process,
    port: u16,
}

impl Kafka {
    /// Starts it and creates the topics that are missing. Errors: with the end of its log.
    pub fn start(options: &KafkaOptions<'_>) -> Result<Self> {
        let directory = options.directory;
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let settings = directory.join("server.properties");
        fs::write(&settings, server_properties(options, free_port()?)).context("write Kafka's settings")?;
        if !directory.join("data/meta.properties").exists() {
            format(options, &settings)?;
        }
        let launch = java(options, "Kafka", "kafka.Kafka").arg(&settings).log(directory.join("kafka.log"));
        let process = launch.start()?;
        process.wait_until(Duration::from_secs(90), || probe::accepts(options.port))?;
        topics::create(&bootstrap(options.port))?;
        Ok(Self { process, port: options.port })
    }

    /// `127.0.0.1:port`.
    pub fn bootstrap(&self) -> String {
        bootstrap(self.port)
    }

    /// The process: to pause, stop or kill it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

fn bootstrap(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn format(options: &KafkaOptions<'_>, settings: &Path) -> Result<()> {
    java(options, "Kafka's storage tool", "kafka.tools.StorageTool")
        // In one argument, since an id may begin with a dash.
        .args(["format", &format!("--cluster-id={}", random::secret(16)?), "--config"])
        .arg(settings)
        .log(options.directory.join("format.log"))
        .run()
}

fn java(options: &KafkaOptions<'_>, name: &str, class: &str) -> Launch {
    Launch::new(name, "java")
        .args(["-Xms128m", "-Xmx512m", "-XX:TieredStopAtLevel=1"])
        .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
        .arg(options.libraries.join("*"))
        .arg(class)
        .yielding()
}

fn server_properties(options: &KafkaOptions<'_>, controller_port: u16) -> String {
    let (port, data) = (options.port, options.directory.join("data"));
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         log.dirs={}\n\
         num.partitions=3\n\
         offsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n",
        data.display()
    )
}
