//! The keys that tokens are checked with: secrets for HS256, and a JWK Set (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Map, Value};

use super::crypto::PublicKey;

/// The shortest secret for HS256, in bytes: as long as its hash (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;

/// A key with its name.
pub(super) struct Key {
    public: PublicKey,
    /// A token that names a key is checked with that one alone.
    id: Option<String>,
}

/// The keys of a set, and why others were ignored.
pub(super) struct KeySet {
    pub(super) keys: Vec<Key>,
    /// One text for each malformed key. Keys for other purposes are not among them.
    pub(super) ignored: Vec<String>,
}

impl Key {
    /// A secret for HS256.
    ///
    /// Errors: it is too short.
    pub(super) fn secret(secret: &str) -> Result<Key, String> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(format!("has {} bytes: it needs {MIN_SECRET_BYTES} at least", secret.len()));
        }
        Ok(Key { public: PublicKey::hs256(secret.as_bytes())?, id: None })
    }

    /// Whether a token whose header has this `alg` and this `kid` may be signed with the key.
    pub(super) fn fits(&self, algorithm: &str, id: Option<&str>) -> bool {
        let named = self.id.is_none() || id.is_none() || self.id.as_deref() == id;
        self.public.is_for(algorithm) && named
    }

    /// Whether the signature was made over the message with this key.
    pub(super) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        self.public.accepts(message, signature)
    }
}

/// The keys of a JWK Set that sign by RS256, ES256 or Ed25519. Keys for other purposes are passed
/// over, and malformed ones ignored (RFC 7517 §5).
///
/// Errors: the text is not a JWK Set, or none of its keys can be used. They quote no more of the
/// text than `kid`s.
pub(super) fn set(text: &str) -> Result<KeySet, String> {
    // An editor may have put a byte order mark before the text (RFC 8259 §8.1).
    let text = text.trim_start_matches('\u{feff}');
    let set: Value = serde_json::from_str(text).map_err(|error| format!("is no JWK Set: {error}"))?;
    let members = set.get("keys").and_then(Value::as_array).ok_or("is no JWK Set: it has no list of keys")?;
    let (mut keys, mut ignored) = (Vec::new(), Vec::new());
    for (place, member) in members.iter().enumerate() {
        match key(member) {
            Ok(key) => keys.extend(key),
            Err(error) => ignored.push(format!("bad key {}: {error}", name(place, member))),
        }
    }
    if keys.is_empty() {
        let why: String = ignored.iter().map(|bad| format!("; {bad}")).collect();
        return Err(format!("has no key for RS256, ES256 or EdDSA{why}"));
    }
    Ok(KeySet { keys, ignored })
}

/// How a key is called in the log: by its `kid`, or by its place in the set.
fn name(place: usize, member: &Value) -> String {
    match member.get("kid").and_then(Value::as_str) {
        Some(id) => id.to_owned(),
        None => format!("number {} (without kid)", place + 1),
    }
}

/// The key that a member of a set is; `None` for a key that is not for signatures by these
/// algorithms.
///
/// Errors: what is wrong with it.
fn key(member: &Value) -> Result<Option<Key>, String> {
    let jwk = Jwk(member.as_object().ok_or("it is not an object")?);
    let kty = jwk.required("kty")?;
    let (purpose, algorithm) = (jwk.text("use")?, jwk.text("alg")?);
    if purpose.is_some_and(|purpose| purpose != "sig") || !jwk.may_verify()? {
        return Ok(None);
    }
    let is_for = |names: &[&str]| algorithm.is_none_or(|algorithm| names.contains(&algorithm));
    let public = match kty {
        "RSA" if is_for(&["RS256"]) => PublicKey::rs256(&jwk.bytes("n")?, &jwk.bytes("e")?)?,
        "EC" if is_for(&["ES256"]) => match jwk.required("crv")? {
            "P-256" => PublicKey::es256(&jwk.bytes("x")?, &jwk.bytes("y")?)?,
            _ => return Ok(None),
        },
        "OKP" if is_for(&["EdDSA", "Ed25519"]) => match jwk.required("crv")? {
            "Ed25519" => PublicKey::ed25519(&jwk.bytes("x")?)?,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(Key { public, id: jwk.text("kid")?.map(str::to_owned) }))
}

/// A JSON Web Key. A member that is null counts as absent, since some libraries write all members.
struct Jwk<'a>(&'a Map<String, Value>);

impl<'a> Jwk<'a> {
    fn member(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| format!("{name} is not a text"));
        self.member(name).map(text).transpose()
    }

    fn required(&self, name: &str) -> Result<&'a str, String> {
        self.text(name)?.ok_or_else(|| format!("it has no {name}"))
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, String> {
        BASE64URL.decode(self.required(name)?).map_err(|_| format!("{name} is not base64url without padding"))
    }

    /// Whether its operations, if it names some, include checking signatures (RFC 7517 §4.3).
    fn may_verify(&self) -> Result<bool, String> {
        let Some(operations) = self.member("key_ops") else { return Ok(true) };
        let operations = operations.as_array().ok_or("key_ops is not a list")?;
        Ok(operations.iter().any(|operation| operation == "verify"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The generator of P-256 (SEC 2 §2.4.2).
    fn good() -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "kid": "good",
            "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
            "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
        })
    }

    fn with(changes: Value) -> Value {
        let mut key = good();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    }

    fn without(member: &str) -> Value {
        let mut key = good();
        key.as_object_mut().unwrap().remove(member);
        key
    }

    fn read(keys: &[Value]) -> Result<KeySet, String> {
        set(&json!({"keys": keys}).to_string())
    }

    #[test]
    fn a_malformed_key_is_ignored_and_named_and_the_others_are_used() {
        let modulus = "_".repeat(342);
        for (bad, why) in [
            (json!({}), "it has no kty"),
            (json!(null), "it is not an object"),
            (json!("key"), "it is not an object"),
            (without("kty"), "it has no kty"),
            (without("y"), "it has no y"),
            (with(json!({"crv": null})), "it has no crv"),
            (with(json!({"crv": 256})), "crv is not a text"),
            (with(json!({"kid": 7})), "kid is not a text"),
            (with(json!({"key_ops": "verify"})), "key_ops is not a list"),
            (with(json!({"x": "AA"})), "x and y need 32 bytes each"),
            (with(json!({"y": good()["x"]})), "x and y are not a point of P-256"),
            (
                json!({"kty": "RSA", "n": format!("{modulus}=="), "e": "AQAB"}),
                "n is not base64url without padding",
            ),
            (json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), "its modulus has 17 bits: RS256 needs 2048"),
            // An odd number of 2040 bits, and a zero byte before it.
            (
                json!({"kty": "RSA", "n": format!("AP{}w", "_".repeat(339)), "e": "AQAB"}),
                "its modulus has 2040 bits",
            ),
            (json!({"kty": "RSA", "n": "A".repeat(400), "e": "AQAB"}), "its modulus has 0 bits"),
            (json!({"kty": "RSA", "x5c": ["MIIB"]}), "it has no n"),
            (json!({"x5c": ["MIIB"]}), "it has no kty"),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}), "x is not a point of Ed25519"),
        ] {
            let set = read(&[bad.clone(), good()]).unwrap();
            assert_eq!((set.keys.len(), set.ignored.len()), (1, 1), "{bad}");
            assert!(set.keys[0].fits("ES256", Some("good")));
            assert!(set.ignored[0].starts_with("bad key "), "{bad}");
            assert!(set.ignored[0].contains(why), "{bad}: {}", set.ignored[0]);
            let error = read(std::slice::from_ref(&bad)).err().unwrap();
            assert!(error.starts_with("has no key for RS256, ES256 or EdDSA; bad key "), "{bad}: {error}");
        }
        assert!(read(&[json!({"kid": "its name"}), good()]).unwrap().ignored[0].contains("its name"));
        assert!(read(&[good(), json!({})]).unwrap().ignored[0].contains("number 2"));
    }

    #[test]
    fn keys_for_others_are_passed_over() {
        for other in [
            with(json!({"use": "enc"})),
            with(json!({"alg": "ES384"})),
            with(json!({"key_ops": ["sign"]})),
            with(json!({"key_ops": []})),
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
            json!({"kty": "ML-DSA", "alg": "ML-DSA-65"}),
        ] {
            let set = read(&[other.clone(), good()]).unwrap();
            assert_eq!((set.keys.len(), set.ignored.len()), (1, 0), "{other}");
            assert_eq!(read(&[other]).err().unwrap(), "has no key for RS256, ES256 or EdDSA");
        }
    }

    #[test]
    fn members_that_are_null_count_as_absent() {
        let nulls = json!({"use": null, "alg": null, "key_ops": null, "kid": null, "n": null});
        let set = read(&[with(nulls)]).unwrap();
        assert!(set.keys[0].fits("ES256", Some("any")) && set.ignored.is_empty());
        let verifying = with(json!({"use": "sig", "key_ops": ["sign", "verify"]}));
        assert_eq!(read(&[verifying]).unwrap().keys.len(), 1);
    }

    #[test]
    fn a_text_may_begin_with_a_byte_order_mark() {
        assert!(set(&format!("\u{feff}{}", json!({"keys": [good()]}))).is_ok());
    }

    #[test]
    fn what_is_no_set_is_not_quoted() {
        for text in ["[]", "{}", r#""a secret""#, r#"{"keys": "a secret"}"#, "a secret", r#"{"keys": []}"#] {
            let error = set(text).err().unwrap();
            assert!(error.starts_with("is no JWK Set: ") || error.starts_with("has no key"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
