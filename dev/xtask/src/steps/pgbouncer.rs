//! PgBouncer, 1.21 or later: the machine's own, or that of a later Debian, which is unpacked beside it with its libraries.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use stack::service_user::reachable;

use crate::cache;
use crate::debian::{Suites, missing_tool};
use crate::progress::Progress;
use crate::project::Project;

/// The first version that keeps prepared statements apart when it pools by transaction.
const OLDEST: (u32, u32) = (1, 21);

const SUITE: &str = "trixie";

/// With every library that the program needs, the C library included: the machine's may be older.
const PACKAGES: [&str; 12] = [
    "pgbouncer",
    "libaudit1",
    "libc6",
    "libcap2",
    "libcap-ng0",
    "libcares2",
    "libevent-2.1-7t64",
    "libpam0g",
    "libssl3t64",
    "libsystemd0",
    "libzstd1",
    "zlib1g",
];

/// Starts the unpacked program by the C library beside it.
const START: &str = "#!/bin/sh\n\
    here=$(dirname \"$0\")\n\
    set -- \"$here\"/usr/sbin/pgbouncer \"$@\"\n\
    for loader in \"$here\"/usr/lib/*-linux-gnu*/ld-linux-*; do\n    \
        exec \"$loader\" --library-path \"$(dirname \"$loader\")\" \"$@\"\n\
    done\n";

/// The program, where the user that the tests run it as reaches it.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    let installed = ["pgbouncer", "/usr/sbin/pgbouncer"].iter().find_map(stack::programs::find);
    if let Some(program) = installed
        && version(&program).is_some_and(|version| version >= OLDEST)
    {
        return Ok(program);
    }
    let source = project.path("dev/xtask/src/steps/pgbouncer.rs");
    let directory = cache::entry("pgbouncer", &[source], |directory| {
        const STEP: &str = "PgBouncer fetched";
        let log = project.fresh_log("pgbouncer.log");
        progress.step(STEP, || unpack(project, directory, &log, || progress.follow(STEP)))
    })?;
    Ok(reachable(&directory)?.join("pgbouncer"))
}

fn unpack(
    project: &Project,
    directory: &Path,
    log: &Path,
    follow: impl Fn() -> Option<stack::OnLine>,
) -> Result<()> {
    let (major, minor) = OLDEST;
    let advice = || format!("the tests need PgBouncer {major}.{minor} or later: install it");
    if let Some(tool) = missing_tool() {
        bail!("{} ({tool} is missing, so that it can't be had from Debian)", advice());
    }
    let work = project.local("pgbouncer");
    let packages = PACKAGES.map(|package| format!("{package}/{SUITE}"));
    let suites = Suites::fetch(&work, &[SUITE], log, follow)?;
    suites.unpack(&packages.each_ref().map(String::as_str), directory).with_context(advice)?;
    let program = directory.join("pgbouncer");
    fs::write(&program, START)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::remove_dir_all(&work)?;
    match version(&program) {
        Some(version) if version >= OLDEST => Ok(()),
        version => bail!("{} (that of Debian's {SUITE} says that it is {version:?})", advice()),
    }
}

fn version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `PgBouncer 1.24.1`, on the first line.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.lines().next()?.strip_prefix("PgBouncer ")?.trim().split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_pgbouncer_is_compared_by_number() {
        assert_eq!(parse_version("PgBouncer 1.24.1\nlibevent 2.1.13-stable\n"), Some((1, 24)));
        assert!(parse_version("PgBouncer 1.18.0").unwrap() < OLDEST);
        assert_eq!(parse_version("pgbouncer"), None);
    }
}
