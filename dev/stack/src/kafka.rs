//! Apache Kafka on loopback: one node in KRaft mode.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{Acl, Launch, Process, acls, free_port, probe, random, topics};

/// How a broker runs.
pub struct KafkaOptions<'a> {
    /// The directory with Kafka's jars.
    pub libraries: PathBuf,
    /// Holds the data, the settings and the log; created when missing.
    pub directory: &'a Path,
    /// The port on 127.0.0.1.
    pub port: u16,
}

/// How a broker listens in production, beside the plain listener: with TLS, to one user with a password (SCRAM-SHA-512), who may
/// do nothing but what is granted. Whoever comes to the plain listener may do everything.
pub struct Secured<'a> {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The port on 127.0.0.1 for the same user without TLS.
    pub port_without_tls: u16,
    /// The user.
    pub user: &'a str,
    /// The user's password.
    pub password: &'a str,
    /// The user's rights.
    pub acls: &'a [Acl],
}

/// A running broker that has the topics.
pub struct Kafka {
    process: Process,
    port: u16,
}

impl Kafka {
    /// Starts it and creates the topics that are missing. Errors: with the end of its log.
    pub fn start(options: &KafkaOptions<'_>) -> Result<Self> {
        Self::start_with(options, None)
    }

    /// Also listens as in production, with a certificate of its own ([`certificate`]); `options.directory` must be new.
    pub fn start_secured(options: &KafkaOptions<'_>, secured: &Secured<'_>) -> Result<Self> {
        Self::start_with(options, Some(secured))
    }

    fn start_with(options: &KafkaOptions<'_>, secured: Option<&Secured<'_>>) -> Result<Self> {
        let directory = options.directory;
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let settings = directory.join("server.properties");
        let mut properties = server_properties(options, free_port()?, secured);
        if secured.is_some() {
            properties += &secured_properties(directory, &create_key(directory)?);
        }
        fs::write(&settings, properties).context("write Kafka's settings")?;
        if !directory.join("data/meta.properties").exists() {
            format(options, &settings, secured)?;
        }
        let launch =
            java(&options.libraries, "Kafka", "kafka.Kafka").arg(&settings).log(directory.join("kafka.log"));
        let process = launch.start()?;
        process.wait_until(Duration::from_secs(90), || probe::accepts(options.port))?;
        topics::create(&bootstrap(options.port))?;
        if let Some(Secured { user, acls, .. }) = secured {
            acls::create(&bootstrap(options.port), user, acls)?;
        }
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

/// The certificate of a broker that was started with [`Kafka::start_secured`] in this directory, in PEM.
pub fn certificate(directory: &Path) -> PathBuf {
    directory.join("ca.crt")
}

fn format(options: &KafkaOptions<'_>, settings: &Path, secured: Option<&Secured<'_>>) -> Result<()> {
    let tool = java(&options.libraries, "Kafka's storage tool", "kafka.tools.StorageTool")
        // In one argument, since an id may begin with a dash.
        .args(["format", &format!("--cluster-id={}", random::secret(16)?), "--config"])
        .arg(settings);
    let tool = match secured {
        Some(Secured { user, password, .. }) => {
            tool.args(["--add-scram", &format!("SCRAM-SHA-512=[name={user},password={password}]")])
        }
        None => tool,
    };
    tool.log(options.directory.join("format.log")).run()
}

/// Creates the broker's key and a certificate that it signs itself. Returns the password of the key's file.
fn create_key(directory: &Path) -> Result<String> {
    const PASSWORD: &str = "KEY_PASSWORD";
    let password = random::secret(16)?;
    let keytool = || {
        let keytool = Launch::new("keytool", "keytool").env(PASSWORD, &password);
        keytool.log(directory.join("keytool.log")).current_dir(directory)
    };
    let store = ["-alias", "kafka", "-keystore", "broker.p12", "-storepass:env", PASSWORD];
    keytool()
        .args(["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-storetype", "PKCS12"])
        .args([
            "-dname",
            "CN=Kafka on loopback",
            "-ext",
            "SAN=ip:127.0.0.1",
            "-ext",
            "bc:c",
            "-validity",
            "7",
        ])
        .args(store)
        .run()?;
    keytool().args(["-exportcert", "-rfc", "-file"]).arg(certificate(directory)).args(store).run()?;
    Ok(password)
}

fn secured_properties(directory: &Path, password: &str) -> String {
    format!(
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,\
         SECURED:SASL_SSL,NO_TLS:SASL_PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS\n\
         sasl.enabled.mechanisms=SCRAM-SHA-512\n\
         listener.name.no_tls.scram-sha-512.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         listener.name.secured.scram-sha-512.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         ssl.keystore.type=PKCS12\n\
         ssl.keystore.location={}\n\
         ssl.keystore.password={password}\n\
         ssl.key.password={password}\n",
        directory.join("broker.p12").display()
    )
}

/// A program of Kafka's.
pub(crate) fn java(libraries: &Path, name: &str, class: &str) -> Launch {
    Launch::new(name, "java")
        .args(["-Xms128m", "-Xmx512m", "-XX:TieredStopAtLevel=1"])
        .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
        .arg(libraries.join("*"))
        .arg(class)
        .yielding()
}

fn server_properties(
    options: &KafkaOptions<'_>,
    controller_port: u16,
    secured: Option<&Secured<'_>>,
) -> String {
    let (port, data) = (options.port, options.directory.join("data"));
    let listener = secured.map(|Secured { port, port_without_tls, .. }| {
        format!(",SECURED://127.0.0.1:{port},NO_TLS://127.0.0.1:{port_without_tls}")
    });
    let listener = listener.unwrap_or_default();
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listener}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}{listener}\n\
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
