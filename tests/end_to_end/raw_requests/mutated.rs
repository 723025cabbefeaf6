//! A good request with some bytes of another: whatever it is then, it is answered or refused, and counted right.

use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::harness::raw::DEADLINE;
use crate::raw_requests::late::BODY_TIMEOUT;
use crate::raw_requests::{ANY, Case, case, check};

const CASES: usize = 200;

const HEAD: &str =
    "POST /api/v1/tasks HTTP/1.1\r\nHost: <host>\r\n<auth>\r\nContent-Type: application/json\r\n";

const BODIES: [&str; 2] = [
    "Content-Length: 13\r\n\r\n{\"title\":\"A\"}",
    "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"tit\r\n8\r\nle\":\"A\"}\r\n0\r\n\r\n",
];

/// Bytes that mean something to one of those who read it.
const BYTES: &[u8] = b"\0\t\n\r \"%+,-./0159:;<=?\\af{}\x7f\x80\xc3\xff";

/// Bytes are put in the place of others, or before them; the rest may be missing.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<proptest::sample::Index>(), select(BYTES), any::<bool>());
    let changes = proptest::collection::vec(change, 1..3);
    let end = proptest::option::weighted(0.2, any::<proptest::sample::Index>());
    (select(BODIES.as_slice()), changes, end).prop_map(|(body, changes, end)| {
        let mut bytes = [HEAD.as_bytes(), body.as_bytes()].concat();
        for (place, byte, replaces) in changes {
            let place = place.index(bytes.len());
            let replaced = place..place + usize::from(replaces);
            bytes.splice(replaced, [byte]);
        }
        bytes.truncate(end.map_or(bytes.len(), |end| end.index(bytes.len())));
        bytes
    })
}

/// The same ones each time. Two good requests follow, in case that a part of the first belongs to what came before.
#[tokio::test]
async fn a_good_request_with_wrong_bytes_does_no_harm() {
    let mut runner = TestRunner::deterministic();
    let generated = (0..CASES).map(|_| {
        let bytes = mutated().new_tree(&mut runner).unwrap().current();
        let name = String::from_utf8_lossy(&bytes).escape_debug().to_string();
        let sent = [&bytes, "<health><health>".as_bytes()].concat();
        Case { deadline: BODY_TIMEOUT + DEADLINE, ..case(&name, sent, ANY) }
    });
    check(generated.collect()).await;
}
