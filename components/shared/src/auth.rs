//! Who is calling (docs/contract.md, "Who is calling").

use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::error::Error;
pub use keys::Expected;
use keys::Key;

mod crypto;
mod keys;

/// The header with which the app's sidecar proves itself.
const SIDECAR_TOKEN: &str = "dapr-api-token";

/// The cookie that carries a token.
const TOKEN_COOKIE: &[u8] = b"auth_token";

/// A longer token is not looked at, in bytes: one with a few hundred claims would fit.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far the clock of who made a token may be ahead of ours, in seconds.
const CLOCK_SKEW: f64 = 300.0;

/// Checks tokens. The algorithm is the key's, never the token's.
pub struct Verifier {
    keys: Vec<Key>,
}

/// A token as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// In `Authorization: Bearer …`.
    Bearer(&'a [u8]),
    /// In the cookie `auth_token`, which browsers send by themselves: the origin must be checked too.
    Cookie(&'a [u8]),
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Value,
    #[serde(default)]
    iat: Option<f64>,
    /// A text (RFC 7519 §4.1.1): `jsonwebtoken` would also take a list with the right one in it.
    #[serde(default, rename = "iss")]
    _issuer: Option<String>,
    /// Read, so that a payload that is not all UTF-8 (RFC 7519 §7.2) is noticed: what nobody wants is passed over unread.
    #[serde(flatten)]
    _others: Map<String, Value>,
}

impl Verifier {
    /// With secrets for HS256, each with the name of its variable, and a JWK Set. An empty one counts for nothing. A token may be
    /// signed with any of the keys, so that a new one can come before the old one goes.
    ///
    /// Errors: `Internal` when a secret is too short, the set is none, or there is no key.
    pub fn new(secrets: &[(&str, &str)], jwks: &str, expected: Expected<'_>) -> Result<Verifier, Error> {
        crypto::install();
        let mut keys = Vec::new();
        for (variable, secret) in secrets.iter().filter(|(_, secret)| !secret.is_empty()) {
            keys.push(keys::secret(variable, secret, expected)?);
        }
        if !jwks.trim().is_empty() {
            keys.extend(keys::set(jwks, expected)?);
        }
        if keys.is_empty() {
            return Err(Error::Internal(
                "set the variable jwt_secret, or jwks: no token can be checked".into(),
            ));
        }
        Ok(Verifier { keys })
    }

    /// The user that a token is for.
    pub fn user(&self, token: Token<'_>) -> Result<Uuid, Error> {
        let (Token::Bearer(token) | Token::Cookie(token)) = token;
        let claims = self.claims(token).ok_or(Error::INVALID_TOKEN)?;
        claims.sub.as_str().and_then(|sub| Uuid::parse_str(sub).ok()).ok_or(Error::INVALID_TOKEN_PAYLOAD)
    }

    fn claims(&self, token: &[u8]) -> Option<Claims> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        // What a token declares critical has to be understood (RFC 7515 §4.1.11), and no extension is.
        if header.crit.is_some() {
            return None;
        }
        let mut fitting = self.keys.iter().filter(|key| key.fits(header.alg, header.kid.as_deref()));
        let claims: Claims = fitting
            .find_map(|key| jsonwebtoken::decode(token, &key.key, &key.validation).ok())
            .map(|token| token.claims)?;
        let latest = chrono::Utc::now().timestamp() as f64 + CLOCK_SKEW;
        claims.iat.is_none_or(|made_at| made_at <= latest).then_some(claims)
    }
}

/// Whether a request carries the app's own token: as the app's sidecar sends it with every call, or as a bearer token. Never
/// with an empty one. The time of the comparison says nothing about the token but its length.
pub fn is_internal(headers: &HeaderMap, expected: &str) -> bool {
    let sent = internal_token(headers).unwrap_or_default();
    !expected.is_empty() && bool::from(sent.ct_eq(expected.as_bytes()))
}

/// What a request shows as the app's own token.
pub fn internal_token(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(token) = headers.get(SIDECAR_TOKEN) {
        return Some(token.as_bytes());
    }
    let (Token::Bearer(token) | Token::Cookie(token)) =
        headers.get(header::AUTHORIZATION).and_then(bearer)?;
    Some(token)
}

/// The token of a request; the header wins over the cookie. One that is there twice is none: who else reads the request may have
/// read the other. All of this is about bytes, since a header may have others than ASCII: they make a token a bad one, and no
/// other cookie.
pub fn token(headers: &HeaderMap) -> Result<Token<'_>, Error> {
    match only(headers.get_all(header::AUTHORIZATION).iter().filter_map(bearer))? {
        Some(token) => Ok(token),
        None => only(cookies(headers))?.ok_or(Error::NOT_AUTHENTICATED),
    }
}

/// The only one there is.
fn only<'a>(mut tokens: impl Iterator<Item = Token<'a>>) -> Result<Option<Token<'a>>, Error> {
    let token = tokens.next();
    if tokens.next().is_some() { Err(Error::INVALID_TOKEN) } else { Ok(token) }
}

fn bearer(authorization: &HeaderValue) -> Option<Token<'_>> {
    let (scheme, token) = split_once(authorization.as_bytes(), b' ')?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(Token::Bearer(token))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Token<'_>> {
    let pairs =
        headers.get_all(header::COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs
        .filter_map(|cookie| split_once(cookie.trim_ascii(), b'='))
        .filter(|(name, _)| *name == TOKEN_COOKIE)
        .map(|(_, value)| without_quotes(value))
        .filter(|token| !token.is_empty())
        .map(Token::Cookie)
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let mut parts = bytes.splitn(2, |byte| *byte == at);
    Some((parts.next()?, parts.next()?))
}

fn without_quotes(mut value: &[u8]) -> &[u8] {
    while let [b'"', rest @ ..] | [rest @ .., b'"'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use hmac::{Hmac, KeyInit, Mac};
    use serde_json::json;
    use sha2::{Sha256, Sha512};

    const SECRET: &str = "a secret of more than thirty-two bytes";
    const OLD_SECRET: &str = "the secret of before, which is long enough, too";
    const USER: &str = "0b5cbb9c-6f0e-4f4e-8f5e-3f8f6a9a2d11";

    fn sign(claims: Value, algorithm: &str, secret: &str) -> String {
        let header = json!({"alg": algorithm, "typ": "JWT"});
        let message = [header, claims].map(|part| BASE64.encode(part.to_string())).join(".");
        let signature = match algorithm {
            "HS256" => hmac::<Hmac<Sha256>>(&message, secret),
            "HS512" => hmac::<Hmac<Sha512>>(&message, secret),
            _ => String::new(),
        };
        format!("{message}.{signature}")
    }

    fn hmac<M: Mac + KeyInit>(message: &str, secret: &str) -> String {
        let mac = <M as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
        BASE64.encode(mac.chain_update(message).finalize().into_bytes())
    }

    fn check(token: &str) -> Result<Uuid, String> {
        verifier("", Expected::default())
            .user(Token::Bearer(token.as_bytes()))
            .map_err(|error| error.to_string())
    }

    fn verifier(jwks: &str, expected: Expected<'_>) -> Verifier {
        Verifier::new(&[("jwt_secret", SECRET), ("jwt_secret_previous", OLD_SECRET)], jwks, expected).unwrap()
    }

    fn in_an_hour() -> i64 {
        chrono::Utc::now().timestamp() + 3600
    }

    #[test]
    fn a_good_token_names_its_user() {
        let token = sign(json!({"sub": USER, "exp": in_an_hour()}), "HS256", SECRET);
        assert_eq!(check(&token), Ok(Uuid::parse_str(USER).unwrap()));
    }

    #[test]
    fn a_bad_token_is_refused() {
        let exp = in_an_hour();
        for token in [
            "not a token".to_owned(),
            String::new(),
            sign(json!({"sub": USER, "exp": exp}), "HS256", "another secret of thirty-two bytes or more"),
            sign(json!({"sub": USER, "exp": exp}), "HS512", SECRET),
            sign(json!({"sub": USER, "exp": exp}), "none", SECRET),
            sign(json!({"sub": USER, "exp": exp}), "RS256", SECRET),
            sign(json!({"sub": USER, "exp": exp - 3601}), "HS256", SECRET),
            sign(json!({"sub": USER, "exp": exp, "nbf": exp}), "HS256", SECRET),
            sign(json!({"sub": USER}), "HS256", SECRET),
        ] {
            assert_eq!(check(&token), Err("Invalid or expired token".to_owned()), "{token}");
        }
    }

    #[test]
    fn a_genuine_token_without_a_user_id_is_refused() {
        for sub in [json!(null), json!("alice"), json!(7)] {
            let token = sign(json!({"sub": sub, "exp": in_an_hour()}), "HS256", SECRET);
            assert_eq!(check(&token), Err("Invalid token payload".to_owned()));
        }
        let token = sign(json!({"exp": in_an_hour()}), "HS256", SECRET);
        assert_eq!(check(&token), Err("Invalid token payload".to_owned()));
    }

    #[test]
    fn keys_that_are_none_are_refused_by_the_name_of_their_variable() {
        let check = |secret: &str, previous: &str, jwks: &str| {
            let secrets = [("jwt_secret", secret), ("jwt_secret_previous", previous)];
            Verifier::new(&secrets, jwks, Expected::default()).err().unwrap().to_string()
        };
        assert!(check("short", "", "").contains("jwt_secret has 5 bytes"));
        assert!(check(SECRET, "short", "").contains("jwt_secret_previous has 5 bytes"));
        assert!(check("", "", " ").contains("jwt_secret, or jwks"));
        for jwks in [
            "[]",
            "{}",
            r#"{"keys": []}"#,
            r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#,
            r#"{"keys": [{"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}]}"#,
        ] {
            assert!(check(SECRET, "", jwks).contains("the variable jwks"), "{jwks}");
        }
        let bad_keys = [
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA", "n": "A".repeat(400), "e": "AQAB"}),
            // An odd number of 2040 bits, and a zero byte before it.
            json!({"kty": "RSA", "n": format!("AP{}", "_".repeat(340)), "e": "AQAB"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        ];
        for mut key in bad_keys {
            key["kid"] = json!("the-bad-one");
            let set = json!({"keys": [key]}).to_string();
            let said = check(SECRET, "", &set);
            assert!(said.contains("bad key the-bad-one"), "{key}: {said}");
        }
    }

    #[test]
    fn a_token_of_the_secret_before_is_still_good() {
        let claims = json!({"sub": USER, "exp": in_an_hour()});
        assert!(check(&sign(claims.clone(), "HS256", OLD_SECRET)).is_ok());
        assert!(check(&sign(claims, "HS256", "a secret of nobody's, of more than 32 bytes")).is_err());
    }

    #[test]
    fn issuer_and_audience_are_checked_where_they_are_said() {
        let verifier = verifier("", Expected { issuer: "https://issuer.example", audience: "tasks" });
        let check = |extra: Value| {
            let mut claims = json!({"sub": USER, "exp": in_an_hour()});
            claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            verifier.user(Token::Bearer(sign(claims, "HS256", SECRET).as_bytes())).is_ok()
        };
        assert!(check(json!({"iss": "https://issuer.example", "aud": "tasks"})));
        assert!(check(json!({"iss": "https://issuer.example", "aud": ["others", "tasks"]})));
        for wrong in [
            json!({"iss": "https://issuer.example"}),
            json!({"aud": "tasks"}),
            json!({"iss": "https://issuer.example/", "aud": "tasks"}),
            json!({"iss": "https://issuer.example", "aud": ["others"]}),
            json!({"iss": ["https://issuer.example"], "aud": "tasks"}),
            json!({}),
        ] {
            assert!(!check(wrong.clone()), "{wrong}");
        }
        let unasked = json!({"sub": USER, "exp": in_an_hour(), "iss": "anybody", "aud": "anything"});
        assert!(super::tests::check(&sign(unasked, "HS256", SECRET)).is_ok());
    }

    #[test]
    fn a_token_of_the_far_future_or_of_great_length_or_with_extensions_is_refused() {
        let now = in_an_hour() - 3600;
        let with = |extra: Value| {
            let mut claims = json!({"sub": USER, "exp": in_an_hour()});
            claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            check(&sign(claims, "HS256", SECRET)).is_ok()
        };
        assert!(with(json!({"iat": now + 60})), "clocks differ");
        assert!(!with(json!({"iat": now + 3000})));
        assert!(!with(json!({"iat": "soon"})));
        assert!(with(json!({"more": "x".repeat(4 * 1024)})));
        assert!(!with(json!({"more": "x".repeat(8 * 1024)})));
        let header = json!({"alg": "HS256", "typ": "JWT", "crit": ["b64"], "b64": false});
        let message =
            [header, json!({"sub": USER, "exp": in_an_hour()})].map(|part| BASE64.encode(part.to_string()));
        let message = message.join(".");
        let token = format!("{message}.{}", hmac::<Hmac<Sha256>>(&message, SECRET));
        assert!(check(&token).is_err());
    }

    #[test]
    fn a_payload_that_is_not_all_utf_8_is_refused() {
        for (name, good) in [("\u{e9}".as_bytes(), true), (b"\xe9", false)] {
            let claims = json!({"sub": USER, "exp": in_an_hour(), "name": "?"}).to_string();
            let (before, after) = claims.split_once('?').unwrap();
            let payload = BASE64.encode([before.as_bytes(), name, after.as_bytes()].concat());
            let message = format!("{}.{payload}", BASE64.encode(r#"{"alg":"HS256"}"#));
            let token = format!("{message}.{}", hmac::<Hmac<Sha256>>(&message, SECRET));
            assert_eq!(check(&token).is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn a_token_that_is_there_twice_is_none() {
        for pairs in [
            [(header::AUTHORIZATION, "Bearer one"), (header::AUTHORIZATION, "Bearer two")],
            [(header::COOKIE, "auth_token=one"), (header::COOKIE, "auth_token=one")],
            [(header::COOKIE, "auth_token=one; auth_token=two"), (header::ACCEPT, "*/*")],
            [(header::AUTHORIZATION, "Bearer one\u{e9}"), (header::AUTHORIZATION, "Bearer two")],
            [(header::COOKIE, "auth_token=one; name=\u{e9}"), (header::COOKIE, "auth_token=two")],
            [(header::COOKIE, "auth_token=one\u{e9}"), (header::COOKIE, "auth_token=two")],
        ] {
            assert_eq!(token(&headers(&pairs)).unwrap_err().to_string(), "Invalid or expired token");
        }
    }

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn the_header_wins_over_the_cookie() {
        let both = headers(&[(header::AUTHORIZATION, "bearer one"), (header::COOKIE, "auth_token=two")]);
        assert_eq!(token(&both).unwrap(), Token::Bearer(b"one"));
        let cookie = headers(&[(header::COOKIE, "a=b; auth_token=two; c=d")]);
        assert_eq!(token(&cookie).unwrap(), Token::Cookie(b"two"));
        let beside_another = headers(&[(header::COOKIE, "name=Jos\u{e9}; auth_token=two")]);
        assert_eq!(token(&beside_another).unwrap(), Token::Cookie(b"two"));
        let bad_beside_cookie =
            headers(&[(header::AUTHORIZATION, "Bearer \u{e9}"), (header::COOKIE, "auth_token=two")]);
        assert_eq!(token(&bad_beside_cookie).unwrap(), Token::Bearer("\u{e9}".as_bytes()));
        let other_scheme =
            headers(&[(header::AUTHORIZATION, "Basic abc"), (header::COOKIE, "auth_token=two")]);
        assert_eq!(token(&other_scheme).unwrap(), Token::Cookie(b"two"));
    }

    #[test]
    fn only_the_whole_token_is_internal() {
        let sent = |token| headers(&[(header::HeaderName::from_static("dapr-api-token"), token)]);
        assert!(is_internal(&sent("secret"), "secret"));
        for (token, expected) in [("secre", "secret"), ("Secret", "secret"), ("", "secret"), ("", "")] {
            assert!(!is_internal(&sent(token), expected), "{token} {expected}");
        }
        assert!(!is_internal(&HeaderMap::new(), "secret"));
        let scraped = |value| headers(&[(header::AUTHORIZATION, value)]);
        assert!(is_internal(&scraped("Bearer secret"), "secret"));
        for value in ["Bearer secre", "Bearer ", "Basic secret", "secret"] {
            assert!(!is_internal(&scraped(value), "secret"), "{value}");
            assert!(!is_internal(&scraped(value), ""), "{value}");
        }
    }

    #[test]
    fn no_token_is_an_error_of_its_own() {
        for pairs in [
            &[][..],
            &[(header::AUTHORIZATION, "Bearer ")],
            &[(header::COOKIE, "auth_token=")],
            &[(header::COOKIE, r#"auth_token="""#)],
        ] {
            assert_eq!(token(&headers(pairs)).unwrap_err().to_string(), "Not authenticated");
        }
    }
}
