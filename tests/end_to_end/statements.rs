//! Every SQL statement of the components is prepared against a migrated database, and the migrations against an old one; and
//! what clients send is never a part of a statement. In the components, the compiler and clippy.toml see to that: statements are
//! constants, and there is one place that runs them.

use serde_json::json;

use crate::harness::answer::{Answer, id};
use crate::harness::database::Database;
use crate::harness::environment::root;
use crate::harness::{Route, shared};

/// What would do harm, or make a statement fail, or a server wait, if it were read as SQL.
const SQL: [&str; 8] = [
    "'; DROP TABLE tasks; --",
    "' OR '1'='1",
    "x' UNION SELECT rolpassword FROM pg_authid --",
    "\\'; SELECT pg_sleep(30); --",
    "$1",
    "%s %I {0} :title @title ?",
    "$$; DELETE FROM task_changes; $$",
    "/* */ ) , ( \" ` E'\\x27'",
];

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let database = Database::migrated();
    let client = database.client().await;
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("components/shared/src/sql")).unwrap() {
        let path = entry.unwrap().path();
        let sql = std::fs::read_to_string(&path).unwrap();
        if let Err(error) = client.prepare(&sql).await {
            panic!("{}: {:?}", path.display(), error.as_db_error());
        }
        count += 1;
    }
    assert!(count > 0, "no statements found");
}

#[tokio::test]
async fn migrating_twice_applies_nothing_the_second_time() {
    let database = Database::empty();
    assert!(database.migrate() > 0);
    assert_eq!(database.migrate(), 0);
}

/// Functions are the other place where a statement could be put together.
#[tokio::test]
async fn no_function_of_the_database_makes_statements_of_values() {
    let database = Database::migrated();
    let sql =
        "SELECT proname, prosrc ~* '\\mexecute\\M' FROM pg_proc WHERE pronamespace = 'public'::regnamespace";
    let functions = database.client().await.query(sql, &[]).await.unwrap();
    assert!(functions.len() > 5, "these are not the functions of the API");
    for function in functions {
        assert!(!function.get::<_, bool>(1), "{} has EXECUTE", function.get::<_, &str>(0));
    }
}

#[tokio::test]
async fn sql_in_a_field_is_a_value() {
    let app = shared();
    let user = app.user();
    for sql in SQL {
        let request = user.on(Route::Create, "").json(&json!({"title": sql}));
        let request =
            request.header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let task = Answer::to(request.header("tracestate", sql)).await.task(201);
        assert_eq!(task["title"], sql);
        assert_eq!(
            user.update(&id(&task), &json!({"title": format!("{sql}!")})).await["title"],
            format!("{sql}!")
        );
    }
    assert_eq!(user.list().await.len(), SQL.len());
    let created = app.heard(&user).await.events;
    let states: Vec<_> = created.iter().filter_map(|event| event.attribute("tracestate")).collect();
    for sql in SQL {
        assert!(states.contains(&sql), "{sql}: {states:?}");
    }
}

#[tokio::test]
async fn sql_in_a_path_a_query_or_a_correlation_id_is_refused_or_ignored() {
    let app = shared();
    let user = app.user();
    let task = user.create("Stays").await;
    for sql in SQL {
        let encoded: String = sql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for route in Route::of_one_task() {
            let answer = user.call(route, &format!("{}{encoded}", id(&task))).await;
            answer.error(400, "VALIDATION_ERROR", "Invalid input data");
        }
        let answer = user.get(&format!("/api/v1/tasks?completed={encoded}")).await;
        answer.error(400, "VALIDATION_ERROR", "Invalid input data");
        let answer = Answer::to(user.on(Route::Create, "").header("x-correlation-id", sql)).await;
        answer.task(201);
        assert_ne!(answer.header("x-correlation-id"), Some(sql));
    }
    assert_eq!(user.read(&id(&task)).await, task);
}
