//! `/api/v1/health`.

use reqwest::Method;
use serde_json::json;

use crate::harness::answer::Answer;
use crate::harness::origins::ALLOWED_ORIGIN;
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::user::SECRET;
use crate::harness::{App, Setup, shared, wait};

async fn health(app: &App) -> Answer {
    Answer::to(app.user().anonymous(Method::GET, "/api/v1/health")).await
}

#[tokio::test]
async fn an_app_with_all_its_parts_is_healthy_and_needs_no_token() {
    assert_eq!(health(&shared()).await.ok(200), json!({"status": "healthy"}));
}

#[tokio::test]
async fn a_trailing_slash_asks_for_health_too() {
    let app = shared();
    let user = app.user();
    Answer::to(user.anonymous(Method::GET, "/api/v1/health/")).await.ok(200);
}

#[tokio::test]
async fn without_a_sidecar_the_app_is_healthy_and_says_that_events_are_delayed() {
    let app = Setup::new().start();
    assert_eq!(health(&app).await.ok(200), json!({"status": "healthy", "events": "delayed"}));
}

#[tokio::test]
async fn with_a_sidecar_that_hangs_health_still_answers() {
    let stub = Stub::start(Behaviour::Hang);
    let app = Setup::new().dapr_url(stub.url()).start();
    assert_eq!(health(&app).await.ok(200), json!({"status": "healthy", "events": "delayed"}));
}

#[tokio::test]
async fn variables_that_are_broken_are_named_by_health_and_in_the_log() {
    let broken = [
        ("jwt_secret", "too short"),
        ("jwt_secret_previous", "too short, too"),
        ("jwks", "https://issuer.example/keys"),
        ("cors_origins", "app.example.com"),
        ("max_tasks_per_user", "many"),
        ("publish_timeout_ms", "2s"),
        ("pubsub_name", "pubsub/kafka"),
        ("event_source", "task cast"),
    ];
    let app = broken.iter().fold(Setup::new(), |setup, (name, value)| setup.variable(name, *value)).start();
    let names = broken.map(|(name, _)| name);
    let answer = health(&app).await;
    let expected = json!({"status": "unavailable", "configuration": names, "events": "delayed"});
    assert_eq!(answer.ok(503), expected);
    let line = app.log().saying("unhealthy").pop().expect("a line in the log");
    let error = line["error"].as_str().unwrap();
    for name in names {
        assert!(error.contains(&format!("the variable {name} ")), "{name} is not in {error}");
    }
    for (_, value) in &broken[..2] {
        assert!(!error.contains(value) && !answer.text().contains(value), "{error}");
    }
}

#[tokio::test]
async fn each_origin_that_no_browser_sends_makes_the_list_of_origins_a_broken_one() {
    for origin in ["*", "null", "https://app.example.com:443", "https://app.example.com/board"] {
        let list = format!("{ALLOWED_ORIGIN}, {origin}");
        let app = Setup::new().variable("cors_origins", list).start();
        assert_eq!(health(&app).await.ok(503)["configuration"], json!(["cors_origins"]), "{origin}");
        let line = app.log().saying("unhealthy").pop().expect("a line in the log");
        assert!(line["error"].as_str().unwrap().contains(&format!("has {origin:?}, which ")), "{line}");
    }
}

#[tokio::test]
async fn without_a_database_health_names_it_and_shows_no_credentials() {
    let app = Setup::new().behind_proxy().start();
    health(&app).await.ok(200);
    app.proxy().cut();
    let answer = app.wait_unhealthy("health").await;
    let body = answer.ok(503);
    assert_eq!((&body["status"], &body["database"]), (&json!("unavailable"), &json!("unreachable")));
    for secret in [&*app.database.password(), SECRET, "postgres://", "127.0.0.1"] {
        assert!(!answer.text().contains(secret), "{} shows {secret}", answer.text());
    }
    app.proxy().mend();
    wait::until(wait::SOON, "health after the database is back", async || {
        (health(&app).await.status == 200).then_some(())
    })
    .await;
}
