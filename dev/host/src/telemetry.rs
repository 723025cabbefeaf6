//! Spans as Spin's, with its names and targets: of each request, of the component that answers it, and of what components send.
//!
//! Without an endpoint in the environment there are none, and asking for one costs no more than looking at a flag.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, Method, Request, StatusCode};
use opentelemetry::global;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, registry};

/// One of them says where spans go; the exporter reads them itself.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// How spans go there, the first that is set.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// The only one that this host has.
const PROTOCOL: &str = "http/protobuf";

/// Has spans recorded and exported if the environment says where to. In batches: a signal ends the host with the last one
/// unsent, as it ends Spin.
pub(crate) fn start() -> Result<()> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if !is_wanted(variable) {
        return Ok(());
    }
    check_protocol(variable)?;
    let exporter = SpanExporter::builder().with_http().build().context("exporting spans")?;
    let provider = SdkTracerProvider::builder()
        .with_resource(resource(variable("OTEL_SERVICE_NAME")))
        .with_span_processor(BatchSpanProcessor::builder(exporter, Tokio).build())
        .build();
    let filter =
        EnvFilter::try_from_env("SPIN_OTEL_TRACING_LEVEL").unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("spin")).with_threads(false);
    registry().with(layer.with_filter(filter)).init();
    global::set_tracer_provider(provider);
    global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(())
}

fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    ENDPOINTS.iter().any(|name| variable(name).is_some()) && variable("OTEL_SDK_DISABLED").is_none()
}

fn check_protocol(variable: impl Fn(&str) -> Option<String>) -> Result<()> {
    let wanted = PROTOCOLS.iter().find_map(|name| variable(name));
    let known = wanted.as_deref().is_none_or(|wanted| wanted == PROTOCOL);
    ensure!(
        known,
        "this host exports spans by {PROTOCOL} only: set {} to it, or run the application with spin",
        PROTOCOLS[0]
    );
    Ok(())
}

fn resource(name: Option<String>) -> Resource {
    let resource = Resource::builder_empty()
        .with_service_name("spin")
        .with_detectors(&[Box::new(EnvResourceDetector::new()), Box::new(TelemetryResourceDetector)]);
    match name {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// Of a request, as a child of the caller's span if it came with one.
pub(crate) fn request<B>(request: &Request<B>, client: SocketAddr) -> Span {
    let span = info_span!(
        target: "spin_trigger_http::server",
        "spin_trigger_http.handle_http_request",
        "otel.kind" = "server",
        "otel.name" = %request.method(),
        "http.request.method" = %request.method(),
        "network.peer.address" = %client.ip(),
        "network.peer.port" = %client.port(),
        "network.protocol.name" = "http",
        "url.path" = request.uri().path(),
        "url.query" = request.uri().query().unwrap_or(""),
        "http.response.status_code" = Empty,
        "http.route" = Empty,
    );
    if !span.is_disabled() {
        let caller = global::get_text_map_propagator(|one| one.extract(&HeaderExtractor(request.headers())));
        // It fails for a span that has begun to be exported, which this one has not.
        _ = span.set_parent(caller);
    }
    span
}

/// Names the current request by its route.
pub(crate) fn matched(method: &Method, route: &str) {
    let span = Span::current();
    if !span.is_disabled() {
        span.record("http.route", route);
        // As a field, a name counts only until the span is entered.
        span.context().span().update_name(format!("{method} {route}"));
    }
}

/// Notes how the current request, or what a component sent, was answered.
pub(crate) fn answered(status: StatusCode) {
    Span::current().record("http.response.status_code", status.as_u16());
}

/// Of the component that answers the current request.
pub(crate) fn component(id: &str) -> Span {
    info_span!(
        target: "spin_trigger_http::wasip3",
        "spin_trigger_http.execute_wasm",
        "otel.name" = format!("execute_wasm_component {id}"),
    )
}

/// Of a request that a component sends. An instance works in a task of its own, so it is in no request's trace.
pub(crate) fn outbound<B>(request: &Request<B>) -> Span {
    info_span!(
        target: "spin_factor_outbound_http::wasi",
        "spin_outbound_http.send_request",
        "otel.kind" = "client",
        "otel.name" = %request.method(),
        "http.request.method" = %request.method(),
        "server.address" = request.uri().host(),
        "server.port" = request.uri().port_u16(),
        "http.response.status_code" = Empty,
    )
}

/// Makes the current span the parent of what the receiver does. Whatever trace the component itself has named is replaced.
pub(crate) fn inject(headers: &mut HeaderMap) {
    let span = Span::current();
    if !span.is_disabled() {
        global::get_text_map_propagator(|one| {
            one.inject_context(&span.context(), &mut HeaderInjector(headers))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + Copy + 'a {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn an_endpoint_switches_spans_on() {
        assert!(!is_wanted(set(&[])));
        for name in ENDPOINTS {
            assert!(is_wanted(set(&[(name, "http://127.0.0.1:4318")])), "{name}");
            assert!(
                !is_wanted(set(&[(name, "http://127.0.0.1:4318"), ("OTEL_SDK_DISABLED", "true")])),
                "{name}"
            );
        }
    }

    #[test]
    fn another_protocol_is_refused() {
        assert!(check_protocol(set(&[])).is_ok());
        assert!(check_protocol(set(&[(PROTOCOLS[1], PROTOCOL)])).is_ok());
        assert!(check_protocol(set(&[(PROTOCOLS[0], PROTOCOL), (PROTOCOLS[1], "grpc")])).is_ok());
        let error = check_protocol(set(&[(PROTOCOLS[1], "grpc")])).unwrap_err().to_string();
        assert!(error.contains("http/protobuf only"), "{error}");
    }

    #[test]
    fn without_an_endpoint_headers_stay_as_they_are() {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", "the component's own".parse().unwrap());
        inject(&mut headers);
        assert_eq!(headers["traceparent"], "the component's own");
    }
}
