//! The keys that tokens are checked with: secrets for HS256, and a JWK Set (RFC 7517).

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::crypto;
use crate::error::Error;

/// The shortest secret for HS256, in bytes: as long as its hash (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A key. It is for one algorithm, whatever a token says.
pub(super) struct Key {
    pub(super) key: DecodingKey,
    pub(super) validation: Validation,
    /// A token that names a key is checked with that one alone.
    pub(super) id: Option<String>,
}

/// What tokens have to say of who made them, and for whom; empty: anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `aud`, or one of them.
    pub audience: &'a str,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<PublicKey>,
}

#[derive(Deserialize)]
struct PublicKey {
    kty: String,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
}

/// For HS256. `variable` is what the secret is called.
pub(super) fn secret(variable: &str, secret: &str, expected: Expected<'_>) -> Result<Key, Error> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(Error::Internal(format!(
            "the variable {variable} has {} bytes: it needs {MIN_SECRET_BYTES} at least",
            secret.len()
        )));
    }
    Ok(Key::new(DecodingKey::from_secret(secret.as_bytes()), Algorithm::HS256, None, expected))
}

/// Every key of a JWK Set that signs by RS256, ES256 or EdDSA. Others are passed over, since a set may have keys for others.
pub(super) fn set(text: &str, expected: Expected<'_>) -> Result<Vec<Key>, Error> {
    let wrong = |what: String| Error::Internal(format!("the variable jwks {what}"));
    let set: KeySet = serde_json::from_str(text).map_err(|error| wrong(format!("is no JWK Set: {error}")))?;
    let mut keys = Vec::new();
    for public in set.keys {
        let name = public.kid.clone().unwrap_or_else(|| "without kid".to_owned());
        keys.extend(public.key(expected).map_err(|error| wrong(format!("has a bad key {name}: {error}")))?);
    }
    if keys.is_empty() {
        return Err(wrong("has no key for RS256, ES256 or EdDSA".to_owned()));
    }
    Ok(keys)
}

impl PublicKey {
    /// `None` when it is for something else.
    fn key(self, expected: Expected<'_>) -> Result<Option<Key>, String> {
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Ok(None);
        }
        let is_for = |algorithm: &str| self.alg.as_deref().is_none_or(|alg| alg == algorithm);
        let (algorithm, key) = match (self.kty.as_str(), self.crv.as_str()) {
            ("RSA", _) if is_for("RS256") => {
                (Algorithm::RS256, DecodingKey::from_rsa_components(&self.n, &self.e))
            }
            ("EC", "P-256") if is_for("ES256") => {
                (Algorithm::ES256, DecodingKey::from_ec_components(&self.x, &self.y))
            }
            ("OKP", "Ed25519") if is_for("EdDSA") || is_for("Ed25519") => {
                (Algorithm::EdDSA, DecodingKey::from_ed_components(&self.x))
            }
            _ => return Ok(None),
        };
        let key = key.map_err(|error| error.to_string())?;
        crypto::check_key(algorithm, &key).map_err(|error| error.to_string())?;
        Ok(Some(Key::new(key, algorithm, self.kid, expected)))
    }
}

impl Key {
    fn new(key: DecodingKey, algorithm: Algorithm, id: Option<String>, expected: Expected<'_>) -> Key {
        let mut validation = Validation::new(algorithm);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = !expected.audience.is_empty();
        let mut required = vec!["exp"];
        if validation.validate_aud {
            validation.set_audience(&[expected.audience]);
            required.push("aud");
        }
        if !expected.issuer.is_empty() {
            validation.set_issuer(&[expected.issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        Key { key, validation, id }
    }

    /// Whether it may be the one that a token was signed with.
    pub(super) fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let named = self.id.is_none() || id.is_none() || self.id.as_deref() == id;
        self.validation.algorithms.contains(&algorithm) && named
    }
}
