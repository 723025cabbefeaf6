//! Who is calling: docs/contract.md §1, its first table.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::answer::{AUTHENTICATION, Answer};
use crate::harness::route::unknown_id;
use crate::harness::user::SECRET;
use crate::harness::{Route, Setup, User, shared};

const TASKS: &str = "/api/v1/tasks";
const REFUSED: &str = "Invalid or expired token";
const BAD_PAYLOAD: &str = "Invalid token payload";

/// Seconds since 1970, so many from now.
fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

fn signed(claims: &Value, algorithm: Algorithm, secret: &str) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn claims(subject: impl Into<Value>) -> Value {
    json!({"sub": subject.into(), "exp": from_now(600)})
}

async fn with_bearer(user: &User, token: &str) -> Answer {
    Answer::to(user.anonymous(Method::GET, TASKS).bearer_auth(token)).await
}

#[tokio::test]
async fn without_a_token_every_route_refuses() {
    let app = shared();
    let user = app.user();
    for route in Route::ALL {
        let request = user.anonymous(route.method(), &route.path(&unknown_id()));
        Answer::to(request).await.plain_error(401, AUTHENTICATION, "Not authenticated");
    }
}

#[tokio::test]
async fn who_is_calling_is_asked_before_what_they_sent() {
    let app = shared();
    let user = app.user();
    let request = user.anonymous(Method::POST, TASKS).json(&json!({"title": ""}));
    Answer::to(request).await.plain_error(401, AUTHENTICATION, "Not authenticated");
    let request = user.anonymous(Method::GET, &Route::Read.path("not-a-uuid"));
    Answer::to(request).await.plain_error(401, AUTHENTICATION, "Not authenticated");
}

#[tokio::test]
async fn a_token_in_the_cookie_is_accepted() {
    let app = shared();
    let user = app.user();
    let task = user.create("Mine").await;
    let answer = Answer::to(user.by_cookie(Method::GET, TASKS)).await;
    assert_eq!(answer.ok(200)["tasks"], json!([task]));
}

#[tokio::test]
async fn the_cookie_is_found_among_others() {
    let app = shared();
    let user = app.user();
    let cookies = format!("theme=dark; auth_token={}; other_auth_token=x", user.token);
    Answer::to(user.anonymous(Method::GET, TASKS).header("cookie", cookies)).await.ok(200);
    let similar =
        user.anonymous(Method::GET, TASKS).header("cookie", format!("my_auth_token={}", user.token));
    Answer::to(similar).await.plain_error(401, AUTHENTICATION, "Not authenticated");
}

#[tokio::test]
async fn the_header_wins_over_the_cookie() {
    let app = shared();
    let (one, other) = (app.user(), app.user());
    let task = one.create("Of the header's user").await;
    let both = one.request(Method::GET, TASKS).header("cookie", format!("auth_token={}", other.token));
    assert_eq!(Answer::to(both).await.ok(200)["tasks"], json!([task]));
    let bad_header = one.by_cookie(Method::GET, TASKS).bearer_auth("not-a-token");
    Answer::to(bad_header).await.plain_error(401, AUTHENTICATION, REFUSED);
    let bad_cookie = one.request(Method::GET, TASKS).header("cookie", "auth_token=not-a-token");
    Answer::to(bad_cookie).await.ok(200);
}

#[tokio::test]
async fn what_is_no_jwt_is_refused() {
    let app = shared();
    let user = app.user();
    let cut = &user.token[..user.token.len() - 3];
    for token in ["x", "a.b.c", "..", cut] {
        with_bearer(&user, token).await.plain_error(401, AUTHENTICATION, REFUSED);
    }
}

#[tokio::test]
async fn a_bad_signature_is_refused() {
    let app = shared();
    let user = app.user();
    let token =
        signed(&claims(user.id.to_string()), Algorithm::HS256, "another-secret-of-more-than-32-bytes!");
    with_bearer(&user, &token).await.plain_error(401, AUTHENTICATION, REFUSED);
    let token = signed(&claims(Uuid::new_v4().to_string()), Algorithm::HS256, SECRET);
    let payload_of_another = format!(
        "{}.{}.{}",
        token.split('.').next().unwrap(),
        token.split('.').nth(1).unwrap(),
        user.token.split('.').nth(2).unwrap()
    );
    with_bearer(&user, &payload_of_another).await.plain_error(401, AUTHENTICATION, REFUSED);
}

#[tokio::test]
async fn a_token_signed_with_another_algorithm_is_refused() {
    let app = shared();
    let user = app.user();
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = signed(&claims(user.id.to_string()), algorithm, SECRET);
        with_bearer(&user, &token).await.plain_error(401, AUTHENTICATION, REFUSED);
    }
}

#[tokio::test]
async fn a_token_that_claims_to_need_no_signature_is_refused() {
    let app = shared();
    let user = app.user();
    // {"alg":"none","typ":"JWT"}
    let header = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let payload = user.token.split('.').nth(1).unwrap();
    let signature = user.token.split('.').nth(2).unwrap();
    for token in [format!("{header}.{payload}."), format!("{header}.{payload}.{signature}")] {
        with_bearer(&user, &token).await.plain_error(401, AUTHENTICATION, REFUSED);
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let app = shared();
    let user = app.user();
    let claims = json!({"sub": user.id, "exp": from_now(-120)});
    let token = signed(&claims, Algorithm::HS256, SECRET);
    with_bearer(&user, &token).await.plain_error(401, AUTHENTICATION, REFUSED);
}

#[tokio::test]
async fn a_token_that_never_expires_is_refused() {
    let app = shared();
    let user = app.user();
    let token = signed(&json!({"sub": user.id}), Algorithm::HS256, SECRET);
    with_bearer(&user, &token).await.plain_error(401, AUTHENTICATION, REFUSED);
}

#[tokio::test]
async fn a_token_without_a_subject_is_refused() {
    let app = shared();
    let user = app.user();
    let token = signed(&json!({"exp": from_now(600)}), Algorithm::HS256, SECRET);
    with_bearer(&user, &token).await.plain_error(401, AUTHENTICATION, BAD_PAYLOAD);
}

#[tokio::test]
async fn a_subject_that_is_no_uuid_is_refused() {
    let app = shared();
    let user = app.user();
    for subject in [json!("42"), json!(""), json!(42), json!(null)] {
        let token = signed(&claims(subject), Algorithm::HS256, SECRET);
        with_bearer(&user, &token).await.plain_error(401, AUTHENTICATION, BAD_PAYLOAD);
    }
}

/// A token of this user with other claims, too.
fn token_with(user: &User, more: &Value) -> String {
    let mut claims = claims(user.id.to_string());
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    signed(&claims, Algorithm::HS256, SECRET)
}

#[tokio::test]
async fn a_token_is_refused_from_the_second_in_which_it_expires() {
    let app = shared();
    let user = app.user();
    let token = token_with(&user, &json!({"exp": from_now(0)}));
    with_bearer(&user, &token).await.plain_error(401, AUTHENTICATION, REFUSED);
}

#[tokio::test]
async fn the_issuers_clock_may_be_five_minutes_ahead() {
    let app = shared();
    let user = app.user();
    for claim in ["nbf", "iat"] {
        for seconds in [2, 60, 290] {
            with_bearer(&user, &token_with(&user, &json!({claim: from_now(seconds)}))).await.ok(200);
        }
        let token = token_with(&user, &json!({claim: from_now(400)}));
        with_bearer(&user, &token).await.plain_error(401, AUTHENTICATION, REFUSED);
    }
}

#[tokio::test]
async fn a_claim_that_is_null_is_of_the_wrong_type() {
    let app = shared();
    let user = app.user();
    for claim in ["exp", "nbf", "iat", "iss"] {
        let token = token_with(&user, &json!({claim: null}));
        with_bearer(&user, &token).await.plain_error(401, AUTHENTICATION, REFUSED);
    }
}

/// RFC 6750 §3.
#[tokio::test]
async fn a_401_says_whether_there_was_a_token() {
    let app = shared();
    let user = app.user();
    let challenge = async |request| {
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 401);
        answer.header("www-authenticate").unwrap().to_owned()
    };
    let get = || user.anonymous(Method::GET, TASKS);
    assert_eq!(challenge(get()).await, "Bearer");
    assert_eq!(challenge(get().header("cookie", "theme=dark")).await, "Bearer");
    let no_user = signed(&claims("42"), Algorithm::HS256, SECRET);
    for request in [
        get().bearer_auth("x"),
        get().bearer_auth(no_user),
        get().header("cookie", "auth_token=x"),
        get().header("authorization", "Bearer one").header("authorization", "Bearer two"),
    ] {
        assert_eq!(challenge(request).await, r#"Bearer error="invalid_token""#);
    }
    let metrics = || user.anonymous(Method::GET, "/internal/metrics");
    assert_eq!(challenge(metrics()).await, "Bearer");
    assert_eq!(challenge(metrics().bearer_auth("x")).await, r#"Bearer error="invalid_token""#);
}

#[tokio::test]
async fn the_log_says_at_debug_why_a_caller_is_unknown() {
    let app = Setup::new().variable("log_level", "debug").variable("jwt_issuer", "us").start();
    let user = app.user();
    let good = token_with(&user, &json!({"iss": "us"}));
    let forged = signed(&claims(user.id.to_string()), Algorithm::HS256, "a secret of nobody's, of 32 bytes!");
    let tokens = [
        ("no token", None, "the request has no token"),
        ("no JWT", Some("x".to_owned()), "the token is not a JWT: it has not three parts"),
        ("forged", Some(forged), "the token's signature fits no key"),
        ("of others", Some(user.token.clone()), "the token's iss is not jwt_issuer"),
        ("old", Some(token_with(&user, &json!({"iss": "us", "exp": 1}))), "the token has expired"),
        (
            "no user",
            Some(token_with(&user, &json!({"iss": "us", "sub": "42"}))),
            "the token's sub is not a UUID",
        ),
        ("cut", Some(good[..good.len() - 3].to_owned()), "the token's signature fits no key"),
    ];
    with_bearer(&user, &good).await.ok(200);
    for (what, token, reason) in tokens {
        let id = what.replace(' ', "-");
        let request =
            user.anonymous(Method::GET, &Route::Read.path(&unknown_id())).header("x-correlation-id", &id);
        let answer =
            Answer::to(token.iter().fold(request, |request, token| request.bearer_auth(token))).await;
        assert_eq!(answer.status, 401, "{what}");
        let mut lines = app.log().saying("caller unknown");
        lines.retain(|line| line["correlation_id"] == id);
        assert_eq!(lines.len(), 1, "{what}: {lines:?}");
        assert_eq!((&lines[0]["level"], &lines[0]["error"]), (&json!("debug"), &json!(reason)), "{what}");
        assert_eq!(lines[0]["route"], "/api/v1/tasks/{id}");
        assert!(!token.is_some_and(|token| app.log().text().contains(&token)) || what == "no JWT", "{what}");
    }
    assert_eq!(app.log().saying("caller unknown").len(), 7, "and none of the good token");
}
