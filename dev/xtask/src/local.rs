//! What `.local` holds besides the data of the parts: the lock that keeps a second `up` out, and secrets.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::project::Project;

/// HS256 needs a key as long as its hash (RFC 7518 §3.2).
const SHORTEST_SECRET: usize = 32;

/// Held while a command uses this clone's data; given back when the process ends, however it ends.
pub(crate) fn lock(project: &Project, command: &str) -> Result<File> {
    let file = project.local(format!("{command}.lock"));
    fs::create_dir_all(project.local("")).context("create .local")?;
    let lock = File::create(&file).with_context(|| format!("create {}", file.display()))?;
    if lock.try_lock().is_err() {
        bail!("another `cargo xtask {command}` is running in this clone: end it first");
    }
    Ok(lock)
}

/// The secret that tokens are signed with: `JWT_SECRET`, else a random one kept in `.local`.
pub(crate) fn jwt_secret(project: &Project) -> Result<String> {
    let secret = match env::var("JWT_SECRET") {
        Ok(secret) => secret,
        Err(_) => kept_secret(&project.local("jwt-secret"))?,
    };
    if secret.len() < SHORTEST_SECRET {
        let length = secret.len();
        bail!(
            "the JWT secret has {length} bytes: set JWT_SECRET to at least {SHORTEST_SECRET}, or unset it for a random one"
        );
    }
    Ok(secret)
}

/// By which the app knows its sidecar, and who reads its metrics: kept in `.local`.
pub(crate) fn app_token(project: &Project) -> Result<String> {
    kept_secret(&project.local("app-token"))
}

fn kept_secret(file: &Path) -> Result<String> {
    if file.exists() {
        return fs::read_to_string(file).with_context(|| format!("read {}", file.display()));
    }
    let secret = stack::random::secret(48)?;
    fs::create_dir_all(file.with_file_name("")).context("create .local")?;
    let mut options = OpenOptions::new();
    let opened = options.create_new(true).write(true).mode(0o600).open(file);
    opened
        .and_then(|mut file| file.write_all(secret.as_bytes()))
        .with_context(|| format!("write {}", file.display()))?;
    Ok(secret)
}
