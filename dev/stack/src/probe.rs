//! Looking whether a server is up, with nothing but a socket.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(2);

/// Whether somebody accepts connections on this port of 127.0.0.1.
pub fn accepts(port: u16) -> bool {
    connect(port).is_some()
}

/// The status of `GET path` on this port of 127.0.0.1; `None` when there is no answer within 2 s.
pub fn status(port: u16, path: &str) -> Option<u16> {
    request(port, "GET", path, "", LIMIT)
}

/// The status of `POST path` without a body; `None` when there is no answer within `limit`.
pub fn post(port: u16, path: &str, header: (&str, &str), limit: Duration) -> Option<u16> {
    let (name, value) = header;
    request(port, "POST", path, &format!("Content-Length: 0\r\n{name}: {value}\r\n"), limit)
}

fn request(port: u16, method: &str, path: &str, headers: &str, limit: Duration) -> Option<u16> {
    let mut stream = connect(port)?;
    stream.set_read_timeout(Some(limit)).ok()?;
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    std::str::from_utf8(&start).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok()
}

fn connect(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), LIMIT).ok()?;
    // On loopback a connection to a port nobody listens on can, rarely, meet itself.
    (stream.local_addr().ok()? != stream.peer_addr().ok()?).then_some(stream)
}
