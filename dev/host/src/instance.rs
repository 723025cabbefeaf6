//! Component instances: what each is given, how many requests it serves, and when it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime::{Store, StoreContextMut, format_err};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::allowed_hosts::AllowedHosts;
use crate::log::{self, GuestOutput};
use crate::outbound_http::{HttpClient, OutboundHttp};
use crate::postgres::{Permits, Pools, Postgres, PostgresView};
use crate::spin_variables::ComponentVariables;

/// Requests that an instance serves in its life.
const REQUESTS: usize = 128;
/// Requests that an instance serves at the same time.
const CONCURRENT_REQUESTS: usize = 16;
/// How long an instance waits for another request.
const IDLE: Duration = Duration::from_secs(1);

/// A component's settings, shared by its instances.
pub(crate) struct Settings {
    /// The component's id.
    pub(crate) id: String,
    /// Its process environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Where it may connect to.
    pub(crate) allowed: Arc<AllowedHosts>,
    /// The values it can ask for.
    pub(crate) variables: ComponentVariables,
    /// Whether what it prints is thrown away.
    pub(crate) quiet: bool,
}

/// What an instance owns on the host's side.
pub(crate) struct InstanceData {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: OutboundHttp,
    table: ResourceTable,
    postgres: Postgres,
    settings: Arc<Settings>,
}

impl InstanceData {
    /// For the linker.
    pub(crate) fn postgres(&mut self) -> PostgresView<'_> {
        PostgresView { postgres: &self.postgres, table: &mut self.table }
    }

    /// For the linker.
    pub(crate) fn variables(&mut self) -> &ComponentVariables {
        &self.settings.variables
    }
}

impl WasiView for InstanceData {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for InstanceData {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Makes a component's instances.
pub(crate) struct Instances {
    /// The compiled component with its imports.
    pub(crate) pre: ServicePre<InstanceData>,
    /// The component's settings.
    pub(crate) settings: Arc<Settings>,
    /// The component's own pools.
    pub(crate) pools: Arc<Pools>,
    /// Shared by all components.
    pub(crate) permits: Permits,
    /// Shared by all components.
    pub(crate) client: HttpClient,
    /// Shared by all components: as many as the engine has room for.
    pub(crate) room: Arc<Semaphore>,
}

impl Instances {
    fn data(&self) -> InstanceData {
        let settings = &self.settings;
        let mut wasi = WasiCtx::builder();
        wasi.envs(&settings.environment)
            .stdout(GuestOutput::new(&settings.id, settings.quiet))
            .stderr(GuestOutput::new(&settings.id, settings.quiet));
        InstanceData {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            hooks: OutboundHttp { client: self.client.clone(), allowed: settings.allowed.clone() },
            table: ResourceTable::new(),
            postgres: Postgres {
                pools: self.pools.clone(),
                permits: self.permits.clone(),
                allowed: settings.allowed.clone(),
            },
            settings: settings.clone(),
        }
    }
}

impl HandlerState for Instances {
    type StoreData = InstanceData;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<InstanceData, Expiration, Worker>> {
        // The handler has no limit of its own: without this the engine would refuse the instance that is one too many.
        let room = self.room.clone().acquire_owned().await.map_err(|_| format_err!("the host is ending"))?;
        let mut store = Store::new(self.pre.engine(), self.data());
        // A guest that computes for longer than a tick lets others have the thread.
        store.epoch_deadline_async_yield_and_update(1);
        let service = self.pre.instantiate_async(&mut store).await?;
        Ok(Instance {
            store,
            proxy: Proxy::P3(service),
            view: WasiHttpView::http,
            expiration: Expiration(Box::pin(tokio::time::sleep(IDLE))),
            state: Worker { component: self.settings.id.clone(), _room: room },
        })
    }
}

/// Ends an instance that has had nothing to do for a second; work after the response has no limit.
pub(crate) struct Expiration(Pin<Box<Sleep>>);

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        if !matches!(status, WorkerStatus::Idle) {
            return Poll::Pending;
        }
        let deadline = (start + IDLE).into();
        if self.0.deadline() != deadline {
            self.0.as_mut().reset(deadline);
        }
        self.0.as_mut().poll(cx)
    }
}

/// Decides which requests an instance takes.
pub(crate) struct Worker {
    component: String,
    _room: OwnedSemaphorePermit,
}

impl WorkerState for Worker {
    type StoreData = InstanceData;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= REQUESTS {
            ShouldAccept::Never
        } else if concurrent >= CONCURRENT_REQUESTS {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, InstanceData>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        // Requests have no time-out, as in Spin by default.
        Box::pin(std::future::pending())
    }

    fn drop(&self, store: Store<InstanceData>, result: wasmtime::Result<()>) {
        // The store first: it prints the rest of what the guest wrote, such as its panic.
        drop(store);
        if let Err(error) = result {
            // The cause alone: above it stands a backtrace of nameless functions.
            log::say(&format!(
                "An instance of {} ended with all its requests: {}",
                self.component,
                error.root_cause()
            ));
        }
    }
}

/// The causes of an error without their line breaks.
pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}
