//! Pages of which origins may call, and read what is answered (CORS).

use http::{HeaderMap, HeaderValue, Method, Uri, header};

use super::{Call, insert, method_list};
use crate::config;

/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";

/// The headers that a page of another origin may send: the API's own, and those that tracing
/// libraries, gateways and HTTP clients add by themselves. A browser sends no request at all with a
/// header that is missing here.
const ALLOWED_HEADERS: &str = "authorization, content-type, x-correlation-id, traceparent, tracestate, baggage, \
                               sentry-trace, x-request-id, idempotency-key, if-match";

/// The headers that a page of another origin may read.
const EXPOSED_HEADERS: &str = "x-correlation-id, location";

impl Call {
    /// Lets pages of the allowed origins read the response, and send the request that a preflight
    /// asks for.
    pub(super) async fn add_cors(&self, headers: &mut HeaderMap, methods: &[Method]) {
        let allowed = config::cors_origins().await.unwrap_or_default();
        if allowed.is_empty() {
            return;
        }
        vary_by_origin(headers);
        let Some(origin) = self.head.headers.get(header::ORIGIN) else { return };
        if !origin.to_str().is_ok_and(|origin| is_allowed(origin, allowed)) {
            return;
        }
        let constant = HeaderValue::from_static;
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, constant("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, constant(EXPOSED_HEADERS));
        if self.head.method == Method::OPTIONS {
            insert(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &method_list(methods));
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, constant(ALLOWED_HEADERS));
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, constant(PREFLIGHT_MAX_AGE));
        }
    }

    /// A browser says where a mutation comes from, in `Origin`, and old ones in `Referer`. Who says
    /// neither is no browser.
    pub(super) fn may_use_cookie(&self, allowed: &[String]) -> bool {
        let may = |origin: &str| is_allowed(origin, allowed) || self.is_own(origin);
        let headers = &self.head.headers;
        let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
        if origins.peek().is_some() {
            return origins.all(|origin| origin.to_str().is_ok_and(may));
        }
        let mut referers = headers.get_all(header::REFERER).iter();
        referers.all(|referer| referer.to_str().ok().and_then(origin_of).is_some_and(|origin| may(&origin)))
    }

    /// Whether a page is of the host that the request is for. By which of the two schemes it came
    /// is not known behind a gateway.
    fn is_own(&self, origin: &str) -> bool {
        let host = self.head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = self.head.uri.authority().map(|authority| authority.as_str()).or(host);
        let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), host) else { return false };
        let default_port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return false,
        };
        authority.eq_ignore_ascii_case(host.strip_suffix(default_port).unwrap_or(host))
    }
}

/// Adds `origin` to what the response depends on.
fn vary_by_origin(headers: &mut HeaderMap) {
    let others = headers.get(header::VARY).and_then(|value| value.to_str().ok());
    let all = others.map_or_else(|| "origin".to_owned(), |others| format!("{others}, origin"));
    insert(headers, header::VARY, &all);
}

/// The origin of the page at this address (RFC 6454 §4).
fn origin_of(address: &str) -> Option<String> {
    let address: Uri = address.parse().ok()?;
    Some(format!("{}://{}", address.scheme_str()?, address.authority()?))
}

fn is_allowed(origin: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::CORRELATION_HEADER;

    #[test]
    fn what_a_response_depends_on_is_one_list() {
        let mut headers = HeaderMap::new();
        vary_by_origin(&mut headers);
        assert_eq!(headers[header::VARY], "origin");
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        vary_by_origin(&mut headers);
        assert_eq!(headers[header::VARY], "accept-encoding, origin");
    }

    #[test]
    fn pages_may_read_the_correlation_id() {
        assert!(EXPOSED_HEADERS.split(", ").any(|name| name == CORRELATION_HEADER));
    }
}
