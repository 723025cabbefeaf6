//! Serves HTTP/1.1: finds the component of each request and passes it on.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tracing::Instrument as _;
use wasmtime_wasi_http::WasiBody;

use crate::application::Application;
use crate::headers;
use crate::instance::one_line;
use crate::{log, telemetry};

/// Paths that Spin answers itself.
const WELL_KNOWN: &str = "/.well-known/spin/";

/// Listens on `address`; a port of 0 is any free one.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "port {} on {} is already in use: choose another with --listen",
            address.port(),
            address.ip()
        ),
        listener => listener.with_context(|| format!("cannot listen on {address}")),
    }
}

/// Accepts connections for ever.
pub(crate) async fn serve(listener: TcpListener, application: Application) {
    let application = Arc::new(application);
    loop {
        match listener.accept().await {
            Ok((stream, client)) => drop(tokio::spawn(connection(stream, client, application.clone()))),
            Err(error) => {
                log::say(&format!("cannot accept a connection: {error}"));
                // Too many open files, most likely: some will be closed.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Nagle's algorithm stays on, as in Spin: a response without content-length takes its 40 ms longer here as well.
async fn connection(stream: TcpStream, client: SocketAddr, application: Arc<Application>) {
    let service = service_fn(move |request| {
        let application = application.clone();
        let span = telemetry::request(&request, client);
        async move {
            answer(request, client, &application)
                .await
                .inspect(|response| telemetry::answered(response.status()))
        }
        .instrument(span)
    });
    // A client that goes away is no error; the guest's own are told where they happen.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Fails for a request that is not for one host, which closes the connection.
async fn answer(
    request: Request<Incoming>,
    client: SocketAddr,
    application: &Application,
) -> Result<Response<WasiBody>> {
    let path = request.uri().path().to_owned();
    if let Some(name) = path.strip_prefix(WELL_KNOWN) {
        return Ok(if name == "health" { text("OK") } else { empty(StatusCode::NOT_FOUND) });
    }
    let Some((matched, handler)) = application.find(&path) else {
        return Ok(empty(StatusCode::NOT_FOUND));
    };
    let (mut parts, body) = request.into_parts();
    telemetry::matched(&parts.method, &matched.route.pattern);
    headers::make_absolute(&mut parts)?;
    let component = &matched.route.component;
    if let Err(error) = headers::prepare(&mut parts, &matched, client) {
        return Ok(failed(component, &format!("{error:#}")));
    }
    let body = body.map_err(wasmtime_wasi_http::Error::from).boxed_unsync();
    let span = telemetry::component(component);
    let answer = handler.handle((), Request::from_parts(parts, body)).instrument(span).await;
    Ok(answer.unwrap_or_else(|error| failed(component, &one_line(&error))))
}

fn failed(component: &str, error: &str) -> Response<WasiBody> {
    log::say(&format!("A request to {component} failed: {error}"));
    empty(StatusCode::INTERNAL_SERVER_ERROR)
}

fn text(text: &'static str) -> Response<WasiBody> {
    Response::new(
        Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {}).boxed_unsync(),
    )
}

fn empty(status: StatusCode) -> Response<WasiBody> {
    let mut response = text("");
    *response.status_mut() = status;
    response
}
