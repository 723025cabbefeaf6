//! A guest that panics takes nothing down but its own instance. The fault is built into a test build of the components.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::json;

use crate::harness::environment::{directory, root};
use crate::harness::user::with_body;
use crate::harness::{Own, Route, Setup};

const FAULT: &str = "x-taskcast-fault";

/// The repository's manifest with the fault-injection build of the components that have one.
fn manifest() -> PathBuf {
    let target = root().join("target/wasm32-wasip2");
    let text = std::fs::read_to_string(root().join("spin.toml")).unwrap();
    let lines =
        text.lines().map(|line| match line.strip_prefix("source = \"target/wasm32-wasip2/release/") {
            Some(rest) => format!("source = \"{}", built(&target, rest)),
            None => line.to_owned(),
        });
    let manifest = directory("faults").join("spin.toml");
    std::fs::write(&manifest, lines.collect::<Vec<_>>().join("\n")).unwrap();
    manifest
}

/// `file` ends with a quotation mark. The components with faults are built in a profile of their own.
fn built(target: &Path, file: &str) -> String {
    let faulty = ["tasks.wasm\"", "task.wasm\""].contains(&file);
    let path = target.join(if faulty { "faults" } else { "release" }).join(file);
    assert!(
        Path::new(path.to_str().unwrap().trim_end_matches('"')).exists(),
        "{path:?}: run `cargo xtask test`"
    );
    path.to_str().unwrap().to_owned()
}

fn app() -> Own {
    Setup::new().with_dapr().manifest(manifest()).panicking().start()
}

/// Sends a request that makes the guest panic. What the client sees of it is the host's affair.
async fn panic_on(user: &crate::harness::User, route: Route, id: &str) {
    let request = with_body(route, user.request(route.method(), &route.path(id)));
    if let Ok(response) = request.header(FAULT, "panic").send().await {
        assert_eq!(response.status(), 500, "{route:?}");
    }
}

#[tokio::test]
async fn after_a_panic_the_next_requests_work() {
    let app = app();
    let user = app.user();
    let id = user.new_task_id().await;
    for route in [Route::Create, Route::List, Route::Read, Route::Update] {
        panic_on(&user, route, &id).await;
        for route in Route::ALL.into_iter().filter(|route| *route != Route::Delete) {
            assert_eq!(user.call(route, &id).await.status, route.success(), "{route:?}");
        }
    }
}

#[tokio::test]
async fn after_a_panic_the_changes_before_it_are_delivered() {
    let app = app();
    let user = app.user();
    let task = user.new_task_id().await;
    for number in 0..5 {
        user.update(&task, &json!({"title": format!("Title {number}")})).await;
        panic_on(&user, Route::Create, "").await;
        panic_on(&user, Route::Update, &task).await;
    }
    let helper = app.user();
    crate::harness::nudge::until_delivered(&helper, app.dapr(), user.id, 2 * 6).await;
}

#[tokio::test]
async fn the_build_that_ships_knows_no_faults() {
    let app = crate::harness::shared();
    let request = app.user().request(Method::GET, "/api/v1/tasks").header(FAULT, "panic");
    crate::harness::answer::Answer::to(request).await.ok(200);
}
