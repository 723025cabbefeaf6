//! `allowed_outbound_hosts`: where a component may connect to.
//!
//! The comparison is of texts: `localhost` does not allow `127.0.0.1`, as in Spin.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use url::{Host, Url};

use crate::log;

/// The hosts that one component may connect to.
#[derive(Debug, Default)]
pub(crate) struct AllowedHosts(Vec<Pattern>);

/// One entry, such as `http://localhost:3500` or `postgres://*.example.com:*`.
#[derive(Debug)]
struct Pattern {
    /// `None` for `*`.
    scheme: Option<String>,
    host: HostPattern,
    ports: Range<u32>,
}

#[derive(Debug)]
enum HostPattern {
    Any,
    /// With its leading dot.
    Subdomain(String),
    Literal(Host),
}

impl AllowedHosts {
    /// Parses entries whose templates are already expanded; an entry that expanded to nothing allows nothing.
    pub(crate) fn parse(entries: &[String]) -> Result<Self> {
        let given = entries.iter().filter(|entry| !matches!(entry.as_str(), "" | "http://" | "https://"));
        let patterns = given
            .map(|entry| {
                Pattern::parse(entry.trim()).with_context(|| format!("allowed_outbound_hosts: {entry:?}"))
            })
            .collect::<Result<_>>()?;
        Ok(Self(patterns))
    }

    /// Whether a connection to `url` is allowed; what is not is logged with the line that would allow it.
    pub(crate) fn check(&self, url: &str) -> bool {
        let Ok(parsed) = Url::parse(url) else {
            log::say(&format!("A component tried to connect to {url:?}, which is no URL"));
            return false;
        };
        let allowed = self.0.iter().any(|pattern| pattern.allows(&parsed));
        if !allowed {
            let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
            let host = parsed.host_str().unwrap_or_default();
            let destination = format!("{}://{host}{port}", parsed.scheme());
            log::say(&format!(
                "Outbound network destination not allowed: {destination} \
                 (to allow it, add \"{destination}\" to the component's allowed_outbound_hosts)"
            ));
        }
        allowed
    }
}

impl Pattern {
    fn parse(entry: &str) -> Result<Self> {
        let (scheme, rest) = entry.split_once("://").context("has no scheme, such as http://")?;
        ensure!(scheme == "*" || scheme.chars().all(char::is_alphabetic), "has a scheme that is not a word");
        // A single slash at the end is no path.
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        ensure!(!rest.contains('/'), "has a path or an address range: give a host and a port only");
        let (host, port) = split_port(rest);
        Ok(Self {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host: HostPattern::parse(host)?,
            ports: parse_ports(port, scheme)?,
        })
    }

    fn allows(&self, url: &Url) -> bool {
        let port = url.port().or_else(|| default_port(url.scheme()));
        self.scheme.as_ref().is_none_or(|scheme| scheme == url.scheme())
            && url.host_str().is_some_and(|host| self.host.allows(host))
            && port.is_some_and(|port| self.ports.contains(&port.into()))
    }
}

impl HostPattern {
    fn parse(host: &str) -> Result<Self> {
        if matches!(host, "self" | "self.alt") || host.ends_with(".spin.internal") {
            bail!(
                "lets components call each other, which this host does not implement: run the application with spin"
            );
        }
        if host == "*" {
            return Ok(Self::Any);
        }
        if let Some(domain) = host.strip_prefix("*.") {
            return Ok(Self::Subdomain(format!(".{}", Host::parse(domain)?)));
        }
        Ok(Self::Literal(Host::parse(host)?))
    }

    fn allows(&self, host: &str) -> bool {
        // Parsed here rather than taken from the URL: that has addresses only for schemes it knows, not for postgres://.
        match (self, Host::parse(host)) {
            (_, Err(_)) => false,
            (Self::Any, Ok(_)) => true,
            (Self::Subdomain(suffix), Ok(Host::Domain(domain))) => domain.ends_with(suffix.as_str()),
            (Self::Subdomain(_), Ok(_)) => false,
            (Self::Literal(literal), Ok(host)) => *literal == host,
        }
    }
}

/// Splits `host:port`; the colons inside the brackets of an IPv6 address are not followed by a port.
fn split_port(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    }
}

fn parse_ports(port: &str, scheme: &str) -> Result<Range<u32>> {
    let number =
        |text: &str| text.parse::<u16>().map(u32::from).with_context(|| format!("{text:?} is not a port"));
    let single = |port: u32| port..port + 1;
    match (port, port.split_once("..")) {
        ("*", _) => Ok(0..u32::from(u16::MAX) + 1),
        ("", _) => {
            let port = default_port(scheme)
                .with_context(|| format!("has no port, and {scheme} has no usual one"))?;
            Ok(single(port.into()))
        }
        (_, Some((start, end))) => Ok(number(start)?..number(end)?),
        _ => Ok(single(number(port)?)),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "postgres" => Some(5432),
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(entry: &str, url: &str) -> bool {
        AllowedHosts::parse(&[entry.to_owned()]).unwrap().check(url)
    }

    #[test]
    fn a_host_is_compared_literally() {
        assert!(allowed("http://localhost:3500", "http://localhost:3500/v1.0/publish"));
        assert!(!allowed("http://localhost:3500", "http://127.0.0.1:3500/"));
        assert!(!allowed("http://localhost:3500", "http://localhost:3501/"));
        assert!(!allowed("http://localhost:3500", "https://localhost:3500/"));
        assert!(allowed("postgres://127.0.0.1:5432", "postgres://127.0.0.1:5432"));
        assert!(allowed("postgres://[::1]:5432", "postgres://[::1]:5432"));
    }

    #[test]
    fn a_missing_port_is_the_schemes_own() {
        assert!(allowed("http://example.com", "http://example.com:80/"));
        assert!(allowed("postgres://db/", "postgres://db"));
        assert!(!allowed("http://example.com", "http://example.com:8080/"));
    }

    #[test]
    fn wildcards_stand_for_a_scheme_a_host_its_start_or_a_port() {
        assert!(allowed("*://*:*", "http://anything.example:1/"));
        assert!(allowed("http://*.example.com", "http://a.example.com/"));
        assert!(!allowed("http://*.example.com", "http://example.com/"));
        assert!(allowed("http://h:8000..8002", "http://h:8001/"));
        assert!(!allowed("http://h:8000..8002", "http://h:8002/"));
    }

    #[test]
    fn an_entry_that_expanded_to_nothing_allows_nothing() {
        assert!(!allowed("http://", "http://localhost/"));
    }

    #[test]
    fn wrong_and_unsupported_entries_are_refused() {
        for wrong in [
            "localhost:3500",
            "http://h/path",
            "redis://h",
            "http://h:port",
            "http://self",
            "http://a.spin.internal",
        ] {
            AllowedHosts::parse(&[wrong.to_owned()]).unwrap_err();
        }
    }
}
