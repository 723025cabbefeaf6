//! The cryptography that tokens need here (RFC 7518, RFC 8037): checking signatures by HS256, RS256, ES256 and EdDSA. `jsonwebtoken`
//! would bring the rest of JWA's algorithms, and making signatures, which is most of the code.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result};
use jsonwebtoken::signature;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use rsa::{BoxedUint, Pkcs1v15Sign, PublicKey};
use sha2::{Digest, Sha256};

/// The shortest modulus for RS256 (RFC 7518 §3.3).
const MIN_MODULUS_BITS: u32 = 2048;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: sign_nothing,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Has `jsonwebtoken` use it, from the first token on.
pub(super) fn install() {
    // It fails when something is installed already: this, by an earlier call.
    _ = PROVIDER.install_default();
}

/// Whether it is a key of that algorithm at all.
pub(super) fn check_key(algorithm: Algorithm, key: &DecodingKey) -> Result<()> {
    verifier(&algorithm, key).map(|_| ())
}

fn sign_nothing(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::InvalidAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let check = match algorithm {
        Algorithm::HS256 => Check::Hs256(
            Hmac::new_from_slice(key.try_get_as_bytes()?)
                .map_err(|_| Error::from(ErrorKind::InvalidKeyFormat))?,
        ),
        Algorithm::RS256 => Check::Rs256(rsa_key(key)?),
        Algorithm::ES256 => Check::Es256(
            p256::ecdsa::VerifyingKey::from_sec1_bytes(key.try_get_as_bytes()?)
                .map_err(|_| Error::from(ErrorKind::InvalidEcdsaKey))?,
        ),
        Algorithm::EdDSA => {
            let bytes = <[u8; 32]>::try_from(key.try_get_as_bytes()?);
            let key = bytes.ok().and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok());
            Check::EdDsa(key.ok_or_else(|| Error::from(ErrorKind::InvalidEddsaKey))?)
        }
        _ => return Err(ErrorKind::InvalidAlgorithm.into()),
    };
    Ok(Box::new(Signature { algorithm: *algorithm, check }))
}

fn rsa_key(key: &DecodingKey) -> Result<PublicKey> {
    let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else {
        return Err(ErrorKind::InvalidKeyFormat.into());
    };
    let (n, e) = (BoxedUint::from_be_slice_vartime(n), BoxedUint::from_be_slice_vartime(e));
    if n.bit_width_vartime() < MIN_MODULUS_BITS {
        return Err(ErrorKind::InvalidRsaKey(format!("RS256 needs {MIN_MODULUS_BITS} bits at least")).into());
    }
    let key = PublicKey::new(n, e);
    key.map_err(|error| ErrorKind::InvalidRsaKey(error.to_string()).into())
}

/// A check of signatures.
struct Signature {
    algorithm: Algorithm,
    check: Check,
}

enum Check {
    Hs256(Hmac<Sha256>),
    Rs256(PublicKey),
    Es256(p256::ecdsa::VerifyingKey),
    EdDsa(ed25519_dalek::VerifyingKey),
}

impl Check {
    fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        use p256::ecdsa::signature::Verifier;
        match self {
            // In constant time.
            Check::Hs256(mac) => mac.clone().chain_update(message).verify_slice(signature).is_ok(),
            Check::Rs256(key) => {
                key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature).is_ok()
            }
            Check::Es256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            // Strict: no key and no signature that many messages would fit.
            Check::EdDsa(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }
}

impl signature::Verifier<Vec<u8>> for Signature {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        if self.check.accepts(message, signature) { Ok(()) } else { Err(signature::Error::new()) }
    }
}

impl JwtVerifier for Signature {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
