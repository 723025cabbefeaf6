//! Requests within requests (RFC 9112 §11.2): what a proxy before the app would take for one request is one. Each case has a second
//! request where its body could end.

use stack::Host;

use crate::harness::environment;
use crate::raw_requests::{Case, case, check};

/// `POST /api/v1/tasks` with these headers, a body that ends at once in chunks, and a request that begins there.
fn framed(name: &str, headers: &str, expected: &'static str) -> Case {
    case(name, format!("<create>{headers}\r\n\r\n0\r\n\r\n<smuggled><health>"), expected)
}

/// The connection ends with a request that has a length and chunks (RFC 9112 §6.3): nothing after it is read. So it is with hyper
/// since 1.11, which the embedded host has. Spin 4.1 has 1.10, where the chunks count, and then the next request is read.
fn twice_framed(name: &str, headers: &str) -> Case {
    let ends = matches!(environment::host(), Host::Embedded(_));
    framed(name, headers, if ends { "400" } else { "400|400 201 200" })
}

/// A request with ten others as its body, and a good one after it, which is answered if the server has read that body.
fn with_body(name: &str, first_line: &str, headers: &str, expected: &'static str) -> Case {
    let body = "POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10);
    let head = format!("{first_line}\r\nHost: <host>\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    case(name, format!("{head}{body}<health>"), expected)
}

#[tokio::test]
async fn a_request_within_the_chunks_of_another_is_not_read() {
    let old = "POST /api/v1/tasks HTTP/1.0\r\nHost: <host>\r\n<auth>\r\nTransfer-Encoding: chunked";
    check(vec![
        twice_framed("a length, then chunks", "Content-Length: 999\r\nTransfer-Encoding: chunked"),
        twice_framed("chunks, then a length", "Transfer-Encoding: chunked\r\nContent-Length: 999"),
        twice_framed("a length of the chunks, and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        framed("no number, and chunks", "Content-Length: a\r\nTransfer-Encoding: chunked", "400"),
        framed("undone", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "400"),
        framed("coded again", "Transfer-Encoding: chunked, identity", "400"),
        framed("another coding", "Transfer-Encoding: identity", "400"),
        framed("a coding that is none", "Transfer-Encoding: xchunked", "400"),
        framed("in quotes", "Transfer-Encoding: \"chunked\"", "400"),
        framed("no coding", "Transfer-Encoding:", "400"),
        framed("a space before the colon", "Transfer-Encoding : chunked", "400"),
        framed("a vertical tab before the value", "Transfer-Encoding: \x0bchunked", "400"),
        framed("in a folded line", "X-A: a\r\n Transfer-Encoding: chunked", "400"),
        framed("after a bare carriage return", "X-A: a\rTransfer-Encoding: chunked", "400"),
        framed("after a NUL", "X-A: a\0Transfer-Encoding: chunked", "400"),
        case("in HTTP/1.0", format!("{old}\r\n\r\n0\r\n\r\n<smuggled>"), "400"),
    ])
    .await;
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_no_request() {
    let (auth, complete) = ("<auth>\r\n", "POST /api/v1/tasks/<id>/complete HTTP/1.1");
    let too_long = format!("<create>Content-Length: 70000\r\n\r\n{}", "<smuggled>".repeat(100));
    check(vec![
        with_body("of a GET", "GET /api/v1/tasks HTTP/1.1", auth, "200 200|200"),
        with_body("where none is needed", complete, auth, "200 200|200"),
        with_body("of somebody unknown", "POST /api/v1/tasks HTTP/1.1", "", "401 200|401"),
        with_body("of another method", "PUT /api/v1/tasks HTTP/1.1", auth, "405 200|405"),
        with_body("of no route", "POST /api/v1/nothing HTTP/1.1", auth, "404 200|404"),
        case("too long", too_long, "413"),
    ])
    .await;
}

#[tokio::test]
async fn requests_behind_each_other_are_answered_in_their_order() {
    let create = "<create>Content-Length: 13\r\n\r\n{\"title\":\"A\"}";
    check(vec![
        case("three", format!("{create}{create}<list>\r\n<health>"), "201 201 200 200"),
        case("the second of them is none", format!("{create}GARBAGE\r\n\r\n{create}"), "201 400"),
        case("empty lines between them", format!("{create}\r\n\r\n{create}\r\n<health>"), "201 201 200"),
        case("nothing after the last", format!("{create}<health>{create}"), "201 200"),
    ])
    .await;
}
