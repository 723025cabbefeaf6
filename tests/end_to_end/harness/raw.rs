//! HTTP/1.1 by hand towards the app, for requests that no library would send.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::answer::Answer;
use crate::harness::secrets;

/// Within this, whatever was sent has to be answered, or its connection closed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What came back on a connection until the app closed it.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) answers: Vec<Answer>,
    /// After the last answer: something that is none.
    pub(crate) rest: Vec<u8>,
}

impl Received {
    /// The statuses of the answers, in their order, such as `201 200`; `closed` when there were none. An answer whose
    /// body did not arrive to its end is `400-cut`.
    pub(crate) fn outcome(&self) -> String {
        let mut words: Vec<_> = self.answers.iter().map(|answer| answer.status.to_string()).collect();
        if !self.rest.is_empty() {
            words.push(match head(&self.rest) {
                Some((status, ..)) => format!("{status}-cut"),
                None => "garbage".to_owned(),
            });
        }
        if words.is_empty() { "closed".to_owned() } else { words.join(" ") }
    }

    fn of(mut bytes: &[u8]) -> Self {
        let mut answers = Vec::new();
        while let Some((answer, rest)) = answer(bytes) {
            answers.push(answer);
            bytes = rest;
        }
        Self { answers, rest: bytes.to_vec() }
    }
}

/// What follows the bytes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing: the client waits.
    Wait,
    /// The client says that it sends no more.
    End,
    /// A zero more every second.
    Drip,
}

/// Sends the bytes, and reads until the app closes the connection. `None` when it has not within `deadline`. What comes must show no secret.
pub(crate) async fn exchange(
    address: &str,
    bytes: &[u8],
    then: Then,
    deadline: Duration,
) -> Option<Received> {
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    // An app that has seen enough closes the connection: the rest can't be sent then.
    let send = async move {
        _ = writer.write_all(bytes).await;
        match then {
            Then::Wait => (),
            Then::End => drop(writer.shutdown().await),
            Then::Drip => drip(&mut writer).await,
        }
        writer
    };
    let receive = async {
        let mut received = Vec::new();
        let mut buffer = [0; 16 * 1024];
        // An app that closes the connection before it has read everything resets it.
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            received.extend_from_slice(&buffer[..length]);
        }
        secrets::assert_none_in(&String::from_utf8_lossy(&received), secrets::of_answers(), "an answer");
        Received::of(&received)
    };
    timeout(deadline, futures::future::join(send, receive)).await.ok().map(|(_writer, received)| received)
}

async fn drip(writer: &mut (impl AsyncWriteExt + Unpin)) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        if writer.write_all(b"0").await.is_err() {
            return;
        }
    }
}

/// The first answer, and what comes after it.
fn answer(bytes: &[u8]) -> Option<(Answer, &[u8])> {
    let (status, headers, rest) = head(bytes)?;
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let (body, rest) = rest.split_at_checked(length.unwrap_or(0))?;
    Some((Answer { status, headers, body: body.to_vec() }, rest))
}

/// Status and headers of the first answer, and what comes after them.
fn head(bytes: &[u8]) -> Option<(u16, HeaderMap, &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some((status, lines.map(header).collect::<Option<_>>()?, &bytes[end + 4..]))
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.parse().ok()?, value.trim().parse().ok()?))
}
