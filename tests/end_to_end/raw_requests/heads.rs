//! Request lines and headers: sizes, bytes that may not be there, and whom the request is for.

use crate::raw_requests::{Case, case, check};

const MEGABYTE: usize = 1_000_000;

fn list(name: &str, headers: impl AsRef<[u8]>, expected: &'static str) -> Case {
    let sent = [b"<list>Connection: close\r\n", headers.as_ref(), b"\r\n"].concat();
    case(name, sent, expected)
}

fn headers(count: usize) -> String {
    (0..count).map(|number| format!("X-{number}: {number}\r\n")).collect()
}

/// `GET /api/v1/tasks` with these lines instead of a host.
fn to(name: &str, target: &str, hosts: impl AsRef<[u8]>, expected: &'static str) -> Case {
    let start = format!("GET {target} HTTP/1.1\r\n<auth>\r\nConnection: close\r\n");
    case(name, [start.as_bytes(), hosts.as_ref(), b"\r\n"].concat(), expected)
}

/// The server has a buffer of 408 KiB, 100 headers and 64 KiB for the target. It may be reset before its answer is read.
#[tokio::test]
async fn a_head_has_limits() {
    let query = |bytes: usize| {
        format!(
            "GET /api/v1/tasks?{} HTTP/1.1\r\nHost: <host>\r\n<auth>\r\nConnection: close\r\n\r\n",
            "x".repeat(bytes)
        )
    };
    check(vec![
        list("a header of 8 KiB", format!("X-A: {}\r\n", "x".repeat(8 * 1024)), "200"),
        list("a header of a megabyte", format!("X-A: {}\r\n", "x".repeat(MEGABYTE)), "431|closed"),
        list(
            "a header whose name has a megabyte",
            format!("{}: a\r\n", "x".repeat(MEGABYTE)),
            "431|400|closed",
        ),
        list("97 more headers", headers(97), "200"),
        list("98 more headers", headers(98), "431"),
        list("5,000 headers", headers(5_000), "431|closed"),
        case("a target of 60,000 bytes", query(60_000), "200"),
        case("a target of 70,000 bytes", query(70_000), "414|closed"),
        case("a target of a megabyte", query(MEGABYTE), "414|431|closed"),
        case(
            "a method of a megabyte",
            format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(MEGABYTE)),
            "400|431|closed",
        ),
        case("a megabyte of empty lines", "\r\n".repeat(MEGABYTE / 2), "400|431|closed"),
    ])
    .await;
}

#[tokio::test]
async fn a_header_has_no_bytes_that_another_reader_may_take_for_its_end() {
    check(vec![
        list("a NUL", b"X-A: a\0b\r\n", "400"),
        list("a NUL in the name", b"X\0A: a\r\n", "400"),
        list("a bare carriage return", b"X-A: a\rX-B: b\r\n", "400"),
        list("a folded line", b"X-A: a\r\n b\r\n", "400"),
        list("a delete", b"X-A: a\x7fb\r\n", "400"),
        list("a space in the name", b"X A: a\r\n", "400"),
        list("a space before the colon", b"X-A : a\r\n", "400"),
        list("no colon", b"X-A\r\n", "400"),
        list("no name", b": a\r\n", "400"),
        list("a tab in the value", b"X-A: a\tb\r\n", "200"),
        list("an upgrade", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", "200"),
        list("letters of UTF-8", "X-A: ä\r\n".as_bytes(), "200"),
        // Spin passes on headers as text: what is none is its own 500, without a body, before any component.
        list("no UTF-8", b"X-A: \xff\xfe\r\n", "500"),
        list("a correlation id that is not UTF-8", b"X-Correlation-ID: \xff\r\n", "500"),
        list("a correlation id with letters of UTF-8", "X-Correlation-ID: ä\r\n".as_bytes(), "200"),
        list("a token that is not UTF-8", "Cookie: auth_token=ä\r\n".as_bytes(), "200"),
        // RFC 9112 §2.2 lets a server read a line feed alone as the end of a line.
        case("line feeds alone", "<list>Connection: close\r\n\r\n".replace("\r\n", "\n"), "200"),
    ])
    .await;
}

/// A request that does not say whom it is for ends its connection, in Spin as here.
#[tokio::test]
async fn a_request_is_for_one_host() {
    let tasks = "/api/v1/tasks";
    check(vec![
        to("one", tasks, "Host: <host>\r\n", "200"),
        to("none", tasks, "", "closed"),
        to("an empty one", tasks, "Host:\r\n", "closed"),
        to("with a space", tasks, "Host: a b\r\n", "closed"),
        to("a path", tasks, "Host: a/b\r\n", "closed"),
        to("no UTF-8", tasks, b"Host: \xff\r\n", "closed"),
        to("one of another component", tasks, "Host: tasks.spin.internal\r\n", "closed"),
        // The first counts. RFC 9112 §3.2 asks for a 400, which Spin does not give.
        to("two", tasks, "Host: <host>\r\nHost: b\r\n", "200"),
        to("in the target", "http://<host>/api/v1/tasks", "Host: <host>\r\n", "200"),
        to("in the target alone", "http://<host>/api/v1/tasks", "", "200"),
        to("another in the target", "http://b/api/v1/tasks", "Host: <host>\r\n", "closed"),
        to("a user in the target", "http://user:password@<host>/api/v1/tasks", "", "200"),
        case("none in HTTP/1.0", "GET /api/v1/tasks HTTP/1.0\r\n<auth>\r\n\r\n", "closed"),
        case("one in HTTP/1.0", "GET /api/v1/tasks HTTP/1.0\r\n<auth>\r\nHost: <host>\r\n\r\n", "200"),
    ])
    .await;
}
