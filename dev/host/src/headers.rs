//! What a component is told of its request: the headers that Spin adds, and the one it takes away.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri, header};

use crate::router::Match;

/// Makes the request's URI absolute, drops `connection`, and adds Spin's own headers.
///
/// They are added after what the client sent, also where the client sent the same names: whoever reads the first value of
/// `spin-client-addr` reads the client's. That is how Spin does it, and a component must not rely on them here either.
pub(crate) fn prepare(request: &mut Parts, matched: &Match<'_>, client: SocketAddr) -> Result<()> {
    request.headers.remove(header::CONNECTION);
    for (name, value) in &request.headers {
        std::str::from_utf8(value.as_bytes()).with_context(|| format!("header {name} is not UTF-8"))?;
    }
    make_absolute(request)?;
    for (name, value) in spin_headers(&request.uri, matched, client) {
        let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) else {
            continue;
        };
        request.headers.append(name, value);
    }
    Ok(())
}

fn make_absolute(request: &mut Parts) -> Result<()> {
    let host = match request.headers.get(header::HOST) {
        Some(host) => host.to_str().context("the host header is not text")?.parse::<Authority>()?,
        None => request.uri.authority().context("the request has no host header")?.clone(),
    };
    let mut parts = std::mem::take(&mut request.uri).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(host);
    request.uri = Uri::from_parts(parts)?;
    Ok(())
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

    #[test]
    fn a_request_without_a_host_is_refused() {
        let router = Router::new(&[Route { pattern: "/a".into(), component: "c".into() }]).unwrap();
        let (mut parts, ()) = http::Request::get("/a").body(()).unwrap().into_parts();
        prepare(&mut parts, &router.find("/a").unwrap(), "127.0.0.1:9".parse().unwrap()).unwrap_err();
    }
}
