//! `cargo xtask migrate`

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};
use stack::database;

use crate::progress::Progress;
use crate::project::Project;
use crate::steps;

/// Applies what is missing. Errors: `DATABASE_URL` leads nowhere, a migration fails, or one was changed after it was applied.
pub(crate) fn run() -> Result<ExitCode> {
    let url = env::var("DATABASE_URL").context(
        "set DATABASE_URL to the database to migrate, such as postgres://user:password@host:5432/taskcast \
         (that of `cargo xtask up` is migrated by itself)",
    )?;
    let project = Project::find()?;
    Progress::show(|progress| steps::postgresql::ensure_client(&project, progress))?;
    database::run(&url, "select 1").context("DATABASE_URL must lead to a running database")?;
    let applied = database::migrate(&url, &project.path("migrations"))?;
    for name in &applied {
        println!("applied {name}");
    }
    println!("the database is up to date");
    Ok(ExitCode::SUCCESS)
}
