//! Lists that are longer than a page, whoever takes them.

use std::time::Duration;

use chrono::DateTime;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use uuid::Uuid;

use crate::harness::answer::id;
use crate::harness::database::Database;
use crate::harness::{App, Setup, User, shared, wait};

/// How many tasks are read at a time.
const PAGE: i64 = 1024;

/// How long a caller may take for a page, and what a busy machine adds.
const TAKEN_WITHIN: Duration = Duration::from_secs(33);

/// Gives the user tasks with this title, seven of each instant, every third one completed.
async fn seed(database: &Database, user: &User, count: i64, title: &str) {
    let sql = "INSERT INTO tasks (id, user_id, title, completed, created_at)
        SELECT gen_random_uuid(), $1::text::uuid, $2, number % 3 = 0,
               '2026-11-25T10:00:00Z'::timestamptz + number / 7 * interval '1 millisecond'
        FROM generate_series(1, $3::bigint) AS number";
    database.client().await.execute(sql, &[&user.id.to_string(), &title, &count]).await.unwrap();
}

#[tokio::test]
async fn a_list_is_whole_and_in_order_however_long_it_is() {
    let app = shared();
    for count in [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 3 * PAGE - 7] {
        let user = app.user();
        seed(&app.database, &user, count, "A task").await;
        let tasks = user.list().await;
        assert_eq!(tasks.len() as i64, count);
        let place = |task: &Value| {
            let created_at = DateTime::parse_from_rfc3339(task["created_at"].as_str().unwrap()).unwrap();
            (-created_at.timestamp_micros(), Uuid::parse_str(&id(task)).unwrap())
        };
        assert!(tasks.iter().map(place).is_sorted_by(|one, next| one < next), "{count} in order, each once");
        let completed = user.listed("?completed=true").await.len() as i64;
        assert_eq!(completed, count / 3, "of {count}");
        assert_eq!(user.listed("?completed=false").await.len() as i64, count - completed, "of {count}");
    }
}

/// The longest title, 3 kB in JSON, of which 10,000 are 30 MB.
fn longest_title() -> String {
    "\u{1}".repeat(500)
}

/// Calls for a list of so many tasks with this title, and takes the start of the answer.
async fn begin_to_read(app: &App, count: i64, title: &str) -> TcpStream {
    let user = app.user();
    seed(&app.database, &user, count, title).await;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // So that the system's buffers hold 100 kB, here and at the host, and not three megabytes.
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut stream = socket.connect(app.address().parse().unwrap()).await.unwrap();
    let token = &user.token;
    let request = format!(
        "GET /api/v1/tasks HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    stream
}

/// What comes until the connection ends.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // It may end with a reset.
    _ = stream.read_to_end(&mut rest).await;
    rest
}

#[tokio::test]
async fn a_list_that_is_taken_slowly_arrives_whole() {
    let app = Setup::new().start();
    let stream = begin_to_read(&app, 10_000, &longest_title()).await;
    wait::pass(Duration::from_secs(2)).await;
    let rest = rest(stream).await;
    assert!(rest.ends_with(br#"],"count":10000}"#) && rest.len() > 30_000_000, "{} bytes", rest.len());
}

#[tokio::test]
async fn a_list_that_nobody_takes_is_given_up() {
    let app = Setup::new().start();
    let long = begin_to_read(&app, 10_000, &longest_title()).await;
    // A page, 1.4 MB.
    let short = begin_to_read(&app, PAGE - 1, &longest_title()[..200]).await;
    wait::pass(TAKEN_WITHIN).await;
    for (stream, whole) in [(long, 30_000_000), (short, 1_300_000)] {
        let rest = rest(stream).await;
        assert!(rest.len() < whole, "{} bytes", rest.len());
    }
}
