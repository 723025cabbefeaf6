//! Work after the response outlives the client's connection.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{App, User, shared, wait};

/// Sends `POST /api/v1/tasks` over a connection of its own and returns that connection without reading from it.
async fn post(app: &App, user: &User, title: &str) -> TcpStream {
    let body = json!({"title": title}).to_string();
    let head = format!(
        "POST /api/v1/tasks HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        app.address(),
        user.token,
        body.len()
    );
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_leaves_right_after_the_response_stops_no_event() {
    let app = shared();
    let user = app.user();
    let mut stream = post(&app, &user, "Leaves early").await;
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 201");
    drop(stream);
    app.dapr().wait_for(user.id, 2).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_response_stops_no_event_of_what_was_committed() {
    let app = shared();
    let user = app.user();
    for _ in 0..20 {
        drop(post(&app, &user, "Leaves at once").await);
    }
    let committed = wait::until(wait::SOON, "a task of a client that left", async || {
        let count = user.list().await.len();
        (count > 0).then_some(count)
    })
    .await;
    let heard = app.heard(&user).await;
    assert!(heard.sentinel > committed as u64);
    assert_eq!(heard.events.len() as u64, 2 * (heard.sentinel - 1));
}
