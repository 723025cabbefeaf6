//! What a consumer of the events sees: a small HTTP server that the sidecar delivers to.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::Value;
use tiny_http::{Method, Request, Response, Server};

use crate::probe;

/// Where the sidecar's ticks go.
const RELAY: &str = "/internal/relay";

/// The header by which an app knows its sidecar.
const TOKEN: &str = "dapr-api-token";

/// A relay's call takes 10 s and one publish at the most.
const RELAY_LIMIT: Duration = Duration::from_secs(20);

/// A running subscriber. It stops when dropped.
pub struct Subscriber {
    server: Arc<Server>,
    port: u16,
    threads: Vec<JoinHandle<()>>,
}

impl Subscriber {
    /// Listens on a free port of 127.0.0.1 and calls back with the topic and the envelope of each delivery. The sidecar
    /// hears 200 once the callback returned.
    pub fn start(on_event: impl Fn(&str, Value) + Send + Sync + 'static) -> Result<Self> {
        Self::beside_api(on_event, None)
    }

    /// As [`Subscriber::start`]; and passes the sidecar's ticks on to the API on that port of 127.0.0.1, since a sidecar
    /// calls one application only.
    pub fn beside_api(
        on_event: impl Fn(&str, Value) + Send + Sync + 'static,
        api: Option<u16>,
    ) -> Result<Self> {
        let server = Server::http((Ipv4Addr::LOCALHOST, 0))
            .map_err(|error| anyhow!("start the subscriber: {error}"))?;
        let port = server.server_addr().to_ip().map(|address| address.port()).unwrap_or_default();
        let (server, on_event) = (Arc::new(server), Arc::new(on_event));
        // The sidecar delivers the three topics side by side, and its ticks.
        let threads = (0..4).map(|_| serve(server.clone(), on_event.clone(), api)).collect();
        Ok(Self { server, port, threads })
    }

    /// Its port on 127.0.0.1: the sidecar's `app_port`.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // Each call wakes one thread.
        self.threads.iter().for_each(|_| self.server.unblock());
        for thread in self.threads.drain(..) {
            // A callback that panicked has said so already.
            let _ = thread.join();
        }
    }
}

fn serve(
    server: Arc<Server>,
    on_event: Arc<impl Fn(&str, Value) + Send + Sync + 'static>,
    api: Option<u16>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for mut request in server.incoming_requests() {
            let status = match api {
                Some(port) if request.url() == RELAY => pass_on(&request, port),
                _ => receive(&mut request, on_event.as_ref()),
            };
            // The sidecar left before its answer: it will deliver again.
            let _ = request.respond(Response::empty(status));
        }
    })
}

/// A tick; with the token by which the API knows its sidecar.
fn pass_on(request: &Request, port: u16) -> u16 {
    let token = request.headers().iter().find(|header| header.field.equiv(TOKEN));
    let token = token.map(|header| header.value.as_str()).unwrap_or_default();
    probe::post(port, RELAY, (TOKEN, token), RELAY_LIMIT).unwrap_or(503)
}

/// The sidecar also asks for things that this subscriber does not have, such as its actors: 404.
fn receive(request: &mut Request, on_event: &impl Fn(&str, Value)) -> u16 {
    let Some(topic) = request.url().strip_prefix("/events/").map(str::to_owned) else { return 404 };
    if *request.method() != Method::Post {
        return 404;
    }
    match serde_json::from_reader(request.as_reader()) {
        Ok(envelope) => {
            on_event(&topic, envelope);
            200
        }
        Err(_) => 400,
    }
}
