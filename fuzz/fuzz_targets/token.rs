//! A token is accepted only if one of the keys signed it and its claims are valid now, and then names their user.

#![no_main]

use std::sync::LazyLock;
use std::time::SystemTime;

use fuzz::tokens::Sent;
use fuzz::{rules, tokens};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shared::auth::{Expected, Token, Verifier};
use shared::error::Error;
use uuid::Uuid;

/// Seconds between the verifier's look at the clock and ours, at most.
const TOLERANCE: f64 = 30.0;
const CLOCK_SKEW: f64 = 300.0;

static OPEN: LazyLock<Verifier> = LazyLock::new(|| tokens::verifier(Expected::default()));
static STRICT: LazyLock<Verifier> = LazyLock::new(|| tokens::verifier(tokens::EXPECTED));

fuzz_target!(|input: &[u8]| {
    let Some(sent) = tokens::read(input) else { return };
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |elapsed| elapsed.as_secs_f64());
    let user = check(&sent, now).ok();
    assert!(user.is_some() || !sent.is_plain(now), "refused, although it is good");
    if let Ok(strict) = STRICT.user(Token::Bearer(sent.token.as_bytes())) {
        assert_eq!(Some(strict), user, "accepted only where more is expected");
        check_parties(&sent.genuine().unwrap_or_default());
    }
    if user.is_some() {
        sent.tampered().for_each(|sent| _ = check(&sent, now));
    }
});

/// Who a token is for; it is accepted only if it ought to be.
fn check(sent: &Sent, now: f64) -> Result<Uuid, Error> {
    let user = OPEN.user(Token::Bearer(sent.token.as_bytes()))?;
    let claims = sent.genuine().expect("accepted, although no key signed it");
    check_claims(&claims, now);
    let sub = claims["sub"].as_str().and_then(rules::uuid_digits);
    assert_eq!(sub, Some(user.simple().to_string()));
    Ok(user)
}

fn check_claims(claims: &Value, now: f64) {
    let expires = claims["exp"].as_f64().expect("accepted without a time at which it expires");
    assert!(expires > now - TOLERANCE, "accepted, although it has expired");
    for claim in ["nbf", "iat"] {
        if let Some(time) = claims.get(claim) {
            let time = time.as_f64().unwrap_or_else(|| panic!("accepted with {claim} that is no time"));
            assert!(time <= now + CLOCK_SKEW + TOLERANCE, "accepted, although {claim} is to come");
        }
    }
    assert!(claims.get("iss").is_none_or(Value::is_string), "accepted with iss that is no text");
}

fn check_parties(claims: &Value) {
    let is = |value: &Value, expected: &str| match value {
        Value::Array(several) => several.iter().any(|one| one == expected),
        one => one == expected,
    };
    assert!(is(&claims["iss"], tokens::EXPECTED.issuer), "accepted from another issuer");
    assert!(is(&claims["aud"], tokens::EXPECTED.audience), "accepted for another audience");
}
