//! The database: pooled connections, each with its prepared statements.

use anyhow::{Context, Result};
use deadpool_postgres::{Manager, ManagerConfig, Pool, QueueMode, RecyclingMethod};
use shared::error::Error;
use shared::task::{Task, Timestamp};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Config, NoTls, Row};
use uuid::Uuid;

/// SQLSTATE foreign_key_violation.
pub(crate) const FOREIGN_KEY_VIOLATION: &str = "23503";

/// SQLSTATEs that say "not now": the server shuts down or starts, or has no connection left.
const UNAVAILABLE: [&str; 4] = ["57P01", "57P02", "57P03", "53300"];

/// A pool of connections.
#[derive(Clone)]
pub(crate) struct Database(Pool);

/// Why a statement failed. Only the parts of the server's message that never quote a row's values.
pub(crate) enum Refusal {
    Unreachable(String),
    Refused { code: String, message: String },
}

impl Database {
    /// Opens no connection yet.
    pub(crate) fn new(url: &str, connections: usize) -> Result<Database> {
        let config: Config = url.parse().context("reading the database's URL")?;
        // Nothing here leaves anything behind in a session, so nothing has to be cleaned up between two uses.
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, NoTls, recycling);
        // The connection that was used last has its statements, and its server process is still in the cache.
        let pool = Pool::builder(manager).max_size(connections).queue_mode(QueueMode::Lifo).build();
        Ok(Database(pool.context("building the pool")?))
    }

    /// Opens every connection, so that no request has to wait until one is made.
    pub(crate) async fn connect(&self) -> Result<()> {
        let mut connections = Vec::new();
        for _ in 0..self.0.status().max_size {
            connections.push(self.0.get().await.context("connecting to the database")?);
        }
        Ok(())
    }

    /// Runs a statement, which each connection prepares once.
    pub(crate) async fn query(
        &self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Refusal> {
        let connection = self.0.get().await.map_err(|error| Refusal::Unreachable(error.to_string()))?;
        let statement = connection.prepare_cached(sql).await?;
        Ok(connection.query(&statement, parameters).await?)
    }
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(error: tokio_postgres::Error) -> Refusal {
        match error.as_db_error() {
            Some(error) => {
                Refusal::Refused { code: error.code().code().to_owned(), message: error.message().to_owned() }
            }
            // Without a structured error, the connection broke: the server never says "no" without a code.
            None => Refusal::Unreachable(error.to_string()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Unreachable(message) => Error::DatabaseUnavailable(message),
            Refusal::Refused { code, message }
                if code.starts_with("08") || UNAVAILABLE.contains(&code.as_str()) =>
            {
                Error::DatabaseUnavailable(format!("{code} {message}"))
            }
            Refusal::Refused { code, message } => Error::Internal(format!("database: {code} {message}")),
        }
    }
}

/// The values of a row, taken from left to right.
pub(crate) struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(row: &'a Row) -> Columns<'a> {
        Columns { row, next: 0 }
    }

    pub(crate) fn next<T: FromSql<'a>>(&mut self) -> Result<T, Error> {
        let value = self.row.try_get(self.next);
        self.next += 1;
        value.map_err(|error| Error::Internal(format!("reading a row: {error}")))
    }

    pub(crate) fn instant(&mut self) -> Result<Timestamp, Error> {
        self.optional_instant()?.ok_or_else(|| Error::Internal("an instant is missing".into()))
    }

    pub(crate) fn optional_instant(&mut self) -> Result<Option<Timestamp>, Error> {
        let Some(micros) = self.next::<Option<i64>>()? else { return Ok(None) };
        let instant = Timestamp::from_micros(micros);
        instant.map(Some).ok_or_else(|| Error::Internal(format!("{micros} µs is not an instant")))
    }

    pub(crate) fn task(&mut self) -> Result<Task, Error> {
        let id = self.next()?;
        self.task_with(id)
    }

    /// A row that has everything but the id.
    pub(crate) fn task_with(&mut self, id: Uuid) -> Result<Task, Error> {
        Ok(Task {
            id,
            title: self.next()?,
            completed: self.next()?,
            due_date: self.optional_instant()?,
            created_at: self.instant()?,
            updated_at: self.instant()?,
        })
    }
}
