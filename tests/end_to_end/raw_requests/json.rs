//! Bodies that are no JSON, or hardly any.

use serde_json::json;

use crate::harness::raw::{DEADLINE, Then, exchange};
use crate::harness::shared;
use crate::raw_requests::{Case, case, check};

fn body(name: &str, body: impl AsRef<[u8]>, expected: &'static str) -> Case {
    let body = body.as_ref();
    let head = format!("<create>Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    case(name, [head.as_bytes(), body].concat(), expected)
}

/// A good title, and this value in a field that is ignored.
fn ignored(name: &str, value: impl AsRef<str>, expected: &'static str) -> Case {
    body(name, format!("{{\"title\":\"A\",\"ignored\":{}}}", value.as_ref()), expected)
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    check(vec![
        body("empty", "", "400"),
        body("nothing but space", " \r\n\t", "400"),
        body("null", "null", "400"),
        body("a list", "[{\"title\":\"A\"}]", "400"),
        body("a text", "\"title\"", "400"),
        body("two objects", "{\"title\":\"A\"}{\"title\":\"B\"}", "400"),
        body("a NUL after it", "{\"title\":\"A\"}\0", "400"),
        body("half of it", "{\"title\":\"A\"", "400"),
        body("a comma too many", "{\"title\":\"A\",}", "400"),
        body("a comment", "{\"title\":\"A\"/* */}", "400"),
        body("single quotes", "{'title':'A'}", "400"),
        body("a byte order mark", "\u{feff}{\"title\":\"A\"}", "400"),
        body(
            "UTF-16",
            "{\"title\":\"A\"}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
            "400",
        ),
        body("a form", "title=A", "400"),
        ignored("no number", "NaN", "400"),
        ignored("a number with a zero before it", "01", "400"),
        ignored("a number that is too large", "1e999", "400"),
        ignored("an integer of a thousand digits", "9".repeat(1_000), "400"),
        ignored("a large number", "1e308", "201"),
        ignored("an integer of thirty digits", "9".repeat(30), "201"),
        body("a title that is too large a number", "{\"title\":1e999}", "400"),
    ])
    .await;
}

#[tokio::test]
async fn depth_ends_before_the_stack_does() {
    check(vec![
        ignored("100 levels", nested(100), "201"),
        ignored("127 levels", nested(127), "400"),
        ignored("30,000 levels", nested(30_000), "400"),
        body("30,000 open lists", "[".repeat(30_000), "400"),
        body("64 KiB of open lists", "[".repeat(64 * 1024), "400"),
        body("10,000 open objects", "{\"a\":".repeat(10_000), "400"),
        ignored("30,000 members of a list", format!("[{}0]", "0,".repeat(30_000)), "201"),
        body(
            "a key of 60,000 characters",
            format!("{{\"{}\":1,\"title\":\"A\"}}", "k".repeat(60_000)),
            "201",
        ),
    ])
    .await;
}

#[tokio::test]
async fn characters_that_are_none_are_refused() {
    check(vec![
        body("no UTF-8", b"{\"title\":\"\xff\"}", "400"),
        body("a character in too many bytes", b"{\"title\":\"\xc0\xaf\"}", "400"),
        body("half a character of UTF-16, in UTF-8", b"{\"title\":\"\xed\xa0\x80\"}", "400"),
        body("no UTF-8 in a key", b"{\"title\":\"A\",\"\xff\":1}", "400"),
        body("a NUL", "{\"title\":\"\0\"}", "400"),
        body("a line end", "{\"title\":\"A\nB\"}", "400"),
        body("an escaped NUL", "{\"title\":\"A\\u0000\"}", "400"),
        ignored("an escaped NUL that is ignored", "\"\\u0000\"", "201"),
        body("the first half of a pair", "{\"title\":\"\\ud800\"}", "400"),
        body("the second half of a pair", "{\"title\":\"\\udc00\"}", "400"),
        body("the halves the wrong way round", "{\"title\":\"\\ude00\\ud83d\"}", "400"),
        ignored("half a pair that is ignored", "\"\\ud800\"", "400"),
        body("a pair", "{\"title\":\"\\ud83d\\ude00\"}", "201"),
        body("an escape that is none", "{\"title\":\"\\x41\"}", "400"),
    ])
    .await;
}

/// RFC 8259 §4 leaves open which one counts.
#[tokio::test]
async fn of_a_key_that_is_there_twice_the_last_counts() {
    let app = shared();
    let user = app.user();
    let body = "{\"title\":\"A\",\"title\":\"B\",\"t\\u0069tle\":\"C\"}";
    let head =
        format!("Host: {}\r\nAuthorization: Bearer {}\r\nConnection: close", app.address(), user.token);
    let length = body.len();
    let sent = format!("POST /api/v1/tasks HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}");
    let received = exchange(&app.address(), sent.as_bytes(), Then::Wait, DEADLINE).await.expect("an answer");
    assert_eq!(received.answers[0].task(201)["title"], json!("C"));
    assert_eq!(user.list().await[0]["title"], json!("C"));
}
