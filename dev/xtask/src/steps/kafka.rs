//! Kafka's jars, fetched once from Maven Central.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use stack::Launch;

use crate::cache;
use crate::progress::Progress;
use crate::project::Project;
use crate::steps::packages;

/// The directory with the jars; Java is there too afterwards.
pub(crate) fn prepare(project: &Project, progress: &Arc<Progress>) -> Result<PathBuf> {
    ensure(project, progress, "Java installed", "java", "default-jre-headless")?;
    cache::entry("kafka", &[project.path("dev/kafka/pom.xml")], |directory| {
        ensure_maven(project, progress)?;
        fetch(project, progress, directory)
    })
}

/// Makes sure that there is Maven, and Java with it.
pub(crate) fn ensure_maven(project: &Project, progress: &Arc<Progress>) -> Result<()> {
    ensure(project, progress, "Maven installed", "mvn", "maven")
}

fn fetch(project: &Project, progress: &Arc<Progress>, directory: &Path) -> Result<()> {
    const STEP: &str = "Kafka fetched";
    let launch = Launch::new("mvn", "mvn")
        .args(["--batch-mode", "dependency:copy-dependencies"])
        .arg(format!("-DoutputDirectory={}", directory.display()))
        .current_dir(project.path("dev/kafka"))
        .log(project.fresh_log("kafka-fetch.log"))
        .on_line(progress.follow(STEP));
    progress.step(STEP, || launch.run())
}

fn ensure(
    project: &Project,
    progress: &Arc<Progress>,
    step: &'static str,
    program: &str,
    package: &str,
) -> Result<()> {
    if stack::programs::find(program).is_some() {
        return Ok(());
    }
    progress.step(step, || packages::install(project, program, &[package]).context("Kafka runs on Java"))
}
