//! Where a body ends: chunks (RFC 9112 §7.1) and lengths (RFC 9110 §8.6).

use crate::harness::raw::Then;
use crate::raw_requests::{Case, case, check};

const LIMIT: usize = 64 * 1024;

fn chunked(name: &str, chunks: impl AsRef<str>, expected: &'static str) -> Case {
    let head = "<create>Transfer-Encoding: chunked\r\n\r\n";
    case(name, format!("{head}{}<health>", chunks.as_ref()), expected)
}

/// A good body in chunks, which is said to be coded so.
fn coded(name: &str, codings: &str) -> Case {
    let body = "d\r\n{\"title\":\"A\"}\r\n0\r\n\r\n";
    case(name, format!("<create>Transfer-Encoding: {codings}\r\n\r\n{body}<health>"), "201 200")
}

/// A good body after these headers.
fn with_length(name: &str, headers: &str, expected: &'static str) -> Case {
    case(name, format!("<create>{headers}\r\n{{\"title\":\"A\"}}<health>"), expected)
}

#[tokio::test]
async fn chunks_are_read_to_the_letter_or_not_at_all() {
    let a = "{\"title\":\"A\"}";
    check(vec![
        chunked("good", format!("d\r\n{a}\r\n0\r\n\r\n"), "201 200"),
        chunked("in upper case", format!("00D\r\n{a}\r\n0\r\n\r\n"), "201 200"),
        chunked(
            "byte by byte",
            a.chars().map(|c| format!("1\r\n{c}\r\n")).collect::<String>() + "0\r\n\r\n",
            "201 200",
        ),
        chunked("an extension", format!("d;name=\"value\"\r\n{a}\r\n0\r\n\r\n"), "201 200"),
        chunked("a huge extension", format!("d;a={}\r\n{a}\r\n0\r\n\r\n", "x".repeat(20_000)), "400"),
        chunked("a trailer", format!("d\r\n{a}\r\n0\r\nContent-Length: 5\r\n\r\n"), "201 200"),
        chunked("a size that is none", format!("g\r\n{a}\r\n0\r\n\r\n"), "400"),
        chunked("no size", format!("\r\n{a}\r\n0\r\n\r\n"), "400"),
        chunked("a size in 0x", format!("0xd\r\n{a}\r\n0\r\n\r\n"), "400"),
        chunked("a negative size", format!("-1\r\n{a}\r\n0\r\n\r\n"), "400"),
        chunked("a size with a sign", format!("+d\r\n{a}\r\n0\r\n\r\n"), "400"),
        chunked("a size over 64 bits", format!("fffffffffffffffff\r\n{a}\r\n0\r\n\r\n"), "400"),
        chunked("garbage after the size", format!("d garbage\r\n{a}\r\n0\r\n\r\n"), "400"),
        chunked("a line feed alone", format!("d\n{a}\n0\n\n"), "400"),
        chunked("no line end after the data", format!("d\r\n{a}0\r\n\r\n"), "400"),
        chunked("a size that is too small", format!("5\r\n{a}\r\n0\r\n\r\n"), "400"),
        chunked("garbage after the last chunk", format!("d\r\n{a}\r\n0\r\n\r\nGARBAGE\r\n\r\n"), "201 400"),
        // Spin reads the chunks and leaves it at that, where RFC 9112 §6.1 asks for a 501. Components are not told of codings.
        coded("two codings", "gzip, chunked"),
        coded("chunks of chunks", "chunked, chunked"),
        chunked("nothing but the end", "0\r\n\r\n", "400 200"),
        Case {
            then: Then::End,
            ..case("it ends early", "<create>Transfer-Encoding: chunked\r\n\r\nd\r\n{", "400|closed")
        },
        Case {
            then: Then::End,
            ..case(
                "it has no end",
                format!("<create>Transfer-Encoding: chunked\r\n\r\nd\r\n{a}\r\n"),
                "400|closed",
            )
        },
    ])
    .await;
}

#[tokio::test]
async fn a_length_that_is_none_or_two_is_refused() {
    check(vec![
        with_length("good", "Content-Length: 13\r\n", "201 200"),
        with_length("twice the same", "Content-Length: 13\r\nContent-Length: 13\r\n", "201 200"),
        with_length("two", "Content-Length: 13\r\nContent-Length: 0\r\n", "400"),
        with_length("a list", "Content-Length: 13, 13\r\n", "400"),
        with_length("negative", "Content-Length: -13\r\n", "400"),
        with_length("with a sign", "Content-Length: +13\r\n", "400"),
        with_length("in 0x", "Content-Length: 0xd\r\n", "400"),
        with_length("empty", "Content-Length:\r\n", "400"),
        with_length("a fraction", "Content-Length: 13.0\r\n", "400"),
        with_length("over 64 bits", "Content-Length: 99999999999999999999\r\n", "400"),
        with_length("the largest", "Content-Length: 18446744073709551615\r\n", "431"),
        with_length("over 64 KiB", "Content-Length: 9223372036854775807\r\n", "413"),
        // The rest of the body is what the next request begins with.
        with_length("too short", "Content-Length: 5\r\n", "400 400"),
        with_length("none", "", "400 400"),
        Case {
            then: Then::End,
            ..case("it ends early", "<create>Content-Length: 13\r\n\r\n{", "400|closed")
        },
    ])
    .await;
}

#[tokio::test]
async fn a_body_of_64_kib_is_the_largest_in_both_framings() {
    let body = |bytes: usize| {
        let start = "{\"title\":\"A\",\"padding\":\"";
        format!("{start}{}\"}}", "x".repeat(bytes - start.len() - 2))
    };
    let sized = |bytes: usize| format!("<create>Content-Length: {bytes}\r\n\r\n{}<health>", body(bytes));
    let in_chunks = |bytes: usize| {
        let body = body(bytes);
        let (one, other) = body.split_at(bytes / 2);
        format!("{:x}\r\n{one}\r\n{:x}\r\n{other}\r\n0\r\n\r\n", one.len(), other.len())
    };
    check(vec![
        case("a byte less, with a length", sized(LIMIT - 1), "201 200"),
        case("exactly, with a length", sized(LIMIT), "201 200"),
        case("a byte more, with a length", sized(LIMIT + 1), "413|413 200"),
        chunked("a byte less, in chunks", in_chunks(LIMIT - 1), "201 200"),
        chunked("exactly, in chunks", in_chunks(LIMIT), "201 200"),
        chunked("a byte more, in chunks", in_chunks(LIMIT + 1), "413|413 200"),
        chunked("a chunk of a gigabyte", format!("40000000\r\n{}", "x".repeat(LIMIT + 1)), "413"),
    ])
    .await;
}

#[tokio::test]
async fn a_body_is_asked_for_where_the_client_waits_for_that() {
    let create = |length: usize| {
        format!("<create>Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{{\"title\":\"A\"}}<health>")
    };
    check(vec![
        case("and read", create(13), "100 201 200"),
        case("but not when it is too large", create(100_000), "413"),
        case(
            "nor of somebody unknown",
            create(13).replace("<create>", "POST /api/v1/tasks HTTP/1.1\r\nHost: <host>\r\n"),
            "401|401 200",
        ),
        case("another expectation", create(13).replace("100-continue", "wonders"), "201 200"),
    ])
    .await;
}
