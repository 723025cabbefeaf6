//! Who is calling (docs/contract.md, "Who is calling").

use http::{HeaderMap, HeaderValue, header};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::error::{BrokenVariable, Error};
use jwt::Jwt;
use keys::Key;

mod crypto;
mod jwt;
mod keys;
#[cfg(test)]
mod tests;

/// The header with which the app's sidecar proves itself.
const SIDECAR_TOKEN: &str = "dapr-api-token";

/// The cookie that carries a token.
const TOKEN_COOKIE: &[u8] = b"auth_token";

/// Checks tokens. The algorithm is the key's, never the token's.
pub struct Verifier {
    keys: Vec<Key>,
    ignored_keys: Vec<String>,
    issuer: String,
    audience: String,
}

/// What tokens must say about who made them and for whom. Empty: anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `aud`, or one of them.
    pub audience: &'a str,
}

/// A token as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// In `Authorization: Bearer …`.
    Bearer(&'a [u8]),
    /// In the cookie `auth_token`, which browsers send by themselves: the origin must be checked too.
    Cookie(&'a [u8]),
}

impl Verifier {
    /// Creates a verifier from secrets for HS256, each with the name of its variable, and a JWK
    /// Set. Empty ones do not count. A token may be signed with any of the keys, so that keys can
    /// be rotated.
    ///
    /// Errors: `Configuration` with each secret that is too short, a set without a key, and
    /// `jwt_secret` when there is no key at all.
    pub fn new(
        secrets: &[(&'static str, &str)],
        jwks: &str,
        expected: Expected<'_>,
    ) -> Result<Verifier, Error> {
        let (mut keys, mut ignored_keys, mut broken) = (Vec::new(), Vec::new(), Vec::new());
        for (name, secret) in secrets.iter().filter(|(_, secret)| !secret.is_empty()) {
            match Key::secret(secret) {
                Ok(key) => keys.push(key),
                Err(error) => broken.push(BrokenVariable { name, error }),
            }
        }
        if !jwks.trim().is_empty() {
            match keys::set(jwks) {
                Ok(set) => {
                    keys.extend(set.keys);
                    ignored_keys = set.ignored;
                }
                Err(error) => broken.push(BrokenVariable { name: "jwks", error }),
            }
        }
        if keys.is_empty() && broken.is_empty() {
            let error = "is empty, and so is jwks: no token can be checked".to_owned();
            broken.push(BrokenVariable { name: "jwt_secret", error });
        }
        if !broken.is_empty() {
            return Err(Error::Configuration(broken));
        }
        let (issuer, audience) = (expected.issuer.to_owned(), expected.audience.to_owned());
        Ok(Verifier { keys, ignored_keys, issuer, audience })
    }

    /// Malformed keys of the JWK Set, which are ignored: one text for each, with its name and what
    /// is wrong.
    pub fn ignored_keys(&self) -> &[String] {
        &self.ignored_keys
    }

    /// The user that a token is for.
    pub fn user(&self, token: Token<'_>) -> Result<Uuid, Error> {
        let (Token::Bearer(token) | Token::Cookie(token)) = token;
        let subject = self.subject(token).map_err(Error::invalid_token)?;
        subject.and_then(|subject| Uuid::parse_str(&subject).ok()).ok_or(Error::INVALID_TOKEN_PAYLOAD)
    }

    /// `sub` of a token whose signature and other claims are right.
    fn subject(&self, token: &[u8]) -> Result<Option<String>, &'static str> {
        let jwt = Jwt::parse(token)?;
        let mut fitting = self.keys.iter().filter(|key| key.fits(jwt.algorithm(), jwt.key_id())).peekable();
        if fitting.peek().is_none() {
            return Err("no key is configured for the token's alg and kid");
        }
        if !fitting.any(|key| key.accepts(jwt.message, &jwt.signature)) {
            return Err("the token's signature fits no key");
        }
        let claims = jwt.claims()?;
        let now = chrono::Utc::now().timestamp_micros() as f64 / 1e6;
        claims.check(Expected { issuer: &self.issuer, audience: &self.audience }, now)?;
        Ok(claims.subject().map(str::to_owned))
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
    match tokens.next() {
        None => Ok(token),
        Some(_) => Err(Error::invalid_token("the request has two tokens")),
    }
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
