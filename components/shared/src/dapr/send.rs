//! Sending a request whose body is complete.

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;

use futures::future::{Either, select};
use http::Request;
use spin_sdk::http::{FullBody, Response};
use spin_sdk::wasip3::http::types::{ErrorCode, Request as WasiRequest};
use spin_sdk::wasip3::http_compat::{BodyWriter, RequestOptionsExtension};

/// Sends a request and writes its body at the same time.
///
/// The SDK's own `send` leaves the body to a spawned task, which is not looked at before something else wakes its caller: up
/// to a timer's 20 ms later. By then the host has sent the head alone, and because neither Spin nor we can set
/// TCP_NODELAY there, the body waits for the sidecar's delayed acknowledgement, 40 ms. Here the body is ready when the
/// host first asks for it, so that both leave in one segment.
pub(super) async fn send(request: Request<String>) -> Result<Response, ErrorCode> {
    let (parts, body) = request.into_parts();
    let (writer, contents, trailers) = BodyWriter::new();
    let headers = parts.headers.try_into().map_err(invalid)?;
    let options = parts.extensions.get::<RequestOptionsExtension>().cloned().map(|options| options.0);
    let (request, _) = WasiRequest::new(headers, Some(contents), trailers, options);
    let uri = parts.uri;
    let set = request.set_method(&parts.method.into()).is_ok()
        && request.set_scheme(uri.scheme().map(Into::into).as_ref()).is_ok()
        && request.set_authority(uri.authority().map(http::uri::Authority::as_str)).is_ok()
        && request.set_path_with_query(uri.path_and_query().map(http::uri::PathAndQuery::as_str)).is_ok();
    if !set {
        return Err(ErrorCode::HttpRequestUriInvalid);
    }
    // A sidecar may answer before it has read everything. The writer itself never decides how the call ends.
    let write = async {
        let mut body = FullBody::new(bytes::Bytes::from(body));
        _ = writer.send_http_body(&mut body).await;
        pending::<Infallible>().await
    };
    match select(pin!(write), pin!(spin_sdk::http::send(request))).await {
        Either::Left((never, _)) => match never {},
        Either::Right((response, _)) => response,
    }
}

fn invalid(error: impl ToString) -> ErrorCode {
    ErrorCode::InternalError(Some(error.to_string()))
}
