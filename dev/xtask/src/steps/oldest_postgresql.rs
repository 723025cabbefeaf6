//! The oldest PostgreSQL that taskcast runs on, fetched once from Maven Central: Debian has only newer ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use stack::Launch;
use stack::service_user::reachable;

use crate::cache;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::{kafka, packages};

const POM: &str = "dev/postgres/pom.xml";

/// The directory with `bin`, `lib` and `share`, where PostgreSQL's user reaches it.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    let directory = cache::entry("postgresql-14", &[project.path(POM)], |directory| {
        kafka::ensure_maven(project, progress)?;
        if stack::programs::find("xz").is_none() {
            progress.step("xz installed", || packages::install(project, "xz", &["xz-utils"]))?;
        }
        const STEP: &str = "PostgreSQL 14 fetched";
        let log = project.fresh_log("postgresql-14.log");
        progress.step(STEP, || {
            let launch = Launch::new("mvn", "mvn")
                .args(["--batch-mode", "dependency:unpack-dependencies"])
                .arg(format!("-DoutputDirectory={}", directory.display()))
                .current_dir(project.path("dev/postgres"))
                .log(&log)
                .on_line(progress.follow(STEP));
            launch.run()?;
            unpack(directory, &log)
        })
    })?;
    reachable(&directory)
}

/// The package is an archive in an archive.
fn unpack(directory: &Path, log: &Path) -> Result<()> {
    let is_archive = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "txz");
    let entries = fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path()));
    let archive = { entries }.find(is_archive).context("the package has no archive with the programs")?;
    let tar = Launch::new("tar", "tar").arg("-xJf").arg(&archive).arg("-C").arg(directory);
    tar.log(log).run()?;
    fs::remove_file(archive).context("remove the archive")
}
