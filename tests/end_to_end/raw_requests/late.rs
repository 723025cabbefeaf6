//! Bodies that do not arrive: each is answered when its time is up, and then its connection ends.

use std::time::Duration;

use crate::harness::raw::{DEADLINE, Then};
use crate::raw_requests::{Case, case, check};

/// How long a body may take (components/shared/src/http.rs).
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(8);

fn late(name: &str, sent: impl Into<Vec<u8>>, then: Then) -> Case {
    let says = "[{\"field\":\"body\",\"message\":\"Body did not arrive in time\"}]";
    Case { then, says, deadline: BODY_TIMEOUT + DEADLINE, ..case(name, sent, "400") }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered() {
    let a = "{\"title\":\"A\"}";
    let chunked = "<create>Transfer-Encoding: chunked\r\n\r\n";
    check(vec![
        late("nothing of it", "<create>Content-Length: 13\r\n\r\n", Then::Wait),
        late("all but the last byte", format!("<create>Content-Length: 14\r\n\r\n{a}"), Then::Wait),
        late("a byte a second", "<create>Content-Length: 1000\r\n\r\n{", Then::Drip),
        late("no chunk", chunked, Then::Wait),
        late("no last chunk", format!("{chunked}d\r\n{a}\r\n"), Then::Wait),
        late("a size of a byte a second", chunked, Then::Drip),
        late("a chunk of 64 bits", format!("{chunked}ffffffffffffffff\r\n{a}"), Then::Wait),
        late("a change that does not arrive", "PATCH /api/v1/tasks/<id> HTTP/1.1\r\nHost: <host>\r\n<auth>\r\nContent-Length: 13\r\n\r\n", Then::Wait),
        // Nobody reads it, so nobody waits for it.
        case("where none is needed", "POST /api/v1/tasks/<id>/complete HTTP/1.1\r\nHost: <host>\r\n<auth>\r\nContent-Length: 13\r\n\r\n", "200"),
        case("of somebody unknown", "POST /api/v1/tasks HTTP/1.1\r\nHost: <host>\r\nContent-Length: 13\r\n\r\n", "401"),
    ])
    .await;
}
