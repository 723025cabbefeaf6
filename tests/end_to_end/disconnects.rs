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
async fn a_client_that_never_reads_the_response_stops_no_event() {
    let app = shared();
    let user = app.user();
    let stream = post(&app, &user, "Leaves unread").await;
    wait::until(wait::SOON, "the task to be committed", async || {
        (user.list().await.len() == 1).then_some(())
    })
    .await;
    drop(stream);
    app.dapr().wait_for(user.id, 2).await;
}

/// Whether such a request is still served is the host's affair; but what was committed is published, and nothing else.
#[tokio::test]
async fn clients_that_leave_at_once_get_an_event_for_each_task_that_was_committed() {
    let app = shared();
    let user = app.user();
    for _ in 0..20 {
        drop(post(&app, &user, "Leaves at once").await);
    }
    app.heard(&user).await;
    // The last change, which `heard` makes, has a reminder too.
    wait::until(wait::SOON, "two events for each task", async || {
        let (events, tasks) = (app.dapr().events_of(user.id), user.list().await);
        (events.len() == 2 * tasks.len() + 1).then_some(())
    })
    .await;
}
