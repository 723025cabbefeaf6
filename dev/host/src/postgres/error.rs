//! PostgreSQL's errors, with the fields that components look at.

use tokio_postgres::error::DbError as PostgresError;

use crate::bindings::spin::postgres::postgres::{DbError, Error, QueryError};

/// An error of a statement: what the server said, or else only a text.
pub(super) fn query_failed(error: &tokio_postgres::Error) -> Error {
    let as_text = format!("{error:?}");
    Error::QueryFailed(match error.as_db_error() {
        None => QueryError::Text(as_text),
        Some(error) => QueryError::DbError(DbError {
            as_text,
            severity: error.severity().to_owned(),
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            extras: extras(error),
        }),
    })
}

fn extras(error: &PostgresError) -> Vec<(String, String)> {
    let line = error.line().map(|line| line.to_string());
    let fields = [
        ("column", error.column()),
        ("constraint", error.constraint()),
        ("routine", error.routine()),
        ("hint", error.hint()),
        ("table", error.table()),
        ("datatype", error.datatype()),
        ("schema", error.schema()),
        ("file", error.file()),
        ("line", line.as_deref()),
        ("where_", error.where_()),
    ];
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    present.collect()
}
