//! `spin:postgres`: what Spin allows of PostgreSQL, with its habits.
//!
//! A connection that a guest holds is one of the pool's 64, and one of the runtime configuration's `max_connections`, until
//! the guest drops it. Statements are prepared anew each time. Going back to the pool does not roll back: whoever leaves a transaction open leaves it to the next request.

use std::sync::Arc;

use deadpool_postgres::Object;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{Accessor, FutureReader, HasData, Resource, ResourceTable, StreamReader};

use crate::allowed_hosts::AllowedHosts;
use crate::bindings::spin::postgres::postgres::{
    Column, DbValue, Error, Host, HostConnection, HostConnectionBuilder, HostConnectionBuilderWithStore,
    HostConnectionWithStore, ParameterValue, RowSet,
};

mod error;
mod parameter;
mod pool;
mod query;
mod tls;
mod value;

pub(crate) use pool::{Permits, Pools};

/// A connection that a guest holds. It goes back to the pool before its permit ends.
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Connection {
    client: Arc<Object>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// A connection that is yet to be opened.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct ConnectionBuilder {
    address: String,
    /// PEM.
    certificate: Option<String>,
}

/// A component's access to PostgreSQL.
#[derive(Clone)]
pub(crate) struct Postgres {
    /// This component's pools: components share none.
    pub(crate) pools: Arc<Pools>,
    /// The bound on connections in use: components share it.
    pub(crate) permits: Permits,
    /// This component's hosts.
    pub(crate) allowed: Arc<AllowedHosts>,
}

/// What the interface's functions see of an instance.
pub(crate) struct PostgresView<'a> {
    /// The component's access.
    pub(crate) postgres: &'a Postgres,
    /// The instance's resources.
    pub(crate) table: &'a mut ResourceTable,
}

/// Names [`PostgresView`] to the linker.
pub(crate) struct HasPostgres;

impl HasData for HasPostgres {
    type Data<'a> = PostgresView<'a>;
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl Postgres {
    async fn open(&self, address: &str, certificate: Option<&str>) -> Result<Connection, Error> {
        pool::check_address(address, &self.allowed).map_err(Error::ConnectionFailed)?;
        // Before the pool is asked: a connection that is being opened counts.
        let permit = self.permits.acquire().await;
        let client = self.pools.get(address, certificate).await;
        client
            .map(|client| Connection { client: Arc::new(client), _permit: permit })
            .map_err(|e| Error::ConnectionFailed(format!("{e:#}")))
    }
}

impl PostgresView<'_> {
    async fn open(&mut self, address: &str, certificate: Option<&str>) -> Answer<Resource<Connection>> {
        match self.postgres.open(address, certificate).await {
            Ok(connection) => Ok(Ok(self.table.push(connection)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn client(&self, connection: &Resource<Connection>) -> wasmtime::Result<Arc<Object>> {
        Ok(self.table.get(connection)?.client.clone())
    }
}

impl Host for PostgresView<'_> {}

impl HostConnectionBuilder for PostgresView<'_> {
    async fn new(&mut self, address: String) -> wasmtime::Result<Resource<ConnectionBuilder>> {
        Ok(self.table.push(ConnectionBuilder { address, certificate: None })?)
    }

    async fn set_ca_root(&mut self, builder: Resource<ConnectionBuilder>, certificate: String) -> Answer<()> {
        if let Err(error) = tls::parse_certificate(&certificate) {
            return Ok(Err(Error::Other(format!("invalid root certificate: {error:#}"))));
        }
        self.table.get_mut(&builder)?.certificate = Some(certificate);
        Ok(Ok(()))
    }

    async fn build(&mut self, builder: Resource<ConnectionBuilder>) -> Answer<Resource<Connection>> {
        let builder = self.table.get(&builder)?.clone();
        self.open(&builder.address, builder.certificate.as_deref()).await
    }

    async fn drop(&mut self, builder: Resource<ConnectionBuilder>) -> wasmtime::Result<()> {
        self.table.delete(builder)?;
        Ok(())
    }
}

impl HostConnection for PostgresView<'_> {
    async fn open(&mut self, address: String) -> Answer<Resource<Connection>> {
        PostgresView::open(self, &address, None).await
    }

    async fn query(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> Answer<RowSet> {
        let client = self.client(&connection)?;
        Ok(query::collect(&client, &statement, &parameters).await)
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> Answer<u64> {
        let client = self.client(&connection)?;
        Ok(query::execute(&client, &statement, &parameters).await)
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl<T: 'static> HostConnectionBuilderWithStore<T> for HasPostgres {
    async fn build_async(
        accessor: &Accessor<T, Self>,
        builder: Resource<ConnectionBuilder>,
    ) -> Answer<Resource<Connection>> {
        let builder = accessor.with(|mut access| access.get().table.get(&builder).cloned())?;
        open(accessor, &builder.address, builder.certificate.as_deref()).await
    }
}

impl<T: 'static> HostConnectionWithStore<T> for HasPostgres {
    async fn open_async(accessor: &Accessor<T, Self>, address: String) -> Answer<Resource<Connection>> {
        open(accessor, &address, None).await
    }

    async fn query_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> Answer<(Vec<Column>, StreamReader<Vec<DbValue>>, FutureReader<Result<(), Error>>)> {
        let client = accessor.with(|mut access| access.get().client(&connection))?;
        let rows = match query::stream(&client, &statement, &parameters).await {
            Ok(rows) => rows,
            Err(error) => return Ok(Err(error)),
        };
        accessor.with(|mut access| {
            let stream = StreamReader::new(&mut access, query::RowProducer(rows.values))?;
            let outcome = FutureReader::new(&mut access, rows.outcome)?;
            Ok(Ok((rows.columns, stream, outcome)))
        })
    }

    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> Answer<u64> {
        let client = accessor.with(|mut access| access.get().client(&connection))?;
        Ok(query::execute(&client, &statement, &parameters).await)
    }
}

/// Opens without holding the store, so that the instance's other requests go on meanwhile.
async fn open<T: 'static>(
    accessor: &Accessor<T, HasPostgres>,
    address: &str,
    certificate: Option<&str>,
) -> Answer<Resource<Connection>> {
    let postgres = accessor.with(|mut access| access.get().postgres.clone());
    match postgres.open(address, certificate).await {
        Ok(connection) => accessor.with(|mut access| Ok(Ok(access.get().table.push(connection)?))),
        Err(error) => Ok(Err(error)),
    }
}
