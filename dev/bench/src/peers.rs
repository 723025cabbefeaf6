//! What is compared: services with the same API on one PostgreSQL and one Kafka, each with a database and a sidecar of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use stack::resources::Deliver;
use stack::system::{APP_TOKEN, SECRET};
use stack::{
    App, AppOptions, Broker, DatabaseAddress, Kafka, KafkaOptions, Launch, Postgres, Process, Sidecar,
    SidecarOptions, database, free_port, probe, write_resources,
};

use crate::Programs;
use crate::usage::{self, Usage};

/// Every mutation relies on a drain that does not exist, so that none is started.
const EVENTS_OFF: &str =
    "create or replace function left_to_drain() returns boolean language sql return true";

/// Which service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The components.
    Taskcast,
    /// The same design without WebAssembly.
    Native,
    /// Native too; publishes each event before it answers.
    Conventional,
}

/// What becomes of its events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Events {
    /// They reach Kafka.
    Kafka,
    /// They reach a broker inside the sidecar.
    InMemory,
    /// They are recorded, and never published.
    Off,
    /// The sidecar accepts connections and never answers.
    Hung,
    /// There is no sidecar.
    Refused,
}

/// What a service is to be.
#[derive(Clone, Copy)]
pub(crate) struct Spec {
    /// Also its database's, but for characters that no database's name has.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) events: Events,
    /// Whether its sidecar calls its relay.
    pub(crate) relay: bool,
}

/// A running service with its sidecar. Fields are dropped, and so ended, in this order.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    service: Service,
    sidecar: Option<Sidecar>,
    pub(crate) port: u16,
    /// From the start of its process until it served.
    pub(crate) started_in: Duration,
}

enum Service {
    Components(App),
    Native(Process),
}

/// What all of them share.
pub(crate) struct Parts<'a> {
    programs: &'a Programs,
    directory: &'a Path,
    pub(crate) postgres: Postgres,
    pub(crate) kafka: Kafka,
}

impl<'a> Parts<'a> {
    /// What the directory holds is deleted.
    pub(crate) fn start(programs: &'a Programs, directory: &'a Path) -> Result<Self> {
        stack::system::clear(directory)?;
        println!("starting PostgreSQL and Kafka");
        let postgres = Postgres::start(&directory.join("postgres"), free_port()?)?;
        let options = KafkaOptions {
            libraries: programs.kafka.clone(),
            directory: &directory.join("kafka"),
            port: free_port()?,
        };
        Ok(Self { programs, directory, postgres, kafka: Kafka::start(&options)? })
    }

    /// The address of the database of that name.
    pub(crate) fn url(&self, name: &str) -> String {
        self.postgres.url(&plain(name))
    }

    /// Makes a database with the migrations; returns its address.
    pub(crate) fn database(&self, name: &str) -> Result<String> {
        self.postgres.create_database(&plain(name))?;
        let url = self.url(name);
        database::migrate(&url, &self.programs.project.join("migrations"))?;
        Ok(url)
    }

    /// On a database that is there.
    pub(crate) fn peer(&self, spec: Spec) -> Result<Peer> {
        let Spec { name, kind, events, .. } = spec;
        let (port, sidecar_port) = (free_port()?, free_port()?);
        if kind == Kind::Taskcast && events == Events::Off {
            database::run(&self.url(name), EVENTS_OFF)?;
        }
        let began = Instant::now();
        let service = match (kind, events) {
            (Kind::Taskcast, _) => Service::Components(self.components(name, port, sidecar_port)?),
            (Kind::Native, Events::Off) => Service::Native(self.native(name, "off", port, sidecar_port)?),
            (Kind::Native, _) => Service::Native(self.native(name, "outbox", port, sidecar_port)?),
            (Kind::Conventional, _) => Service::Native(self.native(name, "direct", port, sidecar_port)?),
        };
        let started_in = began.elapsed();
        let sidecar = match events {
            Events::Off | Events::Refused => None,
            Events::Kafka | Events::InMemory | Events::Hung => {
                Some(self.sidecar(spec, port, sidecar_port)?)
            }
        };
        if let (Events::Hung, Some(sidecar)) = (events, &sidecar) {
            sidecar.process().pause()?;
        }
        Ok(Peer { name, service, sidecar, port, started_in })
    }

    fn sidecar(&self, spec: Spec, app_port: u16, http_port: u16) -> Result<Sidecar> {
        let directory = self.directory.join(plain(spec.name));
        let resources = directory.join("resources");
        let deliver = if spec.relay { Deliver::Ticks } else { Deliver::Nothing };
        let broker = match spec.events {
            Events::InMemory => Broker::InMemory,
            _ => Broker::Kafka { bootstrap: self.kafka.bootstrap() },
        };
        write_resources(&resources, &broker, deliver)?;
        Sidecar::start(SidecarOptions {
            daprd: self.programs.daprd.clone(),
            app_id: plain(spec.name),
            http_port,
            resources: &resources,
            configuration: None,
            app_port: Some(app_port),
            api_token: None,
            app_token: Some(APP_TOKEN.to_owned()),
            metrics_port: None,
            log: directory.join("daprd.log"),
            on_log: None,
            yielding: false,
        })
    }

    fn components(&self, name: &str, port: u16, sidecar_port: u16) -> Result<App> {
        let database_url = self.url(name);
        let address = DatabaseAddress::parse(&database_url)?;
        let variables = [
            ("database_host", address.host_port().to_owned()),
            ("database_url", database_url.clone()),
            ("jwt_secret", SECRET.to_owned()),
            ("app_api_token", APP_TOKEN.to_owned()),
            ("dapr_url", format!("http://127.0.0.1:{sidecar_port}")),
        ];
        App::start(AppOptions {
            host: &self.programs.host,
            manifest: self.programs.manifest()?,
            listen_port: port,
            variables: variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            environment: BTreeMap::new(),
            log: self.directory.join(plain(name)).join("service.log"),
            on_log: None,
        })
    }

    fn native(&self, name: &str, events: &str, port: u16, sidecar_port: u16) -> Result<Process> {
        let process = Launch::new(name, &self.programs.native)
            .args(["--listen", &format!("127.0.0.1:{port}"), "--events", events])
            .args(["--database-url", &self.url(name), "--jwt-secret", SECRET])
            .args(["--dapr-url", &format!("http://127.0.0.1:{sidecar_port}")])
            .log(self.directory.join(plain(name)).join("service.log"))
            .start()?;
        process.wait_until(Duration::from_secs(30), || probe::status(port, "/api/v1/health").is_some())?;
        Ok(process)
    }
}

impl Peer {
    /// So far: the service, and its sidecar.
    pub(crate) fn usage(&self) -> Result<[Usage; 2]> {
        let service = match &self.service {
            Service::Components(app) => app.process().pid(),
            Service::Native(process) => process.pid(),
        };
        let sidecar = self.sidecar.as_ref().map(|sidecar| sidecar.process().pid());
        Ok([usage::of(&[service])?, usage::of(sidecar.as_slice())?])
    }
}

fn plain(name: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    name.chars().map(plain).collect()
}
