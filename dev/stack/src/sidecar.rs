//! The Dapr sidecar: the real `daprd`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::{Launch, OnLine, Process, free_port, probe};

/// How a sidecar runs.
pub struct SidecarOptions<'a> {
    /// The program.
    pub daprd: PathBuf,
    /// Names the application to Dapr; with Kafka also its consumers.
    pub app_id: String,
    /// The port on 127.0.0.1 that the app publishes to.
    pub http_port: u16,
    /// The directory that [`crate::write_resources`] wrote.
    pub resources: &'a Path,
    /// A file with a Configuration; without one, everything is allowed.
    pub configuration: Option<&'a Path>,
    /// The port on 127.0.0.1 of whoever receives deliveries; it must be listening already.
    pub app_port: Option<u16>,
    /// What callers must send as `dapr-api-token`.
    pub api_token: Option<String>,
    /// What it sends as `dapr-api-token` with each delivery.
    pub app_token: Option<String>,
    /// The port on which it shows its metrics; without one, it counts nothing.
    pub metrics_port: Option<u16>,
    /// Its output goes here.
    pub log: PathBuf,
    /// Called with each line of its output.
    pub on_log: Option<OnLine>,
    /// Whether others go first where the processor is short: a consumer's sidecar has machines of its own.
    pub yielding: bool,
}

/// A running sidecar.
pub struct Sidecar {
    process: Process,
    http_port: u16,
}

impl Sidecar {
    /// Starts it and waits until it is ready to publish and to deliver. Errors: with the end of its log; with Kafka one
    /// is that the broker is down.
    pub fn start(options: SidecarOptions<'_>) -> Result<Self> {
        let http_port = options.http_port;
        let process = launch(options)?.start()?;
        process
            .wait_until(Duration::from_secs(60), || probe::status(http_port, "/v1.0/healthz") == Some(204))?;
        Ok(Self { process, http_port })
    }

    /// `http://127.0.0.1:port`, what the app's `dapr_url` is set to.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// The process: to pause, stop or kill it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// What [`Sidecar::start`] starts, for who does not wait until it is ready.
pub fn launch(options: SidecarOptions<'_>) -> Result<Launch> {
    let mut launch = Launch::new("daprd", &options.daprd)
        .args(["--app-id", &options.app_id, "--app-protocol", "http"])
        .args(["--dapr-http-port", &options.http_port.to_string()])
        .args(["--dapr-grpc-port", &free_port()?.to_string()])
        .args(["--dapr-internal-grpc-port", &free_port()?.to_string()])
        .args(["--dapr-listen-addresses", "127.0.0.1", "--dapr-internal-grpc-listen-address", "127.0.0.1"])
        .args(["--dapr-graceful-shutdown-seconds", "1", "--log-level", "info"])
        .arg("--resources-path")
        .arg(options.resources);
    launch = match options.metrics_port {
        Some(port) => {
            launch.args(["--metrics-port", &port.to_string(), "--metrics-listen-address", "127.0.0.1"])
        }
        None => launch.arg("--enable-metrics=false"),
    };
    if let Some(file) = options.configuration {
        launch = launch.arg("--config").arg(file);
    }
    if let Some(port) = options.app_port {
        launch = launch.args(["--app-port", &port.to_string()]);
    }
    for (name, token) in [("DAPR_API_TOKEN", options.api_token), ("APP_API_TOKEN", options.app_token)] {
        launch = match token {
            Some(token) => launch.env(name, token),
            None => launch.env_remove(name),
        };
    }
    let launch = launch.log(options.log).on_line(options.on_log);
    Ok(if options.yielding { launch.yielding() } else { launch })
}
