//! Requests within requests: what a proxy before the app would take for one request is one, whatever its framing says
//! (RFC 9112 §11.2). Each case has a second request where its body could end.

use crate::raw_requests::{Case, case, check};

/// `POST /api/v1/tasks` with these headers, a body that ends at once in chunks, and a request that begins there.
fn two_lengths(name: &str, headers: &str, expected: &'static str) -> Case {
    case(name, format!("<create>{headers}\r\n0\r\n\r\n<smuggled><health>"), expected)
}

#[tokio::test]
async fn a_request_within_another_is_not_read() {
    let inner = "POST /api/v1/tasks HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10);
    let with_body = |start: &str| format!("{start}Content-Length: {}\r\n\r\n{inner}<health>", inner.len());
    check(vec![
        // The connection ends with such a request, as RFC 9112 §6.3 has it: nothing after it is read.
        two_lengths("a length and chunks", "Content-Length: 999\r\nTransfer-Encoding: chunked\r\n", "400"),
        two_lengths("chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 999\r\n", "400"),
        two_lengths("a length of 5 and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "400"),
        two_lengths("no length of a number and chunks", "Content-Length: a\r\nTransfer-Encoding: chunked\r\n", "400"),
        two_lengths("chunks that are no longer the last", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "400"),
        two_lengths("chunks, then another coding", "Transfer-Encoding: chunked, identity\r\n", "400"),
        two_lengths("another coding", "Transfer-Encoding: identity\r\n", "400"),
        two_lengths("a coding that is none", "Transfer-Encoding: xchunked\r\n", "400"),
        two_lengths("quoted chunks", "Transfer-Encoding: \"chunked\"\r\n", "400"),
        two_lengths("no coding", "Transfer-Encoding:\r\n", "400"),
        two_lengths("a space before the colon", "Transfer-Encoding : chunked\r\n", "400"),
        two_lengths("a vertical tab before the value", "Transfer-Encoding: \x0bchunked\r\n", "400"),
        two_lengths("in a folded line", "X-A: a\r\n Transfer-Encoding: chunked\r\n", "400"),
        two_lengths("after a bare carriage return", "X-A: a\rTransfer-Encoding: chunked\r\n", "400"),
        two_lengths("after a NUL", "X-A: a\0Transfer-Encoding: chunked\r\n", "400"),
        case("chunks in HTTP/1.0", "POST /api/v1/tasks HTTP/1.0\r\nHost: <host>\r\n<auth>\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n<smuggled>", "400"),
        case("the body of a GET", with_body("<list>"), "200 200|200"),
        case("a body that nobody reads", with_body("POST /api/v1/tasks/<id>/complete HTTP/1.1\r\nHost: <host>\r\n<auth>\r\n"), "200 200|200"),
        case("the body of somebody unknown", with_body("POST /api/v1/tasks HTTP/1.1\r\nHost: <host>\r\n"), "401 200|401"),
        case("the body of another method", with_body("PUT /api/v1/tasks HTTP/1.1\r\nHost: <host>\r\n"), "405 200|405"),
        case("the body of no route", with_body("POST /api/v1/nothing HTTP/1.1\r\nHost: <host>\r\n"), "404 200|404"),
        case("a body that is too long", format!("<create>Content-Length: 70000\r\n\r\n{}", "<smuggled>".repeat(100)), "413"),
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
