//! Who is calling: docs/contract.md §1, its first table.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::answer::{AUTHENTICATION, Answer};
use crate::harness::route::unknown_id;
use crate::harness::user::SECRET;
use crate::harness::{Route, User, shared};

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
