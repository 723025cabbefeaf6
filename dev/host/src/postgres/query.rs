//! Running statements, and handing their rows to a guest one by one.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use deadpool_postgres::Object;
use futures::StreamExt as _;
use futures::stream::Fuse;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Row, RowStream};
use wasmtime::StoreContextMut;
use wasmtime::component::{Destination, StreamProducer, StreamResult};

use super::error::query_failed;
use super::{parameter, value};
use crate::bindings::spin::postgres::postgres::{Column, DbValue, Error, ParameterValue, QueryError, RowSet};

/// Rows waiting for the guest; the server is not read further while there are as many.
const BUFFERED_ROWS: usize = 4;

/// A statement's result while it arrives.
pub(super) struct Rows {
    /// Empty when there is no row: Spin learns them from the first one.
    pub(super) columns: Vec<Column>,
    /// The rows until the end or the first error.
    pub(super) values: mpsc::Receiver<Vec<DbValue>>,
    /// How it ended: an error is seen only here, even that of a statement that failed at once.
    pub(super) outcome: oneshot::Receiver<Result<(), Error>>,
}

/// Runs a statement and returns the number of rows it changed.
pub(super) async fn execute(
    client: &Object,
    statement: &str,
    parameters: &[ParameterValue],
) -> Result<u64, Error> {
    // Spin tells a parameter that cannot be sent otherwise here than for a query.
    let parameters =
        parameter::to_sql(parameters).map_err(|e| Error::ValueConversionFailed(format!("{e:#}")))?;
    client.execute_raw(statement, parameters).await.map_err(|e| query_failed(&e))
}

/// Runs a statement and waits for all its rows.
pub(super) async fn collect(
    client: &Object,
    statement: &str,
    parameters: &[ParameterValue],
) -> Result<RowSet, Error> {
    let mut arriving = stream(client, statement, parameters).await?;
    let mut rows = Vec::new();
    while let Some(row) = arriving.values.recv().await {
        rows.push(row);
    }
    arriving.outcome.await.unwrap_or(Ok(()))?;
    Ok(RowSet { columns: arriving.columns, rows })
}

/// Runs a statement and returns when its first row is there, or its end.
pub(super) async fn stream(
    client: &Object,
    statement: &str,
    parameters: &[ParameterValue],
) -> Result<Rows, Error> {
    let parameters = parameter::to_sql(parameters).map_err(|e| Error::BadParameter(format!("{e:#}")))?;
    // The text rather than a prepared statement: it is parsed and planned each time.
    let rows = client.query_raw(statement, parameters).await.map_err(|e| query_failed(&e))?;
    // Asked again after its end, the driver's stream would report a closed connection.
    let mut rest = Box::pin(rows.fuse());
    let first = rest.next().await;
    let columns = match &first {
        Some(Ok(row)) => value::columns(row),
        _ => Vec::new(),
    };
    let (sender, values) = mpsc::channel(BUFFERED_ROWS);
    let (ended, outcome) = oneshot::channel();
    tokio::spawn(async move {
        // A guest that dropped the future does not want to know.
        let _ = ended.send(forward(first, rest, sender).await);
    });
    Ok(Rows { columns, values, outcome })
}

async fn forward(
    first: Option<Result<Row, tokio_postgres::Error>>,
    rest: Pin<Box<Fuse<RowStream>>>,
    sender: mpsc::Sender<Vec<DbValue>>,
) -> Result<(), Error> {
    let mut rows = pin!(futures::stream::iter(first).chain(rest));
    loop {
        let row = tokio::select! {
            biased;
            () = sender.closed() => return Ok(()),
            row = rows.next() => row,
        };
        let Some(row) = row else { return Ok(()) };
        let row = row.map_err(|e| query_failed(&e))?;
        let values =
            value::convert(&row).map_err(|e| Error::QueryFailed(QueryError::Text(format!("{e:#}"))))?;
        if sender.send(values).await.is_err() {
            return Ok(());
        }
    }
}

/// Gives a guest's stream one row for each read.
pub(super) struct RowProducer(pub(super) mpsc::Receiver<Vec<DbValue>>);

impl<D> StreamProducer<D> for RowProducer {
    type Item = Vec<DbValue>;
    type Buffer = Option<Vec<DbValue>>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match self.0.poll_recv(cx) {
            Poll::Ready(Some(row)) => {
                destination.set_buffer(Some(row));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}
