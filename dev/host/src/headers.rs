//! What a component is told of its request: whom it was for, the headers that Spin adds, and the one it takes away.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri, header};

use crate::router::Match;

/// How Spin names components to each other.
const OF_COMPONENTS: &str = "spin.internal";

/// Makes the request's URI absolute. An error, such as two hosts that differ, closes the connection.
pub(crate) fn make_absolute(request: &mut Parts) -> Result<()> {
    if request.headers.get(header::HOST).is_some_and(is_component) {
        request.headers.remove(header::HOST);
    }
    let host = request.headers.get(header::HOST).map(|host| {
        let host = host.to_str().context("the host header is not text")?;
        host.parse::<Authority>().context("the host header is not a host")
    });
    let authority = match (host.transpose()?, request.uri.authority()) {
        (Some(host), Some(authority)) => {
            ensure!(host == *authority, "the host header differs from the target");
            host
        }
        (Some(host), None) => host,
        (None, authority) => authority.context("the request has no host header")?.clone(),
    };
    let mut parts = std::mem::take(&mut request.uri).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(authority);
    request.uri = Uri::from_parts(parts)?;
    Ok(())
}

/// Drops `connection`, and adds Spin's own headers. A header that is not UTF-8 is an error, which Spin answers with 500.
///
/// They are added after what the client sent, also where the client sent the same names: whoever reads the first value of
/// `spin-client-addr` reads the client's. That is how Spin does it, and a component must not rely on them here either.
pub(crate) fn prepare(request: &mut Parts, matched: &Match<'_>, client: SocketAddr) -> Result<()> {
    request.headers.remove(header::CONNECTION);
    for (name, value) in &request.headers {
        std::str::from_utf8(value.as_bytes()).with_context(|| format!("header {name} is not UTF-8"))?;
    }
    for (name, value) in spin_headers(&request.uri, matched, client) {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) else {
            continue;
        };
        request.headers.append(name, value);
    }
    Ok(())
}

/// Whether a host is a component's, with or without a port.
fn is_component(host: &HeaderValue) -> bool {
    let host = host.to_str().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    host.split_once('.').is_some_and(|(_, domain)| domain == OF_COMPONENTS)
}

fn spin_headers(uri: &Uri, matched: &Match<'_>, client: SocketAddr) -> Vec<(String, String)> {
    let pattern = &matched.route.pattern;
    let parameters = matched.parameters.iter().map(|(name, value)| {
        (format!("spin-path-match-{}", name.replace('_', "-").to_lowercase()), value.clone())
    });
    let fixed = [
        ("spin-path-info", matched.trailing.clone()),
        ("spin-full-url", uri.to_string()),
        ("spin-matched-route", pattern.strip_suffix('/').unwrap_or(pattern).to_owned()),
        ("spin-base-path", "/".to_owned()),
        ("spin-raw-component-route", pattern.clone()),
        ("spin-component-route", pattern.strip_suffix("/...").unwrap_or(pattern).to_owned()),
        ("spin-client-addr", client.to_string()),
    ];
    fixed.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(parameters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Route;
    use crate::router::Router;

    fn prepared(pattern: &str, request: http::request::Builder) -> Parts {
        let router = Router::new(&[Route { pattern: pattern.into(), component: "c".into() }]).unwrap();
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let path = parts.uri.path().to_owned();
        make_absolute(&mut parts).unwrap();
        prepare(&mut parts, &router.find(&path).unwrap(), "127.0.0.1:9".parse().unwrap()).unwrap();
        parts
    }

    fn values(parts: &Parts, name: &str) -> Vec<String> {
        parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_route_and_the_client_are_told() {
        let request = http::Request::get("/files/7/a/b?q=1")
            .header("host", "localhost:3000")
            .header("connection", "close");
        let parts = prepared("/files/:user_id/...", request);
        assert_eq!(values(&parts, "spin-path-match-user-id"), ["7"]);
        assert_eq!(values(&parts, "spin-path-info"), ["/a/b"]);
        assert_eq!(values(&parts, "spin-full-url"), ["http://localhost:3000/files/7/a/b?q=1"]);
        assert_eq!(values(&parts, "spin-matched-route"), ["/files/:user_id/..."]);
        assert_eq!(values(&parts, "spin-raw-component-route"), ["/files/:user_id/..."]);
        assert_eq!(values(&parts, "spin-component-route"), ["/files/:user_id"]);
        assert_eq!(values(&parts, "spin-base-path"), ["/"]);
        assert_eq!(values(&parts, "spin-client-addr"), ["127.0.0.1:9"]);
        assert_eq!(values(&parts, "connection"), [""; 0]);
        assert_eq!(parts.uri.to_string(), "http://localhost:3000/files/7/a/b?q=1");
    }

    #[test]
    fn a_clients_own_spin_headers_come_first() {
        let request = http::Request::get("/tasks/7")
            .header("host", "h")
            .header("spin-path-match-id", "forged")
            .header("spin-client-addr", "forged");
        let parts = prepared("/tasks/:id", request);
        assert_eq!(values(&parts, "spin-path-match-id"), ["forged", "7"]);
        assert_eq!(values(&parts, "spin-client-addr"), ["forged", "127.0.0.1:9"]);
    }

    fn is_refused(target: &str, host: Option<&[u8]>) -> bool {
        let mut request = http::Request::get(target);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        make_absolute(&mut request.body(()).unwrap().into_parts().0).is_err()
    }

    #[test]
    fn a_request_is_for_one_host() {
        assert!(is_refused("/a", None));
        assert!(is_refused("/a", Some(b"")));
        assert!(is_refused("/a", Some(b"\xff")));
        assert!(is_refused("/a", Some(b"a.spin.internal:80")));
        assert!(is_refused("http://a/a", Some(b"b")));
        assert!(!is_refused("/a", Some(b"a")));
        assert!(!is_refused("http://a/a", Some(b"a")));
        assert!(!is_refused("http://a/a", None));
    }

    #[test]
    fn a_header_that_is_not_utf_8_is_refused() {
        let router = Router::new(&[Route { pattern: "/a".into(), component: "c".into() }]).unwrap();
        let request = http::Request::get("/a").header("x-a", b"\xff".as_slice());
        let mut parts = request.body(()).unwrap().into_parts().0;
        prepare(&mut parts, &router.find("/a").unwrap(), "127.0.0.1:9".parse().unwrap()).unwrap_err();
    }
}
