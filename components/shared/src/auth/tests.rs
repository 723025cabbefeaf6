use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
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
    verifier("", Expected::default()).user(Token::Bearer(token.as_bytes())).map_err(|error| said(&error))
}

/// What the client is told.
fn said(error: &Error) -> String {
    let body = serde_json::to_value(error.body()).unwrap();
    body["error"]["message"].as_str().unwrap().to_owned()
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
    assert!(check("", "", " ").contains("jwt_secret is empty, and so is jwks"));
    assert!(check(SECRET, "", "[]").contains("the variable jwks is no JWK Set"));
    let all = check("short", "short, too", "{}");
    assert_eq!(all.matches("the variable ").count(), 3, "{all}");
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
    for claim in ["nbf", "iat"] {
        assert!(with(json!({claim: now + 60})), "clocks differ");
        assert!(!with(json!({claim: now + 3000})));
        for other in [json!("soon"), json!(null), json!([now])] {
            assert!(!with(json!({claim: other})), "{claim}: {other}");
        }
    }
    assert!(!with(json!({"iss": null})));
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
        assert_eq!(said(&token(&headers(&pairs)).unwrap_err()), "Invalid or expired token");
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
    let other_scheme = headers(&[(header::AUTHORIZATION, "Basic abc"), (header::COOKIE, "auth_token=two")]);
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
        assert_eq!(said(&token(&headers(pairs)).unwrap_err()), "Not authenticated");
    }
}
