//! Components' own HTTP requests: only to allowed hosts, with the guest's time-outs, over shared connections.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures::TryFutureExt as _;
use http::uri::Scheme;
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use tracing::Instrument as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::allowed_hosts::AllowedHosts;
use crate::outbound_http::connect::{CONNECT_TIMEOUT, ConnectError, Connector};
use crate::outbound_http::timed_body::TimedBody;
use crate::{log, telemetry};

mod connect;
mod timed_body;

/// What a guest waits at most where it sets no time-out itself.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// The connections of all components.
#[derive(Clone)]
pub(crate) struct HttpClient(Client<Connector, WasiBody>);

impl HttpClient {
    /// With `pooling`, a connection is kept for the next request to the same host.
    pub(crate) fn new(pooling: bool) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        if !pooling {
            builder.pool_max_idle_per_host(0);
        }
        Self(builder.build(Connector))
    }

    async fn send(
        &self,
        mut request: Request<WasiBody>,
        limits: Timeouts,
    ) -> Result<Response<WasiBody>, Error> {
        // The client writes it from the URI, as Spin's does.
        request.headers_mut().remove(header::HOST);
        let response =
            CONNECT_TIMEOUT.scope(limits.connect, self.0.request(request).map_err(|e| client_error(&e)));
        let response = tokio::time::timeout(limits.first_byte, response)
            .await
            .map_err(|_| Error::ConnectionReadTimeout)??;
        Ok(response.map(|body| TimedBody::new(body, limits.between_bytes).boxed_unsync()))
    }
}

#[derive(Debug, PartialEq)]
struct Timeouts {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl From<Option<RequestOptions>> for Timeouts {
    fn from(options: Option<RequestOptions>) -> Self {
        let options = options.unwrap_or_default();
        Self {
            connect: options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT),
            first_byte: options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT),
            between_bytes: options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT),
        }
    }
}

/// One instance's access to the network.
pub(crate) struct OutboundHttp {
    /// Shared by all components.
    pub(crate) client: HttpClient,
    /// This component's.
    pub(crate) allowed: Arc<AllowedHosts>,
}

impl OutboundHttp {
    fn check(&self, request: &Request<WasiBody>) -> Result<(), Error> {
        if !self.allowed.check(&request.uri().to_string()) {
            return Err(Error::HttpRequestDenied);
        }
        if request.uri().scheme() != Some(&Scheme::HTTP) {
            log::say(&format!(
                "This host has no outbound https: run the application with spin to reach {}",
                request.uri()
            ));
            return Err(Error::InternalError(Some(
                "outbound https is not implemented by this host".to_owned(),
            )));
        }
        Ok(())
    }
}

type IoResult = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for OutboundHttp {
    /// The third argument is the guest's trouble with the response, about which nothing can be done here.
    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: IoResult,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, IoResult), Error>> + Send> {
        let allowed = self.check(&request);
        let client = self.client.clone();
        let span = telemetry::outbound(&request);
        let send = async move {
            allowed?;
            telemetry::inject(request.headers_mut());
            let response = client.send(request, options.into()).await?;
            telemetry::answered(response.status());
            // The client itself drives the connection, and the body reports its errors.
            Ok((response, Box::new(async { Ok(()) }) as IoResult))
        };
        Box::new(send.instrument(span))
    }
}

fn client_error(error: &ClientError) -> Error {
    match error.source().and_then(|source| source.downcast_ref::<ConnectError>()) {
        Some(error) => error.into(),
        None => Error::HttpProtocolError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn get(uri: &str) -> Request<WasiBody> {
        Request::get(uri).body(Empty::new().map_err(|never| match never {}).boxed_unsync()).unwrap()
    }

    fn all(limit: Duration) -> Timeouts {
        Timeouts { connect: limit, first_byte: limit, between_bytes: limit }
    }

    /// Answers the requests of every connection with `answer`, and counts connections.
    async fn serve(answer: &'static [u8]) -> (String, tokio::sync::mpsc::UnboundedReceiver<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        let (accepted, connections) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                accepted.send(()).unwrap();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                        stream.write_all(answer).await.unwrap();
                    }
                });
            }
        });
        (uri, connections)
    }

    async fn connections_of_two_requests(pooling: bool) -> usize {
        let (uri, mut connections) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let client = HttpClient::new(pooling);
        for _ in 0..2 {
            let response = client.send(get(&uri), all(Duration::from_secs(5))).await.unwrap();
            response.into_body().collect().await.unwrap();
            // The connection goes back to the pool a moment after its body has ended.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::iter::from_fn(|| connections.try_recv().ok()).count()
    }

    #[tokio::test]
    async fn connections_are_kept_only_with_pooling() {
        assert_eq!(connections_of_two_requests(true).await, 1);
        assert_eq!(connections_of_two_requests(false).await, 2);
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let (uri, _connections) = serve(b"").await;
        let error = HttpClient::new(true).send(get(&uri), all(Duration::from_millis(50))).await.unwrap_err();
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error:?}");
    }

    #[tokio::test]
    async fn a_body_that_stops_is_given_up() {
        let (uri, _connections) = serve(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome").await;
        let response = HttpClient::new(true).send(get(&uri), all(Duration::from_millis(50))).await.unwrap();
        let error = response.into_body().collect().await.unwrap_err();
        assert!(matches!(error, Error::ConnectionReadTimeout), "{error:?}");
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let error =
            HttpClient::new(true).send(get("http://127.0.0.1:1/"), all(DEFAULT_TIMEOUT)).await.unwrap_err();
        assert!(matches!(error, Error::ConnectionRefused), "{error:?}");
    }

    #[tokio::test]
    async fn a_host_that_is_not_allowed_is_denied() {
        let allowed = Arc::new(AllowedHosts::parse(&["http://localhost:3500".to_owned()]).unwrap());
        let mut hooks = OutboundHttp { client: HttpClient::new(true), allowed };
        let sent = hooks.send_request(get("http://127.0.0.1:3500/"), None, Box::new(async { Ok(()) }));
        assert!(matches!(Box::into_pin(sent).await.err(), Some(Error::HttpRequestDenied)));
    }

    #[test]
    fn a_time_out_that_is_not_set_is_ten_minutes() {
        assert_eq!(Timeouts::from(None), all(Duration::from_secs(600)));
    }
}
