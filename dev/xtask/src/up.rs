//! `cargo xtask up`

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;
use stack::resources::Deliver;
use stack::subscriber::Subscriber;
use stack::{
    App, AppOptions, Broker, DatabaseAddress, Host, Kafka, KafkaOptions, OnLine, Postgres, Process, Sidecar,
    SidecarOptions, database, free_port,
};

use crate::progress::Progress;
use crate::project::Project;
use crate::steps::host::Choice;
use crate::{app_variables, event_lines, event_log, instructions, local, steps, wasm_target};

/// Printed below the options.
const MORE_HELP: &str = "\
Environment:
  DATABASE_URL    use this PostgreSQL database instead of a private one
  JWT_SECRET      sign tokens with this (32 bytes or more) instead of a random secret
  TASKCAST_CACHE  where built tools are kept; ~/.cache/taskcast by default

Ctrl-C ends everything that was started. The data stays in .local for the next time.";

/// The arguments of `cargo xtask up`.
#[derive(clap::Args)]
#[command(after_help = MORE_HELP)]
pub(crate) struct Options {
    /// The API's port on 127.0.0.1
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// What the sidecar publishes to
    #[arg(long, value_enum, default_value_t = BrokerChoice::InMemory)]
    broker: BrokerChoice,
    /// Run without a sidecar: events wait in the outbox
    #[arg(long, conflicts_with = "broker")]
    no_dapr: bool,
    /// What runs the components [default: spin if there is one, else embedded]
    #[arg(long, value_enum)]
    host: Option<Choice>,
    /// Delete the data of earlier runs first (never that of DATABASE_URL)
    #[arg(long)]
    fresh: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BrokerChoice {
    /// The sidecar's own memory
    InMemory,
    /// Apache Kafka, one node on this machine
    Kafka,
}

/// Runs until a signal or until a part fails.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    let _lock = local::lock(&project, "up")?;
    if !stack::ports::is_free(options.port) {
        bail!("port {} on 127.0.0.1 is already in use: choose another with --port", options.port);
    }
    if options.fresh {
        wipe(&project)?;
    }
    let secret = local::jwt_secret(&project)?;
    // From now on `tail` can attach itself.
    let events = (!options.no_dapr).then(|| event_log::Writer::create(&project)).transpose()?;
    let announced = Arc::new(AtomicBool::new(false));
    let running = Progress::show(|progress| start(options, &project, progress, &secret, events, &announced))?;
    instructions::print(&running.app.url(), &secret);
    match running.sidecar {
        Some(_) => {
            println!("Events as they are delivered; Ctrl-C ends everything.\n\n{}", event_lines::heading())
        }
        None => println!(
            "There is no sidecar: events wait in the outbox, and each attempt to publish is logged.\n"
        ),
    }
    announced.store(true, Ordering::Relaxed);
    running.watch()?;
    println!("\nstopping; the data stays in .local");
    Ok(ExitCode::SUCCESS)
}

/// Everything that was started. Fields are dropped, and so ended, in this order: the API first, its database last.
struct Running {
    app: App,
    sidecar: Option<Sidecar>,
    _subscriber: Option<Subscriber>,
    kafka: Option<Kafka>,
    postgres: Option<Postgres>,
}

impl Running {
    /// Returns on a signal. Errors: a part ended by itself.
    fn watch(&self) -> Result<()> {
        let mut parts: Vec<&Process> = vec![self.app.process()];
        parts.extend(self.sidecar.iter().map(Sidecar::process));
        parts.extend(self.kafka.iter().map(Kafka::process));
        parts.extend(self.postgres.iter().map(Postgres::process));
        while !stack::interrupt::requested() {
            if let Some(dead) = parts.iter().find(|part| !part.is_running()) {
                return Err(dead.death());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

fn start(
    options: &Options,
    project: &Project,
    progress: &Arc<Progress>,
    secret: &str,
    events: Option<event_log::Writer>,
    announced: &Arc<AtomicBool>,
) -> Result<Running> {
    let database = Database::find(project, progress)?;
    let (tools, host) = steps::side_by_side(
        || Tools::prepare(options, project, progress),
        || {
            wasm_target::ensure(project, progress)?;
            steps::node::modules_of_components(project, progress)?;
            steps::components::build(project, progress)?;
            steps::host::prepare(project, progress, options.host)
        },
    )?;
    let (url, postgres) = database.start(project, progress)?;
    progress.step("database migrated", || database::migrate(&url, &project.path("migrations")))?;
    let kafka = tools.libraries.map(|libraries| start_kafka(project, progress, libraries)).transpose()?;
    if let Some(kafka) = &kafka {
        progress.say(&format!("at {}", kafka.bootstrap()));
    }
    let app_token = local::app_token(project)?;
    let (subscriber, sidecar) = match tools.daprd.zip(events) {
        Some((daprd, events)) => {
            let subscriber = start_subscriber(options.port, events)?;
            let sidecar = start_sidecar(&subscriber, &app_token, project, progress, daprd, kafka.as_ref())?;
            (Some(subscriber), Some(sidecar))
        }
        None => (None, None),
    };
    // Without a sidecar the app gets an address where nobody listens.
    let dapr_url = match &sidecar {
        Some(sidecar) => sidecar.url(),
        None => format!("http://127.0.0.1:{}", free_port()?),
    };
    let app = progress.step("API started", || {
        App::start(AppOptions {
            host: &host,
            manifest: project.path("spin.toml"),
            listen_port: options.port,
            variables: app_variables::variables(&url, secret, &dapr_url, &app_token)?,
            environment: BTreeMap::new(),
            log: project.fresh_log("app.log"),
            on_log: component_lines(announced.clone()),
        })
    })?;
    if let Host::Spin(program) = &host {
        progress.say(&format!("on {}", program.display()));
    }
    Ok(Running { app, sidecar, _subscriber: subscriber, kafka, postgres })
}

/// The user's database, or one of ours.
enum Database {
    Theirs(String),
    Ours,
}

impl Database {
    /// Fails here, before anything is built, when `DATABASE_URL` leads nowhere.
    fn find(project: &Project, progress: &Arc<Progress>) -> Result<Self> {
        let Ok(url) = env::var("DATABASE_URL") else {
            steps::postgresql::ensure_server(project, progress)?;
            return Ok(Self::Ours);
        };
        steps::postgresql::ensure_client(project, progress)?;
        database::run(&url, "select 1")
            .context("DATABASE_URL must lead to a running database (unset it for a private one)")?;
        Ok(Self::Theirs(url))
    }

    fn start(self, project: &Project, progress: &Arc<Progress>) -> Result<(String, Option<Postgres>)> {
        if let Self::Theirs(url) = self {
            return Ok((url, None));
        }
        let _ = fs::remove_file(project.local("postgres/postgres.log"));
        let postgres = progress.step("PostgreSQL started", || {
            let postgres = Postgres::start(&project.local("postgres"), free_port()?)?;
            postgres.create_database("taskcast")?;
            Ok(postgres)
        })?;
        let url = postgres.url("taskcast");
        progress.say(&format!("at {}", DatabaseAddress::parse(&url)?.host_port()));
        Ok((url, Some(postgres)))
    }
}

/// The programs that events need.
struct Tools {
    daprd: Option<PathBuf>,
    libraries: Option<PathBuf>,
}

impl Tools {
    fn prepare(options: &Options, project: &Project, progress: &Arc<Progress>) -> Result<Self> {
        let kafka = options.broker == BrokerChoice::Kafka;
        let libraries = kafka.then(|| steps::kafka::prepare(project, progress)).transpose()?;
        let daprd = (!options.no_dapr).then(|| steps::daprd::prepare(project, progress)).transpose()?;
        Ok(Self { daprd, libraries })
    }
}

fn start_kafka(project: &Project, progress: &Arc<Progress>, libraries: PathBuf) -> Result<Kafka> {
    let directory = project.local("kafka");
    let _ = fs::remove_file(directory.join("kafka.log"));
    progress.step("Kafka started", || {
        Kafka::start(&KafkaOptions { libraries, directory: &directory, port: free_port()? })
    })
}

/// Shows what the sidecar delivers, here and to `tail`.
fn start_subscriber(api_port: u16, events: event_log::Writer) -> Result<Subscriber> {
    let show = move |topic: &str, event: Value| {
        println!("{}", event_lines::line(topic, &event));
        // Where the disk is full, it is shown here all the same.
        let _ = events.append(&event);
    };
    Subscriber::beside_api(show, Some(api_port))
}

fn start_sidecar(
    subscriber: &Subscriber,
    app_token: &str,
    project: &Project,
    progress: &Arc<Progress>,
    daprd: PathBuf,
    kafka: Option<&Kafka>,
) -> Result<Sidecar> {
    let broker = kafka.map_or(Broker::InMemory, |kafka| Broker::Kafka { bootstrap: kafka.bootstrap() });
    let resources = project.local("dapr");
    stack::write_resources(&resources, &broker, Deliver::EventsAndTicks)?;
    let options = SidecarOptions {
        daprd,
        app_id: "taskcast".to_owned(),
        http_port: free_port()?,
        resources: &resources,
        configuration: None,
        app_port: Some(subscriber.port()),
        api_token: None,
        app_token: Some(app_token.to_owned()),
        metrics_port: None,
        log: project.fresh_log("daprd.log"),
        on_log: None,
        yielding: false,
    };
    progress.step("Dapr sidecar started", || Sidecar::start(options))
}

/// What the components log goes to the terminal once the instructions are there.
fn component_lines(announced: Arc<AtomicBool>) -> Option<OnLine> {
    Some(Box::new(move |line| {
        if announced.load(Ordering::Relaxed) {
            println!("{line}");
        }
    }))
}

/// Deletes what `up` keeps in `.local`.
fn wipe(project: &Project) -> Result<()> {
    stack::postgres::remove(&project.local("postgres"))?;
    for entry in fs::read_dir(project.local("")).context("read .local")? {
        let path = entry?.path();
        let removed = match path.extension() {
            Some(extension) if extension == "lock" => Ok(()),
            // A running `cargo xtask test` may be using it.
            _ if path.ends_with("test") => Ok(()),
            _ if path.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        removed.with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}
