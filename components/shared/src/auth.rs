//! Who is calling (docs/contract.md, "Who is calling").

use http::{HeaderMap, HeaderValue, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::error::Error;

mod hs256;

/// The header with which the app's sidecar proves itself.
pub const SIDECAR_TOKEN: &str = "dapr-api-token";

/// The cookie that carries a token.
const TOKEN_COOKIE: &str = "auth_token";

/// The shortest secret for HS256, in bytes: as long as its hash (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// Checks tokens. The algorithm is the key's, never the token's.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

/// A token as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// In `Authorization: Bearer …`.
    Bearer(&'a str),
    /// In the cookie `auth_token`, which browsers send by themselves: the origin must be checked too.
    Cookie(&'a str),
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Value,
}

impl Verifier {
    /// For HS256 with the application's secret.
    pub fn hs256(secret: &str) -> Result<Verifier, Error> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(Error::Internal(format!(
                "the variable jwt_secret has {} bytes: it needs {MIN_SECRET_BYTES} at least",
                secret.len()
            )));
        }
        hs256::install();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        Ok(Verifier { key: DecodingKey::from_secret(secret.as_bytes()), validation })
    }

    /// The user that a token is for.
    pub fn user(&self, token: Token<'_>) -> Result<Uuid, Error> {
        let (Token::Bearer(token) | Token::Cookie(token)) = token;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|_| Error::INVALID_TOKEN)?
            .claims;
        claims.sub.as_str().and_then(|sub| Uuid::parse_str(sub).ok()).ok_or(Error::INVALID_TOKEN_PAYLOAD)
    }
}

/// Whether a request carries the token that the app's sidecar sends with every call; never with an empty one. The time
/// of the comparison says nothing about the token but its length.
pub fn is_sidecar(headers: &HeaderMap, expected: &str) -> bool {
    let sent = headers.get(SIDECAR_TOKEN).map(HeaderValue::as_bytes).unwrap_or_default();
    !expected.is_empty() && bool::from(sent.ct_eq(expected.as_bytes()))
}

/// The token of a request; the header wins over the cookie.
pub fn token(headers: &HeaderMap) -> Result<Token<'_>, Error> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
    bearer.or_else(|| cookie(headers)).ok_or(Error::NOT_AUTHENTICATED)
}

fn bearer(authorization: &str) -> Option<Token<'_>> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(Token::Bearer(token))
}

fn cookie(headers: &HeaderMap) -> Option<Token<'_>> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, value)| *name == TOKEN_COOKIE && !value.is_empty())
        .map(|(_, value)| Token::Cookie(value.trim_matches('"')))
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
        let verifier = Verifier::hs256(SECRET).unwrap();
        verifier.user(Token::Bearer(token)).map_err(|error| error.to_string())
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
    fn a_short_secret_is_refused() {
        assert!(Verifier::hs256("short").is_err());
    }

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_header_wins_over_the_cookie() {
        let both = headers(&[(header::AUTHORIZATION, "bearer one"), (header::COOKIE, "auth_token=two")]);
        assert_eq!(token(&both).unwrap(), Token::Bearer("one"));
        let cookie = headers(&[(header::COOKIE, "a=b; auth_token=two; c=d")]);
        assert_eq!(token(&cookie).unwrap(), Token::Cookie("two"));
        let other_scheme =
            headers(&[(header::AUTHORIZATION, "Basic abc"), (header::COOKIE, "auth_token=two")]);
        assert_eq!(token(&other_scheme).unwrap(), Token::Cookie("two"));
    }

    #[test]
    fn only_the_whole_token_is_the_sidecars() {
        let sent = |token| headers(&[(header::HeaderName::from_static("dapr-api-token"), token)]);
        assert!(is_sidecar(&sent("secret"), "secret"));
        for (token, expected) in [("secre", "secret"), ("Secret", "secret"), ("", "secret"), ("", "")] {
            assert!(!is_sidecar(&sent(token), expected), "{token} {expected}");
        }
        assert!(!is_sidecar(&HeaderMap::new(), "secret"));
    }

    #[test]
    fn no_token_is_an_error_of_its_own() {
        for pairs in [&[][..], &[(header::AUTHORIZATION, "Bearer ")], &[(header::COOKIE, "auth_token=")]] {
            assert_eq!(token(&headers(pairs)).unwrap_err().to_string(), "Not authenticated");
        }
    }
}
