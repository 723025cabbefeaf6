//! The kinds of abuse.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::calls::Users;
use crate::client::{Call, Connection};
use crate::load::Make;

/// Connections that nothing is sent on.
const IDLE: usize = 2_000;

/// Connections that send a byte a second.
const SLOW: usize = 500;

/// Connections of a flood.
const FLOOD: usize = 64;

/// Connections of a page that asks for everything at once.
const FEW: usize = 4;

/// Tasks of a user who collects them.
const COLLECTED: u64 = 10_000;

/// What is answered to a request without a good token, to a health check or a list, and to a new task.
const REFUSED: StatusCode = StatusCode::UNAUTHORIZED;
const OK: StatusCode = StatusCode::OK;
const CREATED: StatusCode = StatusCode::CREATED;

/// Between two bytes of a slow client.
const BYTE_EVERY: Duration = Duration::from_secs(1);

/// What somebody does to the API.
#[derive(Clone, Copy)]
pub(super) enum Attack {
    IdleConnections,
    SlowHeaders,
    SlowBodies,
    NoToken,
    WrongTokens,
    HealthChecks,
    Mutations,
    Reads,
    /// On so many connections.
    HugeLists(usize),
    SlowReaders,
}

impl Attack {
    pub(super) const ALL: [Self; 11] = [
        Self::IdleConnections,
        Self::SlowHeaders,
        Self::SlowBodies,
        Self::NoToken,
        Self::WrongTokens,
        Self::HealthChecks,
        Self::Mutations,
        Self::Reads,
        Self::HugeLists(FEW),
        Self::HugeLists(FLOOD),
        Self::SlowReaders,
    ];

    pub(super) fn name(self) -> String {
        match self {
            Self::IdleConnections => format!("{IDLE} idle keep-alive connections"),
            Self::SlowHeaders => format!("{SLOW} connections whose headers come a byte a second"),
            Self::SlowBodies => format!("{SLOW} connections whose bodies come a byte a second"),
            Self::NoToken => format!("a flood without a token, {FLOOD} connections"),
            Self::WrongTokens => format!("a flood with wrong tokens, {FLOOD} connections"),
            Self::HealthChecks => format!("a flood of health checks, {FLOOD} connections"),
            Self::Mutations => format!("one user's mutations, {FLOOD} connections"),
            Self::Reads => format!("one user's reads of tasks, {FLOOD} connections"),
            Self::HugeLists(connections) => {
                format!("one user's lists of {COLLECTED} tasks, {connections} connections")
            }
            Self::SlowReaders => {
                format!("one user's lists of 30 MB that nobody takes, {FLOOD} connections")
            }
        }
    }

    /// Until the set is dropped. What is answered is counted.
    pub(super) async fn start(self, port: u16, answers: Arc<AtomicU64>) -> Result<JoinSet<()>> {
        match self {
            Self::IdleConnections => idle(port, answers).await,
            Self::SlowHeaders => {
                Ok(slow(port, "GET /api/v1/health HTTP/1.1\r\nhost: a\r\nx-slow: ", &answers))
            }
            Self::SlowBodies => Ok(slow(port, &start_of_a_body()?, &answers)),
            Self::NoToken => Ok(flood(port, FLOOD, &Users::new("nobody", 0, 0).create(), REFUSED, &answers)),
            Self::WrongTokens => Ok(flood(port, FLOOD, &wrong_tokens(), REFUSED, &answers)),
            Self::HealthChecks => Ok(flood(port, FLOOD, &Users::new("nobody", 0, 0).health(), OK, &answers)),
            Self::Mutations => Ok(flood(port, FLOOD, &Users::new("hog", 1, 0).create(), CREATED, &answers)),
            Self::Reads => Ok(flood(port, FLOOD, &collector().read(), OK, &answers)),
            Self::HugeLists(connections) => Ok(flood(port, connections, &collector().list(), OK, &answers)),
            Self::SlowReaders => ask_and_wait(port).await,
        }
    }
}

/// Gives the collectors their tasks.
pub(super) async fn seed(database_url: &str) -> Result<()> {
    collector().seed(database_url).await?;
    // Six bytes of JSON for each character, of which there are as many as may be.
    hoarder().seed_with(&"\u{1}".repeat(500), database_url).await
}

fn hoarder() -> Users {
    Users::new("hoarder", 1, COLLECTED)
}

fn collector() -> Users {
    Users::new("collector", 1, COLLECTED)
}

/// As many connections as the system lets us have, here and in what is started from here.
pub(super) fn allow_connections() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, most).context("raise the number of open files")
}

/// Its threads run only when nobody else wants to.
pub(super) fn runtime() -> Result<Runtime> {
    let give_way = || {
        // Of the calling thread, in Linux. If it can't, the attack is a harder one.
        _ = rustix::process::nice(19);
    };
    let runtime = Builder::new_multi_thread().on_thread_start(give_way).enable_all().build();
    runtime.context("start the attackers' runtime")
}

/// Each has been used once.
async fn idle(port: u16, answers: Arc<AtomicU64>) -> Result<JoinSet<()>> {
    let preflight = Users::new("nobody", 0, 0).preflight();
    let mut clients = JoinSet::new();
    for _ in 0..IDLE {
        let mut connection = Connection::open(port).await?;
        connection.send(preflight(0)).await?;
        answers.fetch_add(1, Ordering::Relaxed);
        clients.spawn(hold(connection));
    }
    Ok(clients)
}

/// Keeps a connection open and does nothing with it.
async fn hold<C>(connection: C) {
    std::future::pending::<()>().await;
    drop(connection);
}

/// Sends the start at once and then a byte a second; begins again when the server has enough.
fn slow(port: u16, start: &str, answers: &Arc<AtomicU64>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for _ in 0..SLOW {
        let (start, answers) = (start.to_owned(), answers.clone());
        clients.spawn(async move {
            loop {
                // Whatever it was that ended it: the next one begins.
                _ = drip(port, &start).await;
                answers.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(BYTE_EVERY).await;
            }
        });
    }
    clients
}

async fn drip(port: u16, start: &str) -> Result<()> {
    let (mut reader, mut writer) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?.into_split();
    writer.write_all(start.as_bytes()).await?;
    let drip = async {
        while writer.write_all(b"1").await.is_ok() {
            tokio::time::sleep(BYTE_EVERY).await;
        }
    };
    tokio::select! {
        () = drip => Ok(()),
        read = reader.read_u8() => Ok(read.map(|_| ())?),
    }
}

/// Sends a request on each connection, and reads nothing.
async fn ask_and_wait(port: u16) -> Result<JoinSet<()>> {
    let token = token_of(&hoarder())?;
    let request = format!("GET /api/v1/tasks HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\n\r\n");
    let mut clients = JoinSet::new();
    for _ in 0..FLOOD {
        let socket = TcpSocket::new_v4()?;
        // So that little is in the system's buffers.
        socket.set_recv_buffer_size(4096)?;
        let mut connection = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
        connection.write_all(request.as_bytes()).await?;
        clients.spawn(hold(connection));
    }
    Ok(clients)
}

/// The head of a request that would be a good one, and the first byte of its body.
fn start_of_a_body() -> Result<String> {
    let token = token_of(&Users::new("slow", 1, 0))?;
    Ok(format!(
        "POST /api/v1/tasks HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{"
    ))
}

fn token_of(users: &Users) -> Result<String> {
    let call = users.create()(0);
    Ok(call.headers().get(header::AUTHORIZATION).context("a token")?.to_str()?.to_owned())
}

/// Each connection sends its next request as soon as it has its answer, which has to be of this status.
fn flood(
    port: u16,
    connections: usize,
    make: &Make,
    status: StatusCode,
    answers: &Arc<AtomicU64>,
) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (make, answers) = (make.clone(), answers.clone());
        clients.spawn(async move {
            // Whatever goes wrong, such as a server without room for another connection: once more.
            while send(port, &make, status, &answers).await.is_err() {
                tokio::time::sleep(BYTE_EVERY).await;
            }
        });
    }
    clients
}

async fn send(port: u16, make: &Make, expected: StatusCode, answers: &AtomicU64) -> Result<()> {
    let mut connection = Connection::open(port).await?;
    loop {
        let (status, _) = connection.send(make(answers.load(Ordering::Relaxed))).await?;
        ensure!(status == expected, "{status}");
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// Each has the form of a good one, so that its signature has to be checked.
fn wrong_tokens() -> Make {
    let token = stack::token::mint(
        "a-secret-that-is-not-the-systems-own-0123456789",
        "0b5cbb9c-6f0e-4f4e-8f5e-3f8f6a9a2d11",
        Duration::from_secs(3_600),
    );
    Arc::new(move |_| {
        let request = Request::builder().method(Method::GET).uri("/api/v1/tasks");
        let request =
            request.header(header::HOST, "a").header(header::AUTHORIZATION, format!("Bearer {token}"));
        request.body(Full::new(Bytes::new())).unwrap_or_else(|_| Call::default())
    })
}
