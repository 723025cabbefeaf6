//! The API: the app's manifest on a host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::{Launch, OnLine, Process, probe};

/// What runs the app's components; each by the path of its program.
#[derive(Clone, Debug)]
pub enum Host {
    /// `taskcast-host` of this repository.
    Embedded(PathBuf),
    /// `spin`, 4.1 or later.
    Spin(PathBuf),
}

/// As programs take it on their command line or in their environment: `embedded:<path>` or `spin:<path>`.
impl std::str::FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("embedded", path)) => Ok(Self::Embedded(path.into())),
            Some(("spin", path)) => Ok(Self::Spin(path.into())),
            _ => Err("must be embedded:<path> or spin:<path>".to_owned()),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded(program) => write!(formatter, "embedded:{}", program.display()),
            Self::Spin(program) => write!(formatter, "spin:{}", program.display()),
        }
    }
}

/// How the API runs.
pub struct AppOptions<'a> {
    /// What runs it.
    pub host: &'a Host,
    /// The path of `spin.toml`; a `runtime-config.toml` beside it is used too.
    pub manifest: PathBuf,
    /// The port on 127.0.0.1.
    pub listen_port: u16,
    /// The app's variables by their names in `spin.toml`.
    pub variables: BTreeMap<String, String>,
    /// Further environment variables of the host, such as those of OpenTelemetry.
    pub environment: BTreeMap<String, String>,
    /// The host's and the components' output goes here.
    pub log: PathBuf,
    /// Called with each line of that output.
    pub on_log: Option<OnLine>,
}

/// The running API.
pub struct App {
    process: Process,
    port: u16,
}

impl App {
    /// Starts it and waits until it answers requests. Errors: with the end of its log.
    pub fn start(options: AppOptions<'_>) -> Result<Self> {
        let port = options.listen_port;
        let process = launch(options).start()?;
        process.wait_until(Duration::from_secs(60), || probe::status(port, "/api/v1/health").is_some())?;
        Ok(Self { process, port })
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The host process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

fn launch(options: AppOptions<'_>) -> Launch {
    let launch = match options.host {
        Host::Embedded(program) => Launch::new("taskcast-host", program),
        // Its components run in a child of its own, which it ends on SIGINT: SIGKILL would orphan that child.
        Host::Spin(program) => Launch::new("spin", program)
            .arg("up")
            .arg("--state-dir")
            .arg(options.log.with_extension("spin"))
            .stop_signal(Signal::INT, Duration::from_secs(5))
            .death_signal("INT"),
    };
    let launch = launch.arg("--from").arg(&options.manifest);
    let launch = launch.args(["--listen", &format!("127.0.0.1:{}", options.listen_port)]);
    let launch = match runtime_config(&options.manifest) {
        Some(file) => launch.arg("--runtime-config-file").arg(file),
        None => launch,
    };
    let launch = options.variables.iter().fold(launch, |launch, (name, value)| {
        launch.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value)
    });
    let launch = options.environment.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
    launch.log(options.log).on_line(options.on_log)
}

fn runtime_config(manifest: &Path) -> Option<PathBuf> {
    Some(manifest.with_file_name("runtime-config.toml")).filter(|file| file.exists())
}
