//! Methods, targets and versions. Paths are compared as they are, not decoded: what is written otherwise is another path.

use crate::harness::raw::Then;
use crate::raw_requests::{Case, case, check};

fn get(target: impl AsRef<[u8]>, expected: &'static str) -> Case {
    let end = b" HTTP/1.1\r\nHost: <host>\r\n<auth>\r\nConnection: close\r\n\r\n";
    let name = String::from_utf8_lossy(target.as_ref()).into_owned();
    case(&name, [b"GET ", target.as_ref(), end].concat(), expected)
}

fn first_line(line: &str, expected: &'static str) -> Case {
    case(line, format!("{line}\r\nHost: <host>\r\n<auth>\r\nConnection: close\r\n\r\n"), expected)
}

#[tokio::test]
async fn a_path_is_a_route_or_none() {
    check(vec![
        get("/api/v1/tasks/<id>", "200"),
        get("/api/v1/tasks/<ID>", "200"),
        get("/api/v1/tasks/<id>/", "200"),
        // Spin's router drops slashes at both ends of a path, however many.
        get("/api/v1/tasks//", "200"),
        get("//api/v1/tasks", "200"),
        get("//api/v1/tasks/<id>", "400"),
        get("/internal/metrics", "401"),
        get("//internal//", "404"),
        get("//internal/metrics//", "401"),
        get("/api//v1/tasks", "404"),
        get("/api/v1//tasks", "404"),
        get("/api/v1/tasks//<id>", "404"),
        get("/API/v1/tasks", "404"),
        get("/api/v1/tasks;a=b", "404"),
        get("/api/v1/tasks.", "404"),
        get("/api/v1/tasks%20", "404"),
        get("/api/v1%2Ftasks", "404"),
        get("/api/v1/%74asks", "404"),
        get("/api/v1/./tasks", "404"),
        get("/api/v1/../v1/tasks", "404"),
        get("/api/v1/tasks/..", "400"),
        get("/api/v1/tasks/%2e%2e", "400"),
        get("/api/v1/tasks/%2e%2e/tasks", "404"),
        get("/api/v1/tasks/../../../internal/metrics", "404"),
        get("/api/v1/tasks/%00", "400"),
        get("/api/v1/tasks/<id>%00", "400"),
        get("/api/v1/tasks/<id>.", "400"),
        get("/api/v1/tasks/<id>;a=b", "400"),
        get("/api/v1/tasks/<id>%2Fcomplete", "400"),
        get("/api/v1/tasks/<id>/%63omplete", "404"),
        get("/api/v1/tasks/<id>/complete/..", "404"),
        get("/api\\v1\\tasks", "404"),
        get("/api/v1/tasks/\0", "400"),
        get("/api/v1/tasks/a b", "400"),
        get(b"/api/v1/tasks/\xff", "400"),
        get("/api/v1/tasks/ä", "400"),
        get("/api/v1/tasks#fragment", "200"),
        get("api/v1/tasks", "400"),
        get("", "400"),
    ])
    .await;
}

#[tokio::test]
async fn a_query_is_what_it_says_to_the_letter() {
    check(vec![
        get("/api/v1/tasks?completed=true", "200"),
        get("/api/v1/tasks?completed=%74rue", "400"),
        get("/api/v1/tasks?completed=true%00", "400"),
        get("/api/v1/tasks?completed=TRUE", "400"),
        get("/api/v1/tasks?completed", "400"),
        get("/api/v1/tasks?completed=", "400"),
        // Of two values, another reader of the query may take the other one.
        get("/api/v1/tasks?completed=true&completed=false", "400"),
        get("/api/v1/tasks?completed=never&completed=true", "400"),
        get("/api/v1/tasks?unknown=%00%ff", "200"),
        get("/api/v1/tasks??&&==", "200"),
        get(b"/api/v1/tasks?completed=\xff", "400"),
        get(b"/api/v1/tasks?unknown=\xff", "400"),
        get("/api/v1/tasks?unknown=ä", "200"),
    ])
    .await;
}

#[tokio::test]
async fn a_first_line_is_one_of_http_1() {
    check(vec![
        first_line("BREW /api/v1/tasks HTTP/1.1", "405"),
        first_line("get /api/v1/tasks HTTP/1.1", "405"),
        first_line("TRACE /api/v1/tasks HTTP/1.1", "405"),
        first_line("CONNECT /api/v1/tasks HTTP/1.1", "405"),
        first_line("CONNECT <host> HTTP/1.1", "404"),
        first_line("OPTIONS * HTTP/1.1", "404"),
        first_line("GET * HTTP/1.1", "404"),
        first_line("GET /api/v1/tasks HTTP/0.9", "400"),
        first_line("GET /api/v1/tasks HTTP/1.2", "400"),
        first_line("GET /api/v1/tasks HTTP/3.0", "400"),
        first_line("GET /api/v1/tasks HTTP/1.10", "400"),
        first_line("GET /api/v1/tasks http/1.1", "400"),
        first_line("GET /api/v1/tasks", "400"),
        first_line("GET  /api/v1/tasks HTTP/1.1", "400"),
        first_line("GET /api/v1/tasks HTTP/1.1 ", "400"),
        first_line("GET\t/api/v1/tasks\tHTTP/1.1", "400"),
        first_line("G\0ET /api/v1/tasks HTTP/1.1", "400"),
        first_line("G(T /api/v1/tasks HTTP/1.1", "400"),
        // Spin answers with frames of HTTP/2, and then waits for a request; the embedded host does not speak it.
        Case {
            then: Then::End,
            ..case("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "400|closed|garbage")
        },
        case("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", "400"),
        case("zeros", vec![0; 100_000], "400|closed"),
    ])
    .await;
}
