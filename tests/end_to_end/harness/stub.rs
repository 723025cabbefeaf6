//! A sidecar that fails as told and remembers what it was asked to publish.

use std::net::TcpListener as StdListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::background::Background;
use crate::harness::publish::Publish;
use crate::harness::wait;
use crate::harness::wire::{WireRequest, read_request, write_answer};

type Verdict = dyn Fn(&Publish) -> u16 + Send + Sync;

/// A verdict that leaves the caller without an answer.
pub(crate) const NO_ANSWER: u16 = 0;

/// How the stub answers a publish.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Each event by its own status, 204 being success, after so long.
    Judge(Arc<Verdict>, Duration),
    /// The same status and body for every call.
    Refuse(u16, String),
    /// Bytes that are no HTTP.
    Garbage,
    /// Takes the request and never answers.
    Hang,
    /// 500, with a body that goes on for as long as somebody reads it.
    Flood,
}

impl Behaviour {
    pub(crate) fn accept() -> Self {
        Self::status(204)
    }

    /// The same status for every event.
    pub(crate) fn status(status: u16) -> Self {
        Self::judge(move |_| status)
    }

    pub(crate) fn judge(verdict: impl Fn(&Publish) -> u16 + Send + Sync + 'static) -> Self {
        Self::Judge(Arc::new(verdict), Duration::ZERO)
    }

    /// The same, so much later.
    pub(crate) fn after(self, delay: Duration) -> Self {
        match self {
            Self::Judge(verdict, _) => Self::Judge(verdict, delay),
            silent => silent,
        }
    }
}

/// The stub; its port is free again once it is dropped.
pub(crate) struct Stub {
    pub(crate) port: u16,
    state: Arc<State>,
    _server: Background,
}

struct State {
    behaviour: Mutex<Behaviour>,
    publishes: Mutex<Vec<Publish>>,
    /// In bytes.
    longest_flood: AtomicUsize,
}

impl Stub {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::start_at(0, behaviour)
    }

    /// On that port; 0: any.
    pub(crate) fn start_at(port: u16, behaviour: Behaviour) -> Self {
        let listener = StdListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            behaviour: Mutex::new(behaviour),
            publishes: Mutex::default(),
            longest_flood: AtomicUsize::default(),
        });
        let server = Background::run(serve(listener, Arc::clone(&state)));
        Self { port, state, _server: server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From the next request on.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock().unwrap() = behaviour;
    }

    /// Every attempt so far whose answer was decided, in the order in which they came.
    pub(crate) fn attempts(&self) -> Vec<Publish> {
        self.state.publishes.lock().unwrap().clone()
    }

    /// The attempts that were answered with success.
    pub(crate) fn accepted(&self) -> Vec<Publish> {
        self.attempts().into_iter().filter(Publish::accepted).collect()
    }

    /// How much of one answer without end was taken, in bytes, what buffers hold included.
    pub(crate) fn longest_flood(&self) -> usize {
        self.state.longest_flood.load(Ordering::Relaxed)
    }

    /// Waits until so many events have been accepted; returns them.
    pub(crate) async fn wait_accepted(&self, count: usize) -> Vec<Publish> {
        let what = format!("{count} accepted events");
        wait::until(wait::EVENTUALLY, &what, async || {
            let accepted = self.accepted();
            (accepted.len() >= count).then_some(accepted)
        })
        .await
    }

    /// Waits until so many attempts have been made; returns them.
    pub(crate) async fn wait_attempts(&self, count: usize) -> Vec<Publish> {
        let what = format!("{count} attempts to publish");
        wait::until(wait::SOON, &what, async || {
            let attempts = self.attempts();
            (attempts.len() >= count).then_some(attempts)
        })
        .await
    }
}

async fn serve(listener: StdListener, state: Arc<State>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(converse(BufReader::new(stream), Arc::clone(&state)));
    }
}

async fn converse(mut stream: BufReader<TcpStream>, state: Arc<State>) -> Option<()> {
    loop {
        let request = read_request(&mut stream).await?;
        let behaviour = state.behaviour.lock().unwrap().clone();
        answer(&mut stream, &request, behaviour, &state).await?;
    }
}

async fn answer(
    stream: &mut BufReader<TcpStream>,
    request: &WireRequest,
    behaviour: Behaviour,
    state: &State,
) -> Option<()> {
    let publishes = Publish::all_in(request);
    match behaviour {
        Behaviour::Judge(verdict, delay) => {
            if !delay.is_zero() {
                wait::pass(delay).await;
            }
            judge(stream, publishes, &*verdict, state).await
        }
        Behaviour::Refuse(status, body) => {
            state.record(publishes, |_| status);
            write_answer(stream, status, &body).await
        }
        Behaviour::Garbage => {
            state.record(publishes, |_| NO_ANSWER);
            stream.write_all(b"\x00\x01 this is no HTTP \xff\r\n\r\n").await.ok()?;
            None
        }
        Behaviour::Hang => {
            state.record(publishes, |_| NO_ANSWER);
            std::future::pending().await
        }
        Behaviour::Flood => {
            state.record(publishes, |_| NO_ANSWER);
            state.flood(stream).await
        }
    }
}

async fn judge(
    stream: &mut BufReader<TcpStream>,
    publishes: Vec<Publish>,
    verdict: &(dyn Fn(&Publish) -> u16 + Send + Sync),
    state: &State,
) -> Option<()> {
    let judged = state.record(publishes, verdict);
    if judged.iter().any(|publish| publish.status == NO_ANSWER) {
        return std::future::pending().await;
    }
    let failed: Vec<_> = judged.iter().filter(|publish| !publish.accepted()).collect();
    match (failed.first(), judged.first().is_some_and(|publish| publish.bulk)) {
        (None, _) => write_answer(stream, 204, "").await,
        (Some(first), false) => {
            let body = json!({"errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE", "message": "refused by the stub"});
            write_answer(stream, first.status, &body.to_string()).await
        }
        (Some(_), true) => write_answer(stream, 500, &failed_entries(&failed)).await,
    }
}

/// The body with which daprd tells which events of a bulk call it could not publish.
fn failed_entries(failed: &[&Publish]) -> String {
    let entries: Vec<_> = failed
        .iter()
        .map(|publish| json!({"entryId": publish.entry, "error": "refused by the stub"}))
        .collect();
    json!({"failedEntries": entries, "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE"}).to_string()
}

impl State {
    async fn flood(&self, stream: &mut BufReader<TcpStream>) -> Option<()> {
        let head = "HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\n\r\n";
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut length = 0;
        loop {
            length += stream.write(&[b'0'; 4096]).await.ok()?;
            self.longest_flood.fetch_max(length, Ordering::Relaxed);
        }
    }

    fn record(&self, publishes: Vec<Publish>, verdict: impl Fn(&Publish) -> u16) -> Vec<Publish> {
        let mut all = self.publishes.lock().unwrap();
        let call = all.last().map_or(1, |last| last.call + 1);
        let judged: Vec<_> = publishes
            .into_iter()
            .map(|publish| Publish { status: verdict(&publish), call, ..publish })
            .collect();
        all.extend(judged.iter().cloned());
        judged
    }
}
