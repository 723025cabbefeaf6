//! Keys that check signatures: HS256, RS256 and ES256 (RFC 7518), and Ed25519 (RFC 8037, RFC 9864).
//!
//! The primitives are RustCrypto's. A library for all of JWA would bring the other algorithms and
//! the making of signatures, which is most of the code, and a list of names that does not know
//! `Ed25519`.

use ed25519_dalek::VerifyingKey as Ed25519Key;
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature as EcSignature, VerifyingKey as EcKey};
use rsa::{BoxedUint, Pkcs1v15Sign, PublicKey as RsaKey};
use sha2::{Digest, Sha256};

/// The shortest modulus for RS256, in bits (RFC 7518 §3.3).
const MIN_MODULUS_BITS: u32 = 2048;

/// The length of a coordinate of P-256, in bytes (RFC 7518 §6.2.1.2).
const COORDINATE_BYTES: usize = 32;

/// A key for one algorithm, whatever a token says.
pub(super) enum PublicKey {
    Hs256(Hmac<Sha256>),
    Rs256(RsaKey),
    Es256(EcKey),
    Ed25519(Ed25519Key),
}

impl PublicKey {
    /// A secret for HS256.
    pub(super) fn hs256(secret: &[u8]) -> Result<PublicKey, String> {
        Hmac::new_from_slice(secret).map(PublicKey::Hs256).map_err(|error| error.to_string())
    }

    /// An RSA key for RS256, of modulus and exponent.
    pub(super) fn rs256(n: &[u8], e: &[u8]) -> Result<PublicKey, String> {
        let (n, e) = (BoxedUint::from_be_slice_vartime(n), BoxedUint::from_be_slice_vartime(e));
        let bits = n.bit_width_vartime();
        if bits < MIN_MODULUS_BITS {
            return Err(format!("its modulus has {bits} bits: RS256 needs {MIN_MODULUS_BITS}"));
        }
        RsaKey::new(n, e).map(PublicKey::Rs256).map_err(|error| error.to_string())
    }

    /// A point of P-256 for ES256.
    pub(super) fn es256(x: &[u8], y: &[u8]) -> Result<PublicKey, String> {
        if x.len() != COORDINATE_BYTES || y.len() != COORDINATE_BYTES {
            return Err(format!("x and y need {COORDINATE_BYTES} bytes each"));
        }
        let point = [&[4], x, y].concat();
        let key = EcKey::from_sec1_bytes(&point);
        key.map(PublicKey::Es256).map_err(|_| "x and y are not a point of P-256".to_owned())
    }

    /// A point of Ed25519.
    pub(super) fn ed25519(x: &[u8]) -> Result<PublicKey, String> {
        let key = x.try_into().ok().and_then(|x| Ed25519Key::from_bytes(x).ok());
        key.map(PublicKey::Ed25519).ok_or_else(|| "x is not a point of Ed25519".to_owned())
    }

    /// Whether a token whose header names this algorithm may be signed with the key.
    pub(super) fn is_for(&self, algorithm: &str) -> bool {
        match self {
            PublicKey::Hs256(_) => algorithm == "HS256",
            PublicKey::Rs256(_) => algorithm == "RS256",
            PublicKey::Es256(_) => algorithm == "ES256",
            // RFC 9864 §2.2: the same signature by its older and by its fully specified name.
            PublicKey::Ed25519(_) => matches!(algorithm, "EdDSA" | "Ed25519"),
        }
    }

    /// Whether the signature was made over the message with this key.
    pub(super) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            // In constant time.
            PublicKey::Hs256(mac) => mac.clone().chain_update(message).verify_slice(signature).is_ok(),
            PublicKey::Rs256(key) => {
                key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature).is_ok()
            }
            PublicKey::Es256(key) => EcSignature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            // Strict: no key and no signature that many messages would fit.
            PublicKey::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }
}
