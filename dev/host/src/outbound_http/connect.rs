//! Opening a connection within the request's own time-out.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;
use wasmtime_wasi_http::Error;

tokio::task_local! {
    /// The limit of the request that is being sent: the client's connector has no other way to learn it.
    pub(super) static CONNECT_TIMEOUT: Duration;
}

/// Opens plain TCP connections.
#[derive(Clone)]
pub(super) struct Connector;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    Unresolved,
    Refused,
    TimedOut,
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{self:?}")
    }
}

impl std::error::Error for ConnectError {}

impl From<&ConnectError> for Error {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Unresolved => {
                Self::DnsError { rcode: Some("address not available".to_owned()), info_code: Some(0) }
            }
            ConnectError::Refused => Self::ConnectionRefused,
            ConnectError::TimedOut => Self::ConnectionTimeout,
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(connect(uri))
    }
}

async fn connect(uri: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
    let limit = CONNECT_TIMEOUT.get();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(80);
    let addresses: Vec<_> =
        tokio::net::lookup_host((host, port)).await.map_err(|_| ConnectError::Unresolved)?.collect();
    let stream = tokio::time::timeout(limit, TcpStream::connect(addresses.as_slice()))
        .await
        .map_err(|_| ConnectError::TimedOut)?;
    stream.map(TokioIo::new).map_err(|_| ConnectError::Refused)
}
