//! The native peers of taskcast: the same API, the same SQL and the same bytes on the wire, on axum and tokio-postgres.
//!
//! The benchmark measures taskcast against them, so they are as fast as we know how to make them: prepared statements,
//! kept connections, no Nagle delay. What `--events` says is what happens to a change:
//!
//! | mode | what it stands for |
//! |---|---|
//! | `outbox` | taskcast's own design without WebAssembly: what the sandbox costs |
//! | `direct` | the usual service: publish before the response, and lose what fails |
//! | `off` | the outbox is written and nobody drains it: what recording alone costs |
//!
//! | module | what it is |
//! |---|---|
//! | `routes`, `call` | HTTP |
//! | `app` | a mutation, as the mode wants it |
//! | `database`, `store` | the pool, and one function per SQL statement of taskcast's |
//! | `outbox` | claim, publish, settle |
//! | `direct` | statements without an outbox, and publishing before the response |
//! | `event`, `sidecar` | what is published, and the Dapr sidecar |
//!
//! Not here: CORS, the check of a cookie's origin, and the parking of events.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::serve::ListenerExt as _;
use clap::{Parser, ValueEnum};
use shared::auth::{Expected, Verifier};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::app::{App, Delivery};
use crate::database::Database;
use crate::sidecar::Sidecar;

mod app;
mod call;
mod database;
mod direct;
mod event;
mod outbox;
mod routes;
mod sidecar;
mod store;

/// Serves the task API natively, to compare taskcast with. For benchmarks only.
#[derive(Parser)]
struct Arguments {
    /// Address and port to serve; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The database, with taskcast's migrations.
    #[arg(long, value_name = "URL")]
    database_url: String,
    /// What tokens are signed with (HS256).
    #[arg(long, value_name = "SECRET")]
    jwt_secret: String,
    /// The Dapr sidecar.
    #[arg(long, default_value = "http://localhost:3500", value_name = "URL")]
    dapr_url: String,
    /// How events are published.
    #[arg(long)]
    events: Events,
    /// How many connections to the database there are at most.
    #[arg(long, default_value_t = 32, value_name = "CONNECTIONS")]
    pool_size: usize,
    /// As many as there are processors, unless it is given.
    #[arg(long, value_name = "THREADS")]
    worker_threads: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Events {
    /// Recorded, and never published.
    Off,
    /// Recorded with the task, and published after the response.
    Outbox,
    /// Not recorded, and published before the response.
    Direct,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = arguments.worker_threads {
        runtime.worker_threads(threads);
    }
    runtime.enable_all().build().context("starting the threads")?.block_on(serve(arguments))
}

/// Serves until a signal ends the process.
async fn serve(arguments: &Arguments) -> Result<()> {
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("listening on {}", arguments.listen))?;
    let router = routes::router(Arc::new(start(arguments).await?));
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    // Nothing can be done about a socket that refuses the option: it is slower, that is all.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    axum::serve(listener, router).await.context("serving")
}

/// Connects the parts, and starts the drain where there is one. Fails when the database can't be reached.
async fn start(arguments: &Arguments) -> Result<App> {
    let verifier = Verifier::new(&[("jwt_secret", &arguments.jwt_secret)], "", Expected::default())?;
    let database = Database::new(&arguments.database_url, arguments.pool_size)?;
    database.connect().await?;
    let sidecar = Sidecar::new(&arguments.dapr_url);
    let delivery = match arguments.events {
        Events::Off => Delivery::Off,
        Events::Direct => Delivery::Direct,
        Events::Outbox => {
            let committed = Arc::new(Notify::new());
            tokio::spawn(outbox::deliver(database.clone(), sidecar.clone(), committed.clone()));
            Delivery::Outbox(committed)
        }
    };
    Ok(App { verifier, database, sidecar, delivery })
}
