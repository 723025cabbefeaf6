//! Databases and their migrations, by way of `psql`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::database_address::DatabaseAddress;
use crate::{Launch, Process, interrupt, programs};

/// Any fixed number: two processes that migrate the same database wait for each other on it. Not that of
/// `left_to_drain()` in migration 0006, which every mutation takes: it would wait for the migration.
pub const MIGRATION_LOCK: u64 = 0x6d69_6772_6174_6500;

/// Records which migrations a database has. The Job of `deploy/postgres/migrate` has the same table.
pub const MIGRATIONS_TABLE: &str = "create table if not exists schema_migrations (version integer primary key, \
     name text not null, checksum text not null, applied_at timestamptz not null default now());";

const OPTIONS: [&str; 7] =
    ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password", "--set", "ON_ERROR_STOP=1"];

/// Creates a database, as a copy of the template, which nobody may be connected to, or empty.
pub fn create(admin_url: &str, name: &str, template: Option<&str>) -> Result<()> {
    let template = identifier(template.unwrap_or("template1"))?;
    run(admin_url, &format!("create database {} template {template}", identifier(name)?)).map(drop)
}

/// Drops a database, also while somebody is connected to it. It may be missing.
pub fn drop_database(admin_url: &str, name: &str) -> Result<()> {
    run(admin_url, &format!("drop database if exists {} with (force)", identifier(name)?)).map(drop)
}

/// Whether the server has a database of this name.
pub fn exists(admin_url: &str, name: &str) -> Result<bool> {
    let query = format!("select count(*) from pg_database where datname = '{name}'", name = checked(name)?);
    Ok(run(admin_url, &query)?.trim() == "1")
}

/// Waits until the database answers a query; for at most 30 s.
pub fn wait_ready(url: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = run(url, "select 1") {
        interrupt::check()?;
        if Instant::now() > deadline {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Runs SQL and returns what it prints: rows as lines, columns separated by `|`.
/// Errors: the first line of what the server or `psql` said, never the password.
pub fn run(url: &str, sql: &str) -> Result<String> {
    let output = psql(url, None, sql)?;
    if !output.status.success() {
        bail!("{}", reason(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Applies the migrations that are missing, in order, and returns their file names. Each file is one transaction
/// together with its record in `schema_migrations`. Errors: a file that was changed after it was applied.
pub fn migrate(url: &str, directory: &Path) -> Result<Vec<String>> {
    let migrations = read_migrations(directory)?;
    let output = psql(url, Some(directory), &script(&migrations))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if let Some(name) = text.lines().find_map(|line| line.strip_prefix("changed ")) {
        bail!(
            "{name} was changed after it was applied to this database: undo the change and add a new migration"
        );
    }
    if !output.status.success() {
        bail!("{}", reason(&output));
    }
    Ok(text.lines().filter_map(|line| line.strip_prefix("applied ")).map(str::to_owned).collect())
}

struct Migration {
    version: u32,
    file: String,
    checksum: String,
}

fn read_migrations(directory: &Path) -> Result<Vec<Migration>> {
    let entries = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    files.iter().map(|file| read_migration(file)).collect()
}

fn read_migration(path: &Path) -> Result<Migration> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let plain = file.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
    match file.split_once('_').and_then(|(number, _)| number.parse().ok()) {
        Some(version) if plain => Ok(Migration { version, file, checksum: hex(&Sha256::digest(text)) }),
        _ => bail!("{file} is not named like a migration: 0002_what_it_does.sql"),
    }
}

/// One psql session for all files, because the lock that keeps a second process out lives as long as the session.
fn script(migrations: &[Migration]) -> String {
    let mut script = format!(
        "set client_min_messages = warning;\n\
         select pg_advisory_lock({MIGRATION_LOCK}) \\g /dev/null\n\
         {MIGRATIONS_TABLE}\n"
    );
    for Migration { version, file, checksum } in migrations {
        let _ = write!(
            script,
            "select count(*) = 0 as missing, count(*) filter (where checksum <> '{checksum}') > 0 as changed\n\
             from schema_migrations where version = {version} \\gset\n\
             \\if :changed\n\\echo changed {file}\n\\quit\n\\endif\n\
             \\if :missing\nbegin;\n\\i {file}\n\
             insert into schema_migrations (version, name, checksum) values ({version}, '{file}', '{checksum}');\n\
             commit;\n\\echo applied {file}\n\\endif\n"
        );
    }
    script
}

/// Starts a session that runs SQL, which may take long, and then ends.
pub fn start(url: &str, sql: &str, log: &Path) -> Result<Process> {
    let address = DatabaseAddress::parse(url)?;
    let launch = Launch::new("psql", program()?).args(OPTIONS).args(["--dbname", &address.to_string()]);
    let launch = match address.password() {
        Some(password) => launch.env("PGPASSWORD", password),
        None => launch,
    };
    launch.args(["--command", sql]).log(log).start()
}

fn program() -> Result<PathBuf> {
    programs::find("psql").context("psql is missing: install it with `apt-get install postgresql-client`")
}

fn psql(url: &str, directory: Option<&Path>, input: &str) -> Result<Output> {
    let address = DatabaseAddress::parse(url)?;
    let mut command = Command::new(program()?);
    command.args(OPTIONS).args(["--dbname", &address.to_string()]).env("PGCONNECT_TIMEOUT", "5");
    if let Some(password) = address.password() {
        command.env("PGPASSWORD", password);
    }
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start psql")?;
    if let Some(mut stdin) = child.stdin.take() {
        // When psql cannot connect it ends without reading; what it says is then in its output.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output().context("wait for psql")
}

/// psql's first line, without its own name and the place in the script.
fn reason(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("psql failed without saying why");
    line.trim_start_matches("psql:").trim().trim_start_matches("error:").trim().to_owned()
}

fn identifier(name: &str) -> Result<String> {
    Ok(format!("\"{}\"", checked(name)?))
}

fn checked(name: &str) -> Result<&str> {
    if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        bail!("a database is named with letters, digits and underscores only, not {name:?}");
    }
    Ok(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
