//! HTTP/1.1 by hand, for what a well-behaved library cannot do: hang, answer garbage, hang up early.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct WireRequest {
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl WireRequest {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Reads one request; `None` when the peer has gone.
pub(crate) async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<WireRequest> {
    let first = read_line(stream).await?;
    let target = first.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = WireRequest { target, headers, body: Vec::new() };
    request.body = read_body(stream, &request).await?;
    Some(request)
}

/// Writes an answer with a body and its length.
pub(crate) async fn write_answer(stream: &mut BufReader<TcpStream>, status: u16, body: &str) -> Option<()> {
    let head = match status {
        204 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        _ => format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n\r\n", body.len()),
    };
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let count = stream.read_line(&mut line).await.ok()?;
    (count > 0).then(|| line.trim_end().to_owned())
}

async fn read_body(stream: &mut BufReader<TcpStream>, request: &WireRequest) -> Option<Vec<u8>> {
    if request.header("transfer-encoding") == Some("chunked") {
        return read_chunks(stream).await;
    }
    let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    read_exactly(stream, length).await
}

async fn read_chunks(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&read_line(stream).await?, 16).ok()?;
        body.extend(read_exactly(stream, size).await?);
        read_line(stream).await?;
        if size == 0 {
            return Some(body);
        }
    }
}

async fn read_exactly(stream: &mut BufReader<TcpStream>, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}
