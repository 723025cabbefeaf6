//! What the variables may be. Each function parses a value without white space at its ends.
//!
//! Errors follow the variable's name in a sentence: `is "many": it needs …`.

use std::time::Duration;

use http::Uri;

/// The longest time-out for a publish. It bounds the lease, and so how long a crash delays a user's
/// events.
const MAX_TIMEOUT_MS: u64 = 60_000;

/// The length of a time-out for a publish.
pub(super) fn timeout(value: &str) -> Result<Duration, String> {
    match value.parse() {
        Ok(milliseconds @ 1..=MAX_TIMEOUT_MS) => Ok(Duration::from_millis(milliseconds)),
        _ => {
            Err(format!("is {value:?}: it needs a whole number of milliseconds, from 1 to {MAX_TIMEOUT_MS}"))
        }
    }
}

/// An upper bound; `None`: there is none.
pub(super) fn limit(value: &str) -> Result<Option<u32>, String> {
    match value.parse() {
        Ok(0) => Ok(None),
        Ok(limit) => Ok(Some(limit)),
        Err(_) => Err(format!("is {value:?}: it needs a whole number, 0 for no limit")),
    }
}

/// The sidecar's address, without a slash at its end.
pub(super) fn address(value: &str) -> Result<String, String> {
    let address: Option<Uri> = value.parse().ok();
    let is_http = address.is_some_and(|address| matches!(address.scheme_str(), Some("http" | "https")));
    // It may have a password in it, so that it is not quoted.
    let error = || "is not an address such as http://localhost:3500".to_owned();
    is_http.then(|| value.trim_end_matches('/').to_owned()).ok_or_else(error)
}

/// The name of a Dapr component, which becomes a part of a path.
pub(super) fn component_name(value: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if value.is_empty() || !value.bytes().all(is_allowed) {
        return Err(format!("is {value:?}: it needs the name of a Dapr component, such as pubsub-kafka"));
    }
    Ok(value.to_owned())
}

/// The start of a URI reference (RFC 3986 §2), as a CloudEvents `source` is one.
pub(super) fn uri_prefix(value: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    if !value.bytes().all(is_allowed) {
        return Err(format!("is {value:?}: it needs the start of a URI, such as /taskcast"));
    }
    Ok(value.to_owned())
}

/// Origins, separated by commas or white space: those that a browser may send, and what is wrong
/// with the others.
pub(super) fn origins(value: &str) -> (Vec<String>, Option<String>) {
    let separated = value.split(|character: char| character == ',' || character.is_whitespace());
    let (mut origins, mut errors) = (Vec::new(), Vec::new());
    for text in separated.filter(|text| !text.is_empty()) {
        match origin(text) {
            Ok(origin) => origins.push(origin.to_owned()),
            Err(error) => errors.push(format!("has {text:?}, which {error}")),
        }
    }
    (origins, (!errors.is_empty()).then(|| errors.join(", and ")))
}

/// An origin as browsers write it (RFC 6454 §6.2). The slash at the end of an address, which no
/// origin has, is left out.
fn origin(text: &str) -> Result<&str, &'static str> {
    if text.eq_ignore_ascii_case("null") {
        return Err("is the origin of every sandboxed page");
    }
    let text = text.trim_end_matches('/');
    let Some((scheme, authority)) = text.split_once("://") else {
        return Err("is not an origin such as https://app.example.com");
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if !is_scheme(scheme) || !is_host(host) {
        return Err("is not an origin such as https://app.example.com");
    }
    match (scheme.to_ascii_lowercase().as_str(), port) {
        (_, None) => Ok(text),
        ("https", Some("443")) | ("http", Some("80")) => Err("names the port that browsers leave out"),
        (_, Some(port)) if port.parse::<u16>().is_ok_and(|number| number.to_string() == port) => Ok(text),
        _ => Err("has a port that is none"),
    }
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    let others = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(others)
}

/// A name in ASCII, which browsers write another one in, or an address.
fn is_host(text: &str) -> bool {
    let in_brackets = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match in_brackets {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !text.is_empty() && text.bytes().all(is_allowed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_0_is_none() {
        assert_eq!(limit("0"), Ok(None));
        assert_eq!(limit("1000"), Ok(Some(1000)));
        for bad in ["", "-1", "many", "1e3", "4294967296"] {
            assert!(limit(bad).unwrap_err().starts_with(&format!("is {bad:?}")), "{bad}");
        }
    }

    #[test]
    fn a_time_out_is_a_whole_number_of_milliseconds() {
        assert_eq!(timeout("2000"), Ok(Duration::from_secs(2)));
        for bad in ["", "2s", "0", "-1", "60001"] {
            assert!(timeout(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_sidecar_has_an_address_by_http() {
        assert_eq!(address("http://localhost:3500/").as_deref(), Ok("http://localhost:3500"));
        assert!(address("https://dapr.example/prefix").is_ok());
        for bad in ["", "localhost:3500", "/dapr", "ftp://localhost", "http://", "http://user:secret@ host"] {
            assert!(!address(bad).unwrap_err().contains("secret"), "{bad}");
        }
    }

    #[test]
    fn names_and_prefixes_have_no_characters_that_a_uri_has_not() {
        assert!(component_name("pubsub-kafka").is_ok() && uri_prefix("/taskcast").is_ok());
        assert!(uri_prefix("").is_ok() && uri_prefix("https://tasks.example/%C3%A4").is_ok());
        for bad in ["", "a/b", "a b", "ä", "{pubsub}"] {
            assert!(component_name(bad).is_err(), "{bad}");
        }
        for bad in ["a b", "/ä", "{source}", "\"", "a\nb"] {
            assert!(uri_prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins_are_a_list() {
        let list = origins("https://a.example, http://localhost:5173/\n").0;
        assert_eq!(list, ["https://a.example", "http://localhost:5173"]);
        assert_eq!(origins(""), (Vec::new(), None));
    }

    #[test]
    fn an_origin_is_what_a_browser_may_send() {
        for good in [
            "https://app.example.com",
            "HTTPS://App.Example.Com",
            "http://127.0.0.1:8080",
            "http://[::1]:5173",
            "https://xn--bcher-kva.example",
            "http://localhost:443",
            "capacitor://localhost",
            "chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai",
        ] {
            assert_eq!(origins(good), (vec![good.to_owned()], None));
        }
        for bad in [
            "*",
            "null",
            "NULL",
            "app.example.com",
            "//app.example.com",
            "https://",
            "https://*.example.com",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://app.example.com:",
            "https://app.example.com:0443",
            "https://app.example.com:65536",
            "https://app.example.com/board",
            "https://app.example.com?x",
            "https://user@app.example.com",
            "https://bücher.example",
            "http://[::1",
        ] {
            let (list, error) = origins(&format!("{bad} https://good.example"));
            assert_eq!(list, ["https://good.example"], "{bad}");
            assert!(error.unwrap().starts_with(&format!("has {bad:?}, which ")), "{bad}");
        }
    }
}
