//! PostgreSQL's programs.

use std::sync::Arc;

use anyhow::Result;

use crate::progress::Progress;
use crate::project::Project;
use crate::steps::packages;

/// Makes sure that a private cluster can be started.
pub(crate) fn ensure_server(project: &Project, progress: &Arc<Progress>) -> Result<()> {
    if stack::postgres::program("postgres").is_ok() && stack::postgres::program("initdb").is_ok() {
        return ensure_client(project, progress);
    }
    progress.step("PostgreSQL installed", || packages::install(project, "PostgreSQL", &["postgresql"]))
}

/// Makes sure that `psql` is there, which applies the migrations.
pub(crate) fn ensure_client(project: &Project, progress: &Arc<Progress>) -> Result<()> {
    if stack::programs::find("psql").is_some() {
        return Ok(());
    }
    progress.step("psql installed", || packages::install(project, "psql", &["postgresql-client"]))
}
