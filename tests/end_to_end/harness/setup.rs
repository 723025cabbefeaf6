//! How an app of a test's own starts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use stack::free_port;

use crate::harness::app::{App, Launch, Own};
use crate::harness::collector::Dapr;
use crate::harness::database::{APP, Database};
use crate::harness::environment::{directory, root};
use crate::harness::nudge::APP_TOKEN;
use crate::harness::proxy::Proxy;
use crate::harness::stub::Stub;
use crate::harness::turn;
use crate::harness::user::SECRET;

/// An app with a fresh database and, unless told otherwise, nobody at the sidecar's port.
pub(crate) struct Setup {
    variables: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    manifest: PathBuf,
    database: Option<Arc<Database>>,
    dapr: Option<Dapr>,
    proxied: bool,
    panics: bool,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let variables = [("jwt_secret", SECRET), ("app_api_token", APP_TOKEN)];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let manifest = root().join("spin.toml");
        Self {
            variables,
            environment: BTreeMap::new(),
            manifest,
            database: None,
            dapr: None,
            proxied: false,
            panics: false,
        }
    }

    /// Sets a variable of `spin.toml`.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Sets an environment variable of the host.
    pub(crate) fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn dapr_url(self, url: impl Into<String>) -> Self {
        self.variable("dapr_url", url)
    }

    /// With a real sidecar.
    pub(crate) fn with_dapr(mut self) -> Self {
        let dapr = Dapr::start();
        let url = dapr.url();
        self.dapr = Some(dapr);
        self.dapr_url(url)
    }

    /// With a database that is there already.
    pub(crate) fn database(mut self, database: impl Into<Arc<Database>>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// With a road to the database that the test can cut.
    pub(crate) fn behind_proxy(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Its components panic now and then, and Rust says so in the log.
    pub(crate) fn panicking(mut self) -> Self {
        self.panics = true;
        self
    }

    /// From another manifest than the repository's.
    pub(crate) fn manifest(mut self, manifest: PathBuf) -> Self {
        self.manifest = manifest;
        self
    }

    /// Starts it for a test that runs beside others.
    pub(crate) fn start(self) -> Own {
        let turn = turn::beside();
        Own::new(self.launch(), turn)
    }

    /// Starts it for a test that already has its turn.
    pub(crate) fn launch(mut self) -> App {
        let database = self.database.take().unwrap_or_else(|| Database::migrated().into());
        let proxy = self.proxied.then(|| Proxy::to(database.host_port()));
        for (name, value) in database_variables(&database, proxy.as_ref()) {
            self.variables.entry(name).or_insert(value);
        }
        if !self.variables.contains_key("dapr_url") {
            self.variables
                .insert("dapr_url".to_owned(), format!("http://127.0.0.1:{}", free_port().unwrap()));
        }
        let launch = Launch {
            manifest: self.manifest,
            port: free_port().unwrap(),
            variables: self.variables,
            environment: self.environment,
            log: directory("app").join("app.log"),
            panics: self.panics,
        };
        App::start(launch, database, proxy, self.dapr)
    }
}

/// Two hosts on one database, each set up alike and with a sidecar of its own.
pub(crate) fn two_hosts(setup: impl Fn() -> Setup, first: &Stub, second: &Stub) -> (App, App) {
    let one = setup().dapr_url(first.url()).launch();
    let other = setup().dapr_url(second.url()).database(one.database.clone()).launch();
    (one, other)
}

fn database_variables(database: &Database, proxy: Option<&Proxy>) -> [(String, String); 2] {
    let direct = database.host_port();
    let host_port = proxy.map_or_else(|| direct.clone(), |proxy| format!("127.0.0.1:{}", proxy.port));
    let url = database.url_of(APP).replacen(&direct, &host_port, 1);
    [("database_url".to_owned(), url), ("database_host".to_owned(), host_port)]
}
