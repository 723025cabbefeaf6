//! A database server of a test's own.

use std::fmt::Debug;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use stack::{Postgres, PostgresOptions, free_port};

use crate::harness::environment::directory;

/// A server whose data goes with this value.
pub(crate) struct Server {
    /// Ends before its data goes.
    postgres: Option<Postgres>,
    directory: PathBuf,
}

impl Server {
    /// Starts one of the machine's version.
    pub(crate) fn start() -> Self {
        Self::started_by(Postgres::start_with)
    }

    /// Starts one of another version.
    pub(crate) fn of_version(version: &Path) -> Self {
        Self::started_by(|options| Postgres::start_version(options, version))
    }

    fn started_by<E: Debug>(start: impl FnOnce(&PostgresOptions<'_>) -> Result<Postgres, E>) -> Self {
        let directory = directory("postgres");
        let port = free_port().unwrap();
        let options = PostgresOptions { directory: &directory, port, durable: false, yielding: false };
        let postgres = Some(start(&options).unwrap());
        Self { postgres, directory }
    }

    /// The directory that has its data.
    pub(crate) fn data(&self) -> PathBuf {
        stack::postgres::data_directory(&self.directory).unwrap()
    }
}

impl Deref for Server {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        self.postgres.as_ref().expect("it runs until it is dropped")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.postgres.take());
        // What is left over is in nobody's way.
        let _ = stack::postgres::remove(&self.directory);
    }
}
