//! The user that PostgreSQL runs as when we are root, which it refuses.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// A user without rights: `postgres` where the package created it, else `nobody`.
#[derive(Clone, Debug)]
pub struct ServiceUser {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

impl ServiceUser {
    /// `None` when we are not root: then everything runs as ourselves.
    pub fn for_root() -> Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        match ["postgres", "nobody"].iter().find_map(|name| lookup(&passwd, name)) {
            Some(user) => Ok(Some(user)),
            None => bail!("PostgreSQL does not run as root, and there is neither a user postgres nor nobody"),
        }
    }

    /// Makes the user the owner of a file or directory.
    pub fn take(&self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("change the owner of {}", path.display()))
    }

    /// Whether the user gets through all parents of this path. It does not below `/root`, for example.
    pub fn reaches(&self, path: &Path) -> bool {
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        let as_user = ["--reuid", &uid, "--regid", &gid, "--clear-groups", "--", "test", "-x"];
        Command::new("setpriv").args(as_user).arg(path).status().is_ok_and(|status| status.success())
    }
}

/// Returns a place in `/var/lib/taskcast` for what belongs to a directory that the user does not reach.
pub(crate) fn shared_place(directory: &Path) -> PathBuf {
    let digest = Sha256::digest(directory.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Path::new("/var/lib/taskcast").join(name)
}

/// Returns a directory with programs where the service user may run them: the directory itself, or a copy of it where the
/// user does not reach it. The programs in a directory never change.
pub fn reachable(directory: &Path) -> Result<PathBuf> {
    match ServiceUser::for_root()? {
        Some(user) if !user.reaches(directory) => copy(directory, &shared_place(directory)),
        _ => Ok(directory.to_owned()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<PathBuf> {
    if to.exists() {
        return Ok(to.to_owned());
    }
    let unfinished = to.with_extension(std::process::id().to_string());
    fs::create_dir_all(&unfinished).with_context(|| format!("create {}", unfinished.display()))?;
    let copied = Command::new("cp").arg("--archive").arg(from.join(".")).arg(&unfinished).status();
    if !copied.is_ok_and(|status| status.success()) {
        bail!("copy {} to {}", from.display(), unfinished.display());
    }
    if let Err(error) = fs::rename(&unfinished, to) {
        fs::remove_dir_all(&unfinished).context("remove an unfinished copy")?;
        // Another process may have made the same copy meanwhile.
        if !to.exists() {
            return Err(error).with_context(|| format!("rename {}", unfinished.display()));
        }
    }
    Ok(to.to_owned())
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A line of passwd(5) is `name:password:uid:gid:…`.
fn lookup(passwd: &str, name: &str) -> Option<ServiceUser> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2).map(str::parse);
    Some(ServiceUser { uid: numbers.next()?.ok()?, gid: numbers.next()?.ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd =
            "post:x:1:2::/:/bin/sh\npostgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";
        let user = lookup(passwd, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert!(lookup(passwd, "nobody").is_none());
    }
}
