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
    let without = |first_line: &str, auth: &str| {
        format!("{first_line} HTTP/1.1\r\nHost: <host>\r\n{auth}Content-Length: 13\r\n\r\n")
    };
    let auth = "<auth>\r\n";
    check(vec![
        late("nothing of it", "<create>Content-Length: 13\r\n\r\n", Then::Wait),
        late("all but the last byte", format!("<create>Content-Length: 14\r\n\r\n{a}"), Then::Wait),
        late("a byte a second", "<create>Content-Length: 1000\r\n\r\n{", Then::Drip),
        late("no chunk", chunked, Then::Wait),
        late("no last chunk", format!("{chunked}d\r\n{a}\r\n"), Then::Wait),
        late("a size of a byte a second", chunked, Then::Drip),
        late("a chunk of 64 bits", format!("{chunked}ffffffffffffffff\r\n{a}"), Then::Wait),
        late("of a change", without("PATCH /api/v1/tasks/<id>", auth), Then::Wait),
        // Nobody reads these, so nobody waits for them.
        case("where none is needed", without("POST /api/v1/tasks/<id>/complete", auth), "200"),
        case("of somebody unknown", without("POST /api/v1/tasks", ""), "401"),
    ])
    .await;
}
