//! Compiles components and links them with what the host implements.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use wasmtime::component::{Component, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::bindings::spin::postgres::postgres;
use crate::bindings::spin::variables::variables;
use crate::instance::InstanceData;
use crate::postgres::HasPostgres;
use crate::spin_variables::HasVariables;

/// Instances of all components that can be alive at the same time.
pub(crate) const MAX_INSTANCES: u32 = 1000;

/// How long a guest computes before others get their turn.
const TICK: Duration = Duration::from_millis(10);

/// Makes the engine, and the thread that interrupts long computations.
pub(crate) fn new() -> Result<Engine> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.cache(cache());
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    // The pool reserves terabytes of addresses, which some machines do not have: without it, instances start slower.
    let without_pool = config.clone().allocation_strategy(InstanceAllocationStrategy::OnDemand).to_owned();
    let engine =
        Engine::new(&config).or_else(|_| Engine::new(&without_pool)).map_err(|error| anyhow!("{error:#}"))?;
    let ticking = engine.weak();
    std::thread::spawn(move || {
        while let Some(engine) = ticking.upgrade() {
            std::thread::sleep(TICK);
            engine.increment_epoch();
        }
    });
    Ok(engine)
}

/// Room for [`MAX_INSTANCES`]: one instance is one memory, but several core modules and tables.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(MAX_INSTANCES)
        .total_memories(MAX_INSTANCES)
        .total_stacks(MAX_INSTANCES)
        .total_tables(4 * MAX_INSTANCES)
        .total_core_instances(8 * MAX_INSTANCES)
        .table_elements(100_000)
        .max_tables_per_component(64)
        .max_core_instances_per_component(200)
        .max_component_instance_size(10 << 20)
        .max_core_instance_size(10 << 20)
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(1 << 19);
    pool
}

/// Keeps compiled components beside the program, or does without where that cannot be written.
fn cache() -> Option<Cache> {
    let program = std::env::current_exe().ok()?;
    let mut config = CacheConfig::new();
    config.with_directory(program.parent()?.join("taskcast-host-cache"));
    Cache::new(config).ok()
}

/// Compiles the component at `source`, or takes it from the cache.
pub(crate) fn compile(engine: &Engine, source: &Path) -> Result<Component> {
    let bytes = std::fs::read(source)
        .with_context(|| format!("cannot read {}: build the components first", source.display()))?;
    Component::new(engine, bytes).map_err(|error| anyhow!("{} is no component: {error:#}", source.display()))
}

/// Everything a component may import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<InstanceData>> {
    let mut linker = Linker::new(engine);
    // Rust's standard library for wasm32-wasip2 imports WASI 0.2, spin-sdk WASI 0.3.
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    postgres::add_to_linker::<_, HasPostgres>(&mut linker, InstanceData::postgres)?;
    variables::add_to_linker::<_, HasVariables>(&mut linker, InstanceData::variables)?;
    Ok(linker)
}

/// Links a component, which must export `wasi:http/handler@0.3.0`.
pub(crate) fn link(
    linker: &Linker<InstanceData>,
    component: &Component,
) -> wasmtime::Result<ServicePre<InstanceData>> {
    ServicePre::new(linker.instantiate_pre(component)?)
}
