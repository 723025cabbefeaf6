//! Runs a Spin application where there is no `spin`: a tool for development and tests, not a product.
//!
//! | module | what it is |
//! |---|---|
//! | `manifest`, `variables`, `allowed_hosts`, `runtime_config` | the settings: `spin.toml`, its templates, the environment |
//! | `application`, `engine`, `instance` | components compiled, linked and kept in instances |
//! | `server`, `router`, `headers` | from a request to its component |
//! | `outbound_http`, `postgres`, `spin_variables`, `log` | what components may use |
//! | `telemetry` | spans for OpenTelemetry |
//!
//! It does as Spin does, also where Spin is odd, so that nothing works here and fails there. See README.md.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::net::TcpListener;

use crate::application::Application;
use crate::manifest::Route;
use crate::runtime_config::RuntimeConfig;

mod allowed_hosts;
mod application;
mod bindings;
mod engine;
mod headers;
mod instance;
mod log;
mod manifest;
mod outbound_http;
mod postgres;
mod router;
mod runtime_config;
mod server;
mod spin_variables;
mod telemetry;
mod variables;

/// Runs a Spin application where there is no `spin`. For development and tests only.
#[derive(Parser)]
struct Arguments {
    /// The application's manifest.
    #[arg(short = 'f', long, default_value = "spin.toml", value_name = "FILE")]
    from: PathBuf,
    /// Address and port to serve; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Settings of the host, such as whether outbound connections are kept.
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// Do not print what components print.
    #[arg(short, long)]
    quiet: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal ends the process, at once and whatever it is doing: Spin has no graceful end either.
async fn run(arguments: Arguments) -> Result<()> {
    let runtime = arguments
        .runtime_config_file
        .as_deref()
        .map_or_else(|| Ok(RuntimeConfig::default()), runtime_config::read)?;
    telemetry::start()?;
    // The port first: that it is taken should not be learned only after compiling.
    let listener = server::listen(arguments.listen).await?;
    let application = Application::load(&arguments.from, &runtime, arguments.quiet)?;
    announce(&listener, &application.routes)?;
    server::serve(listener, application).await;
    Ok(())
}

fn announce(listener: &TcpListener, routes: &[Route]) -> Result<()> {
    let base = format!("http://{}", listener.local_addr()?);
    let mut output = std::io::stdout().lock();
    writeln!(output, "Serving {base}")?;
    for route in routes {
        writeln!(output, "  {}: {base}{}", route.component, route.pattern)?;
    }
    Ok(())
}
