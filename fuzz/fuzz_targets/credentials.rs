//! A request's token is the only one in `Authorization`, else the only one in the cookie, and never empty.

#![no_main]

use fuzz::input;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use shared::auth::{Token, is_internal, token};
use shared::error::Error;

const APP_TOKEN: &str = "the app's own";

fuzz_target!(|bytes: &[u8]| {
    let headers = input::headers(bytes);
    let (bearers, cookies) = (bearers(&headers), cookies(&headers));
    let found = token(&headers).map_err(|error| said(&error));
    match (bearers.as_slice(), cookies.as_slice()) {
        ([one], _) => assert_eq!(found, Ok(Token::Bearer(one))),
        ([], [one]) => assert_eq!(found, Ok(Token::Cookie(one))),
        ([], []) => assert_eq!(found, Err("Not authenticated".to_owned())),
        _ => assert!(found.is_err(), "one of several tokens was taken"),
    }
    if let Ok(Token::Bearer(token) | Token::Cookie(token)) = found {
        assert!(!token.is_empty());
    }
    check_internal(&headers);
});

/// What the client is told.
fn said(error: &Error) -> String {
    let body = serde_json::to_value(error.body()).expect("a body is JSON");
    body["error"]["message"].as_str().expect("a text").to_owned()
}

/// Everything behind `Bearer` and a space, in whatever case, whatever the bytes are.
fn bearers(headers: &HeaderMap) -> Vec<&[u8]> {
    let values = headers.get_all("authorization").iter().map(|value| value.as_bytes());
    let with_scheme = values.filter(|value| value.len() > 7 && value[..7].eq_ignore_ascii_case(b"bearer "));
    with_scheme.map(|value| value[7..].trim_ascii()).filter(|token| !token.is_empty()).collect()
}

/// Every value of `auth_token`, without quotes, whatever the bytes of it and of other cookies are.
fn cookies(headers: &HeaderMap) -> Vec<&[u8]> {
    let mut tokens = Vec::new();
    for cookies in headers.get_all("cookie") {
        for cookie in cookies.as_bytes().split(|byte| *byte == b';') {
            let Some(value) = cookie.trim_ascii().strip_prefix(b"auth_token=") else { continue };
            let start = value.iter().position(|byte| *byte != b'"');
            let end = value.iter().rposition(|byte| *byte != b'"');
            tokens.extend(start.zip(end).map(|(start, end)| &value[start..=end]));
        }
    }
    tokens
}

/// Internal routes are open only for who has the whole token, and for nobody where there is none.
fn check_internal(headers: &HeaderMap) {
    assert!(!is_internal(headers, ""));
    if is_internal(headers, APP_TOKEN) {
        let sidecar = headers.get("dapr-api-token").map(|value| value.as_bytes());
        let shown = sidecar.is_none_or(|value| value == APP_TOKEN.as_bytes());
        assert!(shown && (sidecar.is_some() || bearers(headers).contains(&APP_TOKEN.as_bytes())));
    }
}
