//! A private PostgreSQL cluster on loopback, from the machine's own PostgreSQL binaries.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::service_user::{ServiceUser, shared_place};
use crate::{Launch, Process, database, probe, programs, random};

/// The cluster's only user and the name of the database that `cargo xtask up` uses.
const OWNER: &str = "taskcast";

/// Where and how a cluster runs.
pub struct PostgresOptions<'a> {
    /// Holds the data, the password and the log; created when missing.
    pub directory: &'a Path,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// Whether commits survive a crash of the machine (fsync). Off is faster, for tests.
    pub durable: bool,
    /// Whether it leaves the processor to others who want it ([`Launch::yielding`]).
    pub yielding: bool,
}

/// A running cluster, ended with a fast shutdown when dropped.
pub struct Postgres {
    process: Process,
    port: u16,
    password: String,
}

impl Postgres {
    /// Starts a durable cluster, which is created when the directory has none.
    pub fn start(directory: &Path, port: u16) -> Result<Self> {
        Self::start_with(&PostgresOptions { directory, port, durable: true, yielding: false })
    }

    /// Starts a cluster, which is created when the directory has none. Errors: PostgreSQL is not installed, the port is
    /// taken; with the end of the server's log.
    pub fn start_with(options: &PostgresOptions<'_>) -> Result<Self> {
        Self::start_programs(options, None)
    }

    /// Like [`Self::start_with`], but of another version of PostgreSQL: a directory with `bin`, `lib` and `share`,
    /// which PostgreSQL's user reaches.
    pub fn start_version(options: &PostgresOptions<'_>, version: &Path) -> Result<Self> {
        Self::start_programs(options, Some(&version.join("bin")))
    }

    fn start_programs(options: &PostgresOptions<'_>, programs: Option<&Path>) -> Result<Self> {
        let program_of = |name: &str| match programs {
            Some(directory) => Ok(directory.join(name)),
            None => program(name),
        };
        fs::create_dir_all(options.directory)
            .with_context(|| format!("create {}", options.directory.display()))?;
        let user = ServiceUser::for_root()?;
        let data = data_directory(options.directory)?;
        if !(data.join("PG_VERSION").exists() && options.directory.join("password").exists()) {
            create_cluster(&program_of("initdb")?, options.directory, &data, user.as_ref())?;
        }
        let password =
            fs::read_to_string(options.directory.join("password")).context("read the cluster's password")?;
        let process = launch(&program_of("postgres")?, options, &data).user(user).start()?;
        let postgres = Self { process, port: options.port, password };
        // Its port answers before it accepts queries; a look at the port first saves starting psql in vain.
        postgres.process.wait_until(Duration::from_secs(60), || probe::accepts(options.port))?;
        database::wait_ready(&postgres.url("postgres"))?;
        Ok(postgres)
    }

    /// The address of one of its databases.
    pub fn url(&self, name: &str) -> String {
        format!("postgres://{OWNER}:{}@127.0.0.1:{}/{name}?sslmode=disable", self.password, self.port)
    }

    /// The address to create and drop databases with.
    pub fn admin_url(&self) -> String {
        self.url("postgres")
    }

    /// Creates an empty database, unless it is there.
    pub fn create_database(&self, name: &str) -> Result<()> {
        if database::exists(&self.admin_url(), name)? {
            return Ok(());
        }
        database::create(&self.admin_url(), name, None)
    }

    /// The server process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// The address of a database of the cluster that another process runs in this directory. Errors: none runs.
pub fn running_url(directory: &Path, name: &str) -> Result<String> {
    // The server's own file: its pid, its data, when it started, its port, each on a line.
    let server = fs::read_to_string(data_directory(directory)?.join("postmaster.pid"));
    let server = server.context("no private PostgreSQL is running here")?;
    let port = server.lines().nth(3).context("the server has not said its port yet")?;
    let password = fs::read_to_string(directory.join("password")).context("read the cluster's password")?;
    Ok(format!("postgres://{OWNER}:{password}@127.0.0.1:{port}/{name}?sslmode=disable"))
}

/// Deletes a cluster with all its data.
pub fn remove(directory: &Path) -> Result<()> {
    let data = data_directory(directory)?;
    for path in [&data, directory] {
        if path.exists() {
            fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Where the data itself is: below the directory; but when we are root and PostgreSQL's user does not get there (a
/// clone in `/root`), in `/var/lib/taskcast`, under a name made from the directory's.
pub fn data_directory(directory: &Path) -> Result<PathBuf> {
    match ServiceUser::for_root()? {
        Some(user) if directory.exists() && !user.reaches(directory) => Ok(shared_place(directory)),
        _ => Ok(directory.join("data")),
    }
}

/// The server's programs: on the PATH, or where Debian keeps them, the newest version first.
pub fn program(name: &str) -> Result<PathBuf> {
    let debian = || {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        let mut versions: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path())).collect();
        versions.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
        versions.iter().rev().find_map(|version| programs::find(version.join("bin").join(name)))
    };
    match programs::find(name).or_else(debian) {
        Some(program) => Ok(program),
        None => bail!("PostgreSQL's {name} is missing: install it with `apt-get install postgresql`"),
    }
}

fn create_cluster(initdb: &Path, directory: &Path, data: &Path, user: Option<&ServiceUser>) -> Result<()> {
    let password = random::secret(24)?;
    if data.exists() {
        // What an interrupted initdb left behind, or a clone that was at the same place before.
        fs::remove_dir_all(data).with_context(|| format!("remove {}", data.display()))?;
    }
    fs::create_dir_all(data).with_context(|| format!("create {}", data.display()))?;
    fs::set_permissions(data, fs::Permissions::from_mode(0o700))?;
    // initdb runs as the service user, so the file it reads the password from must be that user's, and be reachable.
    let for_initdb = data.with_extension("password");
    write_private(&for_initdb, &password)?;
    if let Some(user) = user {
        user.take(data)?;
        user.take(&for_initdb)?;
    }
    let initdb = Launch::new("initdb", initdb)
        .arg("--pgdata")
        .arg(data)
        .args(["--username", OWNER, "--encoding", "UTF8", "--locale", "C.UTF-8", "--auth", "scram-sha-256"])
        .args(["--no-sync", "--no-instructions", "--pwfile"])
        .arg(&for_initdb)
        .user(user.cloned())
        .current_dir("/")
        .log(directory.join("initdb.log"))
        .run();
    fs::remove_file(&for_initdb)?;
    initdb?;
    // Last, because it marks the cluster as complete.
    write_private(&directory.join("password"), &password)
}

fn launch(program: &Path, options: &PostgresOptions<'_>, data: &Path) -> Launch {
    let on_off = if options.durable { "on" } else { "off" };
    let settings = [
        format!("port={}", options.port),
        "listen_addresses=127.0.0.1".to_owned(),
        // A socket's path may have 107 characters at most, and nothing here uses one.
        "unix_socket_directories=".to_owned(),
        // Spin keeps up to 64 connections for each component.
        "max_connections=1000".to_owned(),
        format!("fsync={on_off}"),
        format!("synchronous_commit={on_off}"),
        format!("full_page_writes={on_off}"),
    ];
    let launch = Launch::new("PostgreSQL", program).arg("-D").arg(data).current_dir("/");
    // SIGINT is its fast shutdown: it ends its sessions; SIGTERM would wait for them.
    let launch = launch.stop_signal(Signal::INT, Duration::from_secs(10)).death_signal("INT");
    let launch = launch.log(options.directory.join("postgres.log"));
    let launch = if options.yielding { launch.yielding() } else { launch };
    settings.into_iter().fold(launch, |launch, setting| launch.arg("-c").arg(setting))
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let written = options.open(file).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("write {}", file.display()))
}
