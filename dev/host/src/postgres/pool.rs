//! Pools of connections, 64 for each address of a component, and the app's bound on connections in use. Both are waited
//! for without a time limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, NoTls};

use super::tls;
use crate::allowed_hosts::AllowedHosts;

/// As in Spin, where it is no setting either.
const CONNECTIONS: usize = 64;

/// The bound `[outbound_pg] max_connections` on the connections that guests hold at the same time.
///
/// As in Spin 4.1, all components of the app share one bound, and the connections that wait in a pool for their next use
/// don't count.
#[derive(Clone, Default)]
pub(crate) struct Permits(Option<Arc<Semaphore>>);

impl Permits {
    /// Allows `max` connections in use, or any number. With 0, every guest waits forever.
    pub(crate) fn new(max: Option<usize>) -> Self {
        Self(max.map(|max| Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)))))
    }

    /// Waits for a permit, first come, first served. The permit ends when it is dropped.
    pub(super) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        match &self.0 {
            // An error would mean that the semaphore was closed, and nothing closes it.
            Some(semaphore) => semaphore.clone().acquire_owned().await.ok(),
            None => None,
        }
    }
}

/// A component's pools, by address and certificate.
#[derive(Default)]
pub(crate) struct Pools(Mutex<HashMap<(String, Option<String>), Pool>>);

impl Pools {
    /// Waits for one of the address's connections, for as long as all are in use.
    pub(super) async fn get(&self, address: &str, certificate: Option<&str>) -> Result<Object> {
        let pool = self.pool(address, certificate).context("establishing PostgreSQL connection pool")?;
        Ok(pool.get().await?)
    }

    fn pool(&self, address: &str, certificate: Option<&str>) -> Result<Pool> {
        let key = (address.to_owned(), certificate.map(str::to_owned));
        let mut pools = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&key) {
            return Ok(pool.clone());
        }
        let pool = create(address, certificate)?;
        pools.insert(key, pool.clone());
        Ok(pool)
    }
}

/// `Clean` resets the session before its next use, but does not end a transaction.
fn create(address: &str, certificate: Option<&str>) -> Result<Pool> {
    let config: Config = address.parse().context("parsing Postgres connection string")?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Clean };
    let manager = if config.get_ssl_mode() == SslMode::Disable {
        Manager::from_config(config, NoTls, recycling)
    } else {
        Manager::from_config(config, tls::connector(certificate)?, recycling)
    };
    Pool::builder(manager).max_size(CONNECTIONS).build().context("building Postgres connection pool")
}

/// Fails, with the text for the guest, unless every host of the connection string is allowed.
pub(super) fn check_address(address: &str, allowed: &AllowedHosts) -> Result<(), String> {
    let config: Config = address.parse().map_err(|error: tokio_postgres::Error| error.to_string())?;
    let ports = config.get_ports();
    for (index, host) in config.get_hosts().iter().enumerate() {
        let Host::Tcp(host) = host else {
            return Err("Unix sockets are not supported on WebAssembly".to_owned());
        };
        let only = if let [port] = ports { Some(port) } else { None };
        let port = ports.get(index).or(only).map(|port| format!(":{port}")).unwrap_or_default();
        let url = format!("postgres://{host}{port}");
        if !allowed.check(&url) {
            return Err(format!("address {url} is not permitted"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str) -> Result<(), String> {
        check_address(address, &AllowedHosts::parse(&["postgres://127.0.0.1:5432".to_owned()]).unwrap())
    }

    #[test]
    fn an_allowed_address_is_compared_literally() {
        check("postgres://user:secret@127.0.0.1:5432/app?sslmode=disable").unwrap();
        check("postgres://user@127.0.0.1/app").unwrap();
        let error = check("postgres://user:secret@localhost:5432/app").unwrap_err();
        assert_eq!(error, "address postgres://localhost:5432 is not permitted");
    }

    #[test]
    fn a_socket_file_and_nonsense_are_refused() {
        check("host=/var/run/postgresql").unwrap_err();
        check("postgres://[").unwrap_err();
    }

    #[tokio::test]
    async fn a_permit_is_waited_for_in_turn_until_a_guest_gives_one_back() {
        let permits = Permits::new(Some(1));
        let held = permits.acquire().await;
        assert!(held.is_some());
        let mut second = Box::pin(permits.acquire());
        let mut third = Box::pin(permits.acquire());
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut third).is_pending());
        drop(held);
        assert!(futures::poll!(&mut third).is_pending(), "the second came first");
        let held = second.await;
        assert!(held.is_some());
        drop(held);
        assert!(third.await.is_some());
    }

    #[tokio::test]
    async fn a_guest_that_stops_waiting_leaves_its_turn_to_the_next() {
        let permits = Permits::new(Some(1));
        let held = permits.acquire().await;
        let mut second = Box::pin(permits.acquire());
        let mut third = Box::pin(permits.acquire());
        assert!(futures::poll!(&mut second).is_pending());
        assert!(futures::poll!(&mut third).is_pending());
        drop(second);
        drop(held);
        assert!(third.await.is_some());
    }

    #[tokio::test]
    async fn without_a_bound_no_guest_waits_and_with_none_left_every_guest_does() {
        assert!(futures::poll!(Box::pin(Permits::new(None).acquire())).is_ready());
        assert!(futures::poll!(Box::pin(Permits::new(Some(0)).acquire())).is_pending());
        assert!(futures::poll!(Box::pin(Permits::new(Some(usize::MAX)).acquire())).is_ready());
    }

    #[tokio::test]
    async fn components_pools_are_made_once_for_an_address() {
        let pools = Pools::default();
        let first = pools.pool("postgres://127.0.0.1:1/a?sslmode=disable", None).unwrap();
        let again = pools.pool("postgres://127.0.0.1:1/a?sslmode=disable", None).unwrap();
        assert_eq!(first.status().max_size, 64);
        assert!(std::ptr::eq(first.manager(), again.manager()));
    }
}
