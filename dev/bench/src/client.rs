//! A connection to an HTTP server on this machine, kept open between requests.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A request with its whole body.
pub(crate) type Call = Request<Full<Bytes>>;

/// Serves one request at a time.
pub(crate) struct Connection {
    port: u16,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// To a port of 127.0.0.1.
    pub(crate) async fn open(port: u16) -> Result<Self> {
        Ok(Self { port, sender: connect(port).await? })
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn send(&mut self, call: Call) -> Result<(StatusCode, Bytes)> {
        if self.sender.ready().await.is_err() {
            // The server has closed it.
            self.sender = connect(self.port).await?;
        }
        let response = self.sender.send_request(call).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

async fn connect(port: u16) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    let stream = stream.with_context(|| format!("connect to port {port}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; why it ended shows at the next request.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}
