//! A token's form (RFC 7515 §3.1, RFC 7519) and its claims. Nothing here checks a signature.
//!
//! Errors are reasons for the log. They never quote the token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Expected;

/// Upper bound for the length of a token, in bytes. One with a few hundred claims fits.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// How far ahead of ours the clock of a token's issuer may be, in seconds. It holds for `nbf` and
/// for `iat`.
pub(super) const CLOCK_SKEW: f64 = 300.0;

/// A token in its parts.
pub(super) struct Jwt<'a> {
    header: Header,
    /// What was signed: header and claims as they were sent.
    pub(super) message: &'a [u8],
    claims: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// Members of a header. The others are hints to keys, which come from the configuration alone.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Member,
}

/// The registered claims that count here (RFC 7519 §4.1).
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    sub: Member,
    exp: Member,
    nbf: Member,
    iat: Member,
    iss: Member,
    aud: Member,
}

/// A member of a JSON object that may be absent. Null is a value like any other.
#[derive(Default)]
struct Member(Option<Value>);

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        Value::deserialize(deserializer).map(|value| Member(Some(value)))
    }
}

impl<'a> Jwt<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a [u8]) -> Result<Jwt<'a>, &'static str> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("the token is too long");
        }
        let mut dots = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(place, _)| place);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err("the token is not a JWT: it has not three parts");
        };
        let (message, signature) = token.split_at(second);
        let (header, claims) = message.split_at(first);
        let [signature, claims] = [signature, claims].map(|part| part.get(1..).unwrap_or_default());
        let header: Header = object(header).ok_or("the token's header is not a JWS header in JSON")?;
        // What a token declares critical has to be understood (RFC 7515 §4.1.11), and no extension
        // is.
        if header.crit.0.is_some() {
            return Err("the token's header has critical extensions");
        }
        let signature = BASE64URL.decode(signature).map_err(|_| "the token's signature is not base64url")?;
        Ok(Jwt { header, message, claims, signature })
    }

    /// `alg` of its header.
    pub(super) fn algorithm(&self) -> &str {
        &self.header.alg
    }

    /// `kid` of its header.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Its claims. They mean something only after the signature was checked.
    pub(super) fn claims(&self) -> Result<Claims, &'static str> {
        object(self.claims).ok_or("the token's claims are not a JSON object")
    }
}

impl Claims {
    /// Checks all claims but `sub` at this time, in seconds since 1970.
    pub(super) fn check(&self, expected: Expected<'_>, now: f64) -> Result<(), &'static str> {
        // RFC 7519 §4.1.4: not on its expiration time, either.
        let expires = self.exp.time("the token has no exp that is a number")?;
        if now >= expires.ok_or("the token has no exp")? {
            return Err("the token has expired");
        }
        let latest = now + CLOCK_SKEW;
        if self.nbf.time("the token's nbf is not a number")?.is_some_and(|start| start > latest) {
            return Err("the token is not valid yet (nbf)");
        }
        if self.iat.time("the token's iat is not a number")?.is_some_and(|made_at| made_at > latest) {
            return Err("the token is of the future (iat)");
        }
        self.check_parties(expected)
    }

    /// Checks who made the token, and for whom.
    fn check_parties(&self, expected: Expected<'_>) -> Result<(), &'static str> {
        // A text (RFC 7519 §4.1.1), also where any will do: others may read a list in another way.
        let issuer = self.iss.0.as_ref().map(|value| value.as_str().ok_or("the token's iss is not a text"));
        let issuer = issuer.transpose()?;
        if !expected.issuer.is_empty() && issuer != Some(expected.issuer) {
            return Err("the token's iss is not jwt_issuer");
        }
        let is_for = |audience: &Value| audience == expected.audience;
        let is_for_us = match &self.aud.0 {
            Some(Value::Array(several)) => several.iter().all(Value::is_string) && several.iter().any(is_for),
            one => one.as_ref().is_some_and(is_for),
        };
        if !expected.audience.is_empty() && !is_for_us {
            return Err("the token's aud is not jwt_audience, nor does it contain it");
        }
        Ok(())
    }

    /// `sub`, if it is a text.
    pub(super) fn subject(&self) -> Option<&str> {
        self.sub.0.as_ref()?.as_str()
    }
}

impl Member {
    /// The seconds that it stands for, if it is there.
    fn time(&self, otherwise: &'static str) -> Result<Option<f64>, &'static str> {
        self.0.as_ref().map(|value| value.as_f64().ok_or(otherwise)).transpose()
    }
}

/// The JSON object that a part of a token is. No member that is asked for may be there twice, and
/// all of it has to be UTF-8 (RFC 7519 §7.2).
fn object<T: DeserializeOwned>(part: &[u8]) -> Option<T> {
    let text = String::from_utf8(BASE64URL.decode(part).ok()?).ok()?;
    // Serde would also take a list of the members' values.
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: f64 = 1_800_000_000.0;

    fn check(claims: Value) -> Result<(), &'static str> {
        let claims: Claims = serde_json::from_value(claims).unwrap();
        claims.check(Expected::default(), NOW)
    }

    #[test]
    fn a_token_is_good_until_the_second_in_which_it_expires() {
        assert_eq!(check(json!({"exp": NOW + 1.0})), Ok(()));
        assert_eq!(check(json!({"exp": NOW + 0.5})), Ok(()));
        for exp in [json!(NOW as i64), json!(NOW), json!(NOW - 0.5), json!(0), json!(-1)] {
            assert_eq!(check(json!({"exp": exp})), Err("the token has expired"));
        }
        for exp in [json!(null), json!("1900000000"), json!([]), json!({})] {
            assert_eq!(check(json!({"exp": exp})), Err("the token has no exp that is a number"));
        }
        assert_eq!(check(json!({})), Err("the token has no exp"));
    }

    #[test]
    fn clocks_may_differ_by_five_minutes() {
        for claim in ["nbf", "iat"] {
            for good in [0.0, NOW, NOW + 2.0, NOW + 300.0] {
                assert_eq!(check(json!({"exp": NOW + 600.0, claim: good})), Ok(()), "{claim} {good}");
            }
            assert!(check(json!({"exp": NOW + 600.0, claim: NOW + 300.5})).is_err(), "{claim}");
        }
    }

    #[test]
    fn a_part_is_an_object_whose_members_are_there_once() {
        let claims = |text: &str| object::<Claims>(BASE64URL.encode(text).as_bytes()).is_some();
        assert!(claims(r#" {"exp": 1, "more": 1, "more": 2}"#));
        for wrong in ["", "[]", r#"["sub", 1, 1, 1, "iss"]"#, "null", r#"{"exp": 1, "exp": 2}"#, "{} {}"] {
            assert!(!claims(wrong), "{wrong}");
        }
        assert!(object::<Claims>(b"e30=").is_none(), "with padding");
    }

    #[test]
    fn an_extension_counts_whatever_it_is() {
        for crit in ["null", "[]", r#"["b64"]"#] {
            let header = BASE64URL.encode(format!(r#"{{"alg":"HS256","crit":{crit}}}"#));
            let error = Jwt::parse(format!("{header}.e30.AA").as_bytes()).err();
            assert_eq!(error, Some("the token's header has critical extensions"), "{crit}");
        }
    }
}
