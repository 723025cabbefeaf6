//! The application: its components ready to run, and the way from a path to one of them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi_http::handler::ProxyHandler;

use crate::allowed_hosts::AllowedHosts;
use crate::engine;
use crate::instance::{InstanceData, Instances, Settings};
use crate::manifest::{self, Component, Manifest, Route};
use crate::outbound_http::HttpClient;
use crate::postgres::{Permits, Pools};
use crate::router::{Match, Router};
use crate::runtime_config::RuntimeConfig;
use crate::spin_variables::ComponentVariables;
use crate::variables::Variables;

/// An application that can answer requests.
pub(crate) struct Application {
    /// In the manifest's order.
    pub(crate) routes: Vec<Route>,
    router: Router,
    handlers: HashMap<String, ProxyHandler<Instances>>,
}

impl Application {
    /// Reads the manifest and compiles its components; `quiet` throws away what they print.
    pub(crate) fn load(manifest: &Path, runtime: &RuntimeConfig, quiet: bool) -> Result<Self> {
        let Manifest { variables, routes, components } = manifest::read(manifest)?;
        let router = Router::new(&routes)?;
        let variables = Variables::resolve(&variables, |name| std::env::var(name).ok())?;
        let settings = components
            .iter()
            .map(|(id, component)| settings(id, component, &variables, quiet))
            .collect::<Result<Vec<_>>>()?;
        let engine = engine::new()?;
        let host = Host {
            linker: engine::linker(&engine).map_err(|error| anyhow!("{error:#}"))?,
            client: HttpClient::new(runtime.connection_pooling),
            permits: Permits::new(runtime.max_pg_connections),
            room: Arc::new(Semaphore::new(engine::MAX_INSTANCES as usize)),
            engine,
        };
        let sources = components.values().map(|component| component.source.as_path());
        let handlers = host.handlers(settings.into_iter().zip(sources))?;
        Ok(Self { routes, router, handlers })
    }

    /// The route of `path` and who answers it.
    pub(crate) fn find(&self, path: &str) -> Option<(Match<'_>, &ProxyHandler<Instances>)> {
        let matched = self.router.find(path)?;
        let handler = self.handlers.get(&matched.route.component)?;
        Some((matched, handler))
    }
}

fn settings(id: &str, component: &Component, variables: &Variables, quiet: bool) -> Result<Settings> {
    let expand = || {
        let hosts: Vec<_> = component
            .allowed_outbound_hosts
            .iter()
            .map(|host| variables.expand(host))
            .collect::<Result<_>>()?;
        let values = variables.expand_all(&component.variables)?;
        anyhow::Ok((AllowedHosts::parse(&hosts)?, values))
    };
    let (allowed, values) = expand().with_context(|| format!("[component.{id}]"))?;
    Ok(Settings {
        id: id.to_owned(),
        environment: component.environment.clone().into_iter().collect(),
        allowed: Arc::new(allowed),
        variables: ComponentVariables { component: id.to_owned(), values },
        quiet,
    })
}

/// What the components share.
struct Host {
    engine: Engine,
    linker: Linker<InstanceData>,
    client: HttpClient,
    permits: Permits,
    room: Arc<Semaphore>,
}

impl Host {
    /// Compiles all components at the same time.
    fn handlers<'a>(
        &self,
        components: impl Iterator<Item = (Settings, &'a Path)>,
    ) -> Result<HashMap<String, ProxyHandler<Instances>>> {
        std::thread::scope(|scope| {
            let start = |(settings, source)| scope.spawn(move || self.handler(settings, source));
            let compiling: Vec<_> = components.map(start).collect();
            let wait = |thread: std::thread::ScopedJoinHandle<'_, Result<_>>| {
                thread.join().map_err(|_| anyhow!("the compiler panicked"))?
            };
            compiling.into_iter().map(wait).collect()
        })
    }

    fn handler(&self, settings: Settings, source: &Path) -> Result<(String, ProxyHandler<Instances>)> {
        let component = engine::compile(&self.engine, source)?;
        let pre = engine::link(&self.linker, &component)
            .map_err(|error| anyhow!("component \"{}\" cannot run on this host: {error:#}", settings.id))?;
        let id = settings.id.clone();
        let instances = Instances {
            pre,
            settings: Arc::new(settings),
            pools: Arc::new(Pools::default()),
            permits: self.permits.clone(),
            client: self.client.clone(),
            room: self.room.clone(),
        };
        Ok((id, ProxyHandler::new(instances)))
    }
}
