//! A receiver of OpenTelemetry's spans: OTLP over HTTP, in protobuf.

use std::collections::BTreeMap;
use std::net::TcpListener as StdListener;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span as Sent};
use prost::Message;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::background::Background;
use crate::harness::wait;
use crate::harness::wire::{read_request, write_answer};

type Received = Arc<Mutex<Vec<Span>>>;

/// A span as it was sent; ids in hex.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// Who sent it.
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty when it has none.
    pub(crate) parent: String,
    attributes: BTreeMap<String, String>,
}

impl Span {
    /// An attribute that is a text or a number.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    fn new(service: &str, sent: Sent) -> Self {
        Self {
            service: service.to_owned(),
            kind: sent.kind(),
            trace: hex(&sent.trace_id),
            id: hex(&sent.span_id),
            parent: hex(&sent.parent_span_id),
            attributes: texts(sent.attributes),
            name: sent.name,
        }
    }
}

/// The receiver, and what it has got.
pub(crate) struct Collector {
    port: u16,
    received: Received,
    _server: Background,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Received::default();
        let server = Background::run(serve(listener, Arc::clone(&received)));
        Self { port, received, _server: server }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until there are so many spans like this; returns all that there are.
    pub(crate) async fn wait_for(&self, count: usize, what: &str, is: impl Fn(&Span) -> bool) -> Vec<Span> {
        wait::until(wait::SOON, &format!("{count} spans: {what}"), async || {
            let spans =
                self.received.lock().unwrap().iter().filter(|span| is(span)).cloned().collect::<Vec<_>>();
            (spans.len() >= count).then_some(spans)
        })
        .await
    }
}

async fn serve(listener: StdListener, received: Received) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(converse(BufReader::new(stream), Arc::clone(&received)));
    }
}

async fn converse(mut stream: BufReader<TcpStream>, received: Received) -> Option<()> {
    loop {
        let request = read_request(&mut stream).await?;
        assert_eq!(request.target, "/v1/traces");
        let sent = ExportTraceServiceRequest::decode(request.body.as_slice()).expect("spans in protobuf");
        received.lock().unwrap().extend(sent.resource_spans.into_iter().flat_map(spans));
        write_answer(&mut stream, 200, "").await?;
    }
}

fn spans(sent: ResourceSpans) -> Vec<Span> {
    let resource = texts(sent.resource.unwrap_or_default().attributes);
    let service = &resource["service.name"];
    let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(|span| Span::new(service, span)).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| {
        let value = match attribute.value?.value? {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            _ => return None,
        };
        Some((attribute.key, value))
    };
    attributes.into_iter().filter_map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
