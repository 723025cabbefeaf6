//! Tokens that are signed with the app's keys, or not, and then perhaps changed; and whether one ought to be accepted.

use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Signer;
use serde_json::{Value, json};
use sha2::Sha256;
use shared::auth::{Expected, Verifier};

const SECRET: &str = "a secret of more than thirty-two bytes";
const PREVIOUS: &str = "the secret of before, which is long enough, too";
const STRANGER: &str = "the secret of a stranger, which is long enough";
/// The public half of a key that nobody has the other half of.
const RSA_MODULUS: &str = include_str!("rsa_modulus.txt");

/// Who has to have made a token, and for whom, where that is said.
pub const EXPECTED: Expected<'_> = Expected { issuer: "https://issuer.example", audience: "tasks" };

/// A token, and what was really signed.
pub struct Sent {
    /// As it is sent.
    pub token: String,
    /// Header and claims with the name of the key, if one was used.
    signed: Option<(String, String)>,
    /// Whether it is sent as it was signed.
    untouched: bool,
}

/// A verifier with two secrets, and an RSA, an EC and an Ed25519 key.
pub fn verifier(expected: Expected<'_>) -> Verifier {
    let point = ec_key().verifying_key().to_sec1_point(false);
    let coordinate = |bytes: Option<&_>| bytes.map(|bytes: &p256::FieldBytes| BASE64.encode(bytes));
    let keys = json!({"keys": [
        {"kty": "RSA", "kid": "rsa", "n": RSA_MODULUS.trim(), "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "kid": "ec", "x": coordinate(point.x()), "y": coordinate(point.y())},
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": BASE64.encode(ed_key().verifying_key())},
    ]});
    let secrets = [("jwt_secret", SECRET), ("jwt_secret_previous", PREVIOUS)];
    Verifier::new(&secrets, &keys.to_string(), expected).expect("the keys are good")
}

fn ec_key() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[9; 32]).expect("a scalar of P-256")
}

fn ed_key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[7; 32])
}

/// Four lines: the name of a key, header, claims, and edits of three bytes each: in which part of the token, where in it, and
/// what is there then. Behind `raw`, everything is the token itself.
pub fn read(input: &[u8]) -> Option<Sent> {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let (key, rest) = (lines.next()?, lines.next()?);
    if key == b"raw" {
        let token = String::from_utf8(rest.to_owned()).ok()?;
        return Some(Sent { token, signed: None, untouched: false });
    }
    let mut lines = rest.splitn(3, |byte| *byte == b'\n');
    let message = [lines.next()?, lines.next()?].map(|part| BASE64.encode(part)).join(".");
    let key = std::str::from_utf8(key).ok()?;
    let mut bytes = format!("{message}.{}", BASE64.encode(sign(key, &message)?)).into_bytes();
    let edits = lines.next().unwrap_or_default();
    for [part, position, byte] in edits.as_chunks::<3>().0 {
        edit(&mut bytes, usize::from(*part), usize::from(*position), *byte);
    }
    let signed = Some((key.to_owned(), message));
    Some(Sent { token: String::from_utf8(bytes).ok()?, signed, untouched: edits.is_empty() })
}

/// Puts a letter of base64url at a place in a part, or, from 128 on, any character of ASCII.
fn edit(token: &mut [u8], part: usize, position: usize, byte: u8) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let part = token.split_mut(|byte| *byte == b'.').nth(part % 3);
    let Some(part) = part.filter(|part| !part.is_empty()) else { return };
    part[position % part.len()] = if byte < 128 { LETTERS[usize::from(byte % 64)] } else { byte & 127 };
}

fn sign(key: &str, message: &str) -> Option<Vec<u8>> {
    Some(match key {
        "secret" => hs256(SECRET, message),
        "previous" => hs256(PREVIOUS, message),
        "stranger" => hs256(STRANGER, message),
        "ec" => {
            let signature: p256::ecdsa::Signature = ec_key().sign(message.as_bytes());
            signature.to_bytes().to_vec()
        }
        "ed" => ed_key().sign(message.as_bytes()).to_bytes().to_vec(),
        // Secrets that would fit if a public key could be taken for one.
        "rsa" => hs256(RSA_MODULUS.trim(), message),
        "none" => Vec::new(),
        _ => return None,
    })
}

fn hs256(secret: &str, message: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

impl Sent {
    /// The same token with one letter changed in each of its parts; which one, and to what, follows from the token.
    pub fn tampered(&self) -> impl Iterator<Item = Sent> {
        (0..3).filter_map(|part| {
            let mut hasher = DefaultHasher::new();
            (part, &self.token).hash(&mut hasher);
            let [position, byte, ..] = hasher.finish().to_ne_bytes();
            let mut bytes = self.token.clone().into_bytes();
            edit(&mut bytes, part, usize::from(position), byte & 127);
            let token = String::from_utf8(bytes).ok()?;
            Some(Sent { token, signed: self.signed.clone(), untouched: false })
        })
    }

    /// The claims, if it is signed with one of the verifier's keys as its header says.
    pub fn genuine(&self) -> Option<Value> {
        let parts: Vec<&str> = self.token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { return None };
        let text = |part: &str| String::from_utf8(BASE64.decode(part).ok()?).ok();
        let json = |part: &str| serde_json::from_str::<Value>(&text(part)?).ok();
        let header_json = json(header)?;
        let message = format!("{header}.{claims}");
        let names = |kid: &str| header_json["kid"].as_str().is_none_or(|named| named == kid);
        let signed_by =
            |key: &str| self.signed.as_ref().is_some_and(|(by, what)| by == key && *what == message);
        let signed = match header_json["alg"].as_str()? {
            "HS256" => {
                [SECRET, PREVIOUS].iter().any(|secret| BASE64.encode(hs256(secret, &message)) == *signature)
            }
            "ES256" => names("ec") && signed_by("ec"),
            "EdDSA" | "Ed25519" => names("ed") && signed_by("ed"),
            _ => false,
        };
        let understood = header_json.get("crit").is_none() && self.token.len() <= 8 * 1024;
        if signed && understood { json(claims) } else { None }
    }

    /// Whether it is beyond doubt one that has to be accepted: nothing in it but what has to be.
    pub fn is_plain(&self, now: f64) -> bool {
        const HEADERS: [(&str, &str); 5] = [
            ("secret", r#"{"alg":"HS256","typ":"JWT"}"#),
            ("previous", r#"{"alg":"HS256","typ":"JWT"}"#),
            ("ec", r#"{"alg":"ES256","typ":"JWT"}"#),
            ("ed", r#"{"alg":"EdDSA","typ":"JWT"}"#),
            ("ed", r#"{"alg":"Ed25519","typ":"JWT"}"#),
        ];
        let Some((key, message)) = &self.signed else { return false };
        let Some((header, claims)) = message.split_once('.') else { return false };
        let text = |part: &str| String::from_utf8(BASE64.decode(part).ok()?).ok();
        let claims = text(claims).and_then(|claims| serde_json::from_str::<Value>(&claims).ok());
        let Some(Value::Object(claims)) = claims else { return false };
        let exp = claims.get("exp").and_then(Value::as_u64).is_some_and(|exp| exp as f64 > now + 10.0);
        let sub = claims.get("sub").and_then(Value::as_str).and_then(crate::rules::uuid_digits);
        let known = HEADERS.iter().any(|(by, plain)| by == key && text(header).as_deref() == Some(plain));
        self.untouched && known && exp && sub.is_some() && claims.len() == 2 && self.token.len() < 4096
    }
}
