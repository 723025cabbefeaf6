//! Keys: several at once, so that one can follow another, and a JWK Set; with tokens that two other libraries have made
//! (tests/node/keys.mjs, tests/python/keys.py).

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::answer::{AUTHENTICATION, Answer};
use crate::harness::program::Ended;
use crate::harness::user::SECRET;
use crate::harness::{Own, Route, Setup, User, node, python};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "taskcast";
const TASKS: &str = "/api/v1/tasks";

/// Libraries that are not ours.
#[derive(Clone, Copy, Debug)]
enum Maker {
    Jose,
    PyJwt,
}

struct Made {
    jwks: Value,
    good: BTreeMap<String, String>,
    bad: BTreeMap<String, String>,
}

impl Maker {
    const ALL: [Self; 2] = [Self::Jose, Self::PyJwt];

    /// Keys, and tokens for this user.
    fn make(self, user: &User) -> Made {
        let wanted = json!({"subject": user.id, "issuer": ISSUER, "audience": AUDIENCE}).to_string();
        let ended = match self {
            Self::Jose => node::run(&node::file(""), &node::file("keys.mjs"), [wanted]),
            Self::PyJwt => Ended::of(python::python().arg(python::file("keys.py")).arg(wanted)),
        };
        let made: Value = serde_json::from_str(&ended.success(&format!("{self:?}"))).unwrap();
        let tokens = |of: &str| serde_json::from_value(made[of].clone()).unwrap();
        Made { jwks: made["jwks"].clone(), good: tokens("good"), bad: tokens("bad") }
    }
}

fn setup(jwks: &Value) -> Setup {
    let setup = Setup::new().variable("jwks", jwks.to_string());
    setup.variable("jwt_issuer", ISSUER).variable("jwt_audience", AUDIENCE)
}

async fn list_with(app: &Own, token: &str) -> Answer {
    Answer::to(app.user().anonymous(Method::GET, TASKS).bearer_auth(token)).await
}

fn assert_refused(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.text());
    answer.plain_error(401, AUTHENTICATION, "Invalid or expired token");
}

#[tokio::test]
async fn tokens_of_a_key_set_are_good_and_nothing_that_looks_like_them() {
    for (maker, at_least) in [(Maker::Jose, 16), (Maker::PyJwt, 130)] {
        let made = maker.make(&User::new(""));
        let app = setup(&made.jwks).variable("jwt_secret", "").start();
        for algorithm in ["RS256", "ES256", "EdDSA", "no kid"] {
            assert!(made.good.contains_key(algorithm), "{maker:?}: {algorithm}");
        }
        // The same key by its name of RFC 9864, which PyJWT does not know.
        assert!(made.good.contains_key("Ed25519") || matches!(maker, Maker::PyJwt));
        for (what, token) in &made.good {
            let answer = list_with(&app, token).await;
            assert_eq!(answer.status, 200, "{maker:?}: {what}: {}", answer.text());
        }
        assert!(made.bad.len() >= at_least, "{maker:?}: {}", made.bad.len());
        for (what, token) in &made.bad {
            assert_refused(&list_with(&app, token).await, &format!("{maker:?}: {what}"));
        }
        let by_secret = stack::token::mint(SECRET, &app.user().id.to_string(), Duration::from_secs(60));
        assert_refused(&list_with(&app, &by_secret).await, "HS256, where no secret is configured");
    }
}

#[tokio::test]
async fn a_token_of_a_key_set_is_its_users() {
    for maker in Maker::ALL {
        let user = User::new("");
        let made = maker.make(&user);
        let app = setup(&made.jwks).with_dapr().start();
        for token in made.good.values() {
            let request = app.user().anonymous(Method::POST, TASKS).bearer_auth(token);
            Answer::to(request.json(&json!({"title": "By a key of a set"}))).await.task(201);
        }
        let events = app.dapr().wait_for(user.id, 2 * made.good.len()).await;
        assert!(
            events.iter().all(|event| event.attribute("partitionkey") == Some(&user.id.to_string())),
            "{maker:?}"
        );
    }
}

#[tokio::test]
async fn a_key_of_a_set_can_follow_another() {
    for maker in Maker::ALL {
        let (old, new) = (maker.make(&User::new("")), maker.make(&User::new("")));
        let keys = |made: &Made| made.jwks["keys"].as_array().unwrap().clone();
        let all = [keys(&old), keys(&new)].concat();
        let both = json!({"keys": all});
        for (jwks, accepts_old) in [(&old.jwks, true), (&both, true), (&new.jwks, false)] {
            let app = setup(jwks).start();
            for (what, token) in &old.good {
                let status = list_with(&app, token).await.status;
                assert_eq!(status == 200, accepts_old, "{maker:?}: {what}");
            }
        }
        let app = setup(&both).start();
        for (what, token) in &new.good {
            assert_eq!(list_with(&app, token).await.status, 200, "{maker:?}: {what}");
        }
    }
}

#[tokio::test]
async fn a_secret_can_follow_another() {
    const NEW: &str = "a-new-secret-of-more-than-thirty-two-bytes";
    let app = Setup::new().variable("jwt_secret", NEW).variable("jwt_secret_previous", SECRET).start();
    let mint = |secret| stack::token::mint(secret, &app.user().id.to_string(), Duration::from_secs(60));
    for secret in [SECRET, NEW] {
        assert_eq!(list_with(&app, &mint(secret)).await.status, 200);
    }
    let app = Setup::new().variable("jwt_secret", NEW).start();
    assert_refused(&list_with(&app, &mint(SECRET)).await, "the old secret after its time");
}

#[tokio::test]
async fn a_secret_an_issuer_and_an_audience_may_end_in_a_line_break() {
    let made = Maker::Jose.make(&User::new(""));
    let with_line_break = |value: &str| format!("{value}\n");
    let app = Setup::new()
        .variable("jwt_secret", with_line_break(SECRET))
        .variable("jwks", with_line_break(&made.jwks.to_string()))
        .variable("jwt_issuer", with_line_break(ISSUER))
        .variable("jwt_audience", format!("{AUDIENCE}\r\n"))
        .start();
    for (what, token) in &made.good {
        assert_eq!(list_with(&app, token).await.status, 200, "{what}");
    }
    let app = Setup::new().variable("jwt_secret", with_line_break(SECRET)).start();
    app.user().create("By the secret without the line break").await;
}

#[tokio::test]
async fn a_bad_key_beside_good_ones_is_ignored_and_named_in_the_log() {
    let made = Maker::Jose.make(&User::new(""));
    let good = made.jwks["keys"].as_array().unwrap().clone();
    let rsa = good.iter().find(|key| key["kty"] == "RSA").unwrap();
    let ec = good.iter().find(|key| key["crv"] == "P-256").unwrap();
    let with = |key: &Value, member: &str, value: Value| {
        let mut key = key.clone();
        key[member] = value;
        key["kid"] = json!("bad");
        key
    };
    let mut no_kty = with(ec, "kid", json!("bad"));
    no_kty.as_object_mut().unwrap().remove("kty");
    let mut no_y = with(ec, "kid", json!("bad"));
    no_y.as_object_mut().unwrap().remove("y");
    let bad = [
        json!({}),
        json!(null),
        no_y,
        no_kty,
        with(ec, "crv", json!(null)),
        with(rsa, "n", json!(format!("{}==", rsa["n"].as_str().unwrap()))),
        with(rsa, "n", json!("AQAB")),
        json!({"kty": "RSA", "x5c": ["MIIB"]}),
    ];
    let keys = [&bad[..], &good].concat();
    let text = format!("\u{feff}{}", json!({"keys": keys}));
    let app = setup(&made.jwks).variable("jwks", text).start();
    for (what, token) in &made.good {
        let answer = list_with(&app, token).await;
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    }
    let health = Answer::to(app.user().anonymous(Method::GET, "/api/v1/health")).await;
    assert_eq!(health.ok(200)["status"], "healthy");
    let warnings = app.log().saying("keys ignored");
    assert!(!warnings.is_empty());
    for warning in warnings {
        assert_eq!(warning["level"], "warn");
        let error = warning["error"].as_str().unwrap();
        assert_eq!(error.matches("bad key ").count(), bad.len(), "{error}");
        for part in ["number 1 (without kid): it has no kty", "bad: it has no y", "bad: it has no crv"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
}

#[tokio::test]
async fn a_key_set_without_a_good_key_is_named_by_health_and_in_the_log() {
    let app = Setup::new().variable("jwks", r#"{"keys": [{"kty": "EC", "crv": null}]}"#).start();
    let answer = app.user().call(Route::List, "").await;
    answer.plain_error(500, "INTERNAL_ERROR", "An unexpected error occurred.");
    let error = &app.log().saying("request failed")[0]["error"];
    assert!(
        error.as_str().unwrap().contains("the variable jwks has no key for RS256, ES256 or EdDSA"),
        "{error}"
    );
    let health = Answer::to(app.user().anonymous(Method::GET, "/api/v1/health")).await;
    assert_eq!(health.ok(503)["configuration"], json!(["jwks"]));
}

#[tokio::test]
async fn a_key_set_that_is_none_is_named_in_the_log() {
    let app = Setup::new().variable("jwks", "https://issuer.example/keys").start();
    let answer = app.user().call(Route::List, "").await;
    answer.plain_error(500, "INTERNAL_ERROR", "An unexpected error occurred.");
    assert!(app.log().text().contains("the variable jwks is no JWK Set"));
}
