//! The manifest: which components there are, what each may reach and know, and how big it is.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::harness::environment::{manifest, root};

const LARGEST: usize = 1_200_000;

const DATABASE: &str = "postgres://{{ database_host }}";
const SIDECAR: &str = "{{ dapr_url }}";

const TASK_VARIABLES: [&str; 13] = [
    "cors_origins",
    "dapr_api_token",
    "dapr_url",
    "database_url",
    "event_source",
    "jwks",
    "jwt_audience",
    "jwt_issuer",
    "jwt_secret",
    "jwt_secret_previous",
    "log_level",
    "publish_timeout_ms",
    "pubsub_name",
];

/// For the component that creates tasks, and for health, which checks every variable of a route
/// behind `/api`.
const CREATORS_VARIABLE: &str = "max_tasks_per_user";

/// The relay knows no secret that signs tokens, and browsers have no business with it.
const RELAY_VARIABLES: [&str; 9] = [
    "app_api_token",
    "dapr_api_token",
    "dapr_url",
    "database_url",
    "development",
    "event_source",
    "log_level",
    "publish_timeout_ms",
    "pubsub_name",
];

/// The reference knows no secret at all.
const REFERENCE_VARIABLES: [&str; 3] = ["api_docs", "cors_origins", "log_level"];

/// Metrics are read from the database alone.
const METRICS_VARIABLES: [&str; 4] = ["app_api_token", "database_url", "development", "log_level"];

fn components() -> BTreeMap<String, Table> {
    let Value::Table(components) = manifest()["component"].clone() else { panic!("no components") };
    components.into_iter().map(|(id, component)| (id, component.as_table().unwrap().clone())).collect()
}

#[test]
fn each_route_has_its_component() {
    let triggers = manifest()["trigger"]["http"].as_array().unwrap().clone();
    let routes: BTreeMap<_, _> = triggers
        .iter()
        .map(|trigger| (trigger["route"].as_str().unwrap(), trigger["component"].as_str().unwrap()))
        .collect();
    let expected = BTreeMap::from([
        ("/api/docs/...", "reference"),
        ("/api/openapi.json", "reference"),
        ("/api/v1/health", "health"),
        ("/api/v1/tasks", "tasks"),
        ("/api/v1/tasks/:id", "task"),
        ("/api/v1/tasks/:id/complete", "complete"),
        ("/api/v1/tasks/:id/uncomplete", "uncomplete"),
        ("/internal/metrics", "metrics"),
        ("/internal/relay", "relay"),
    ]);
    assert_eq!(routes, expected);
    assert_eq!(triggers.len(), expected.len());
}

#[test]
fn each_component_has_a_test_module_and_a_directory() {
    for id in components().keys() {
        for path in [format!("tests/end_to_end/{id}.rs"), format!("components/{id}")] {
            assert!(root().join(&path).exists(), "{path} is missing");
        }
    }
}

#[test]
fn each_component_reaches_only_what_it_needs() {
    for (id, component) in components() {
        let expected = match id.as_str() {
            "metrics" => &[DATABASE][..],
            "reference" => &[],
            _ => &[DATABASE, SIDECAR],
        };
        let hosts = component["allowed_outbound_hosts"].as_array().unwrap();
        let hosts: Vec<_> = hosts.iter().map(|host| host.as_str().unwrap()).collect();
        assert_eq!(hosts, expected, "{id}");
        // No files, no stores, no models.
        let keys: Vec<_> = component.keys().map(String::as_str).collect();
        assert_eq!(keys, ["allowed_outbound_hosts", "build", "source", "variables"], "{id}");
    }
}

#[test]
fn each_component_knows_only_the_variables_it_needs() {
    for (id, component) in components() {
        let variables = component["variables"].as_table().unwrap();
        let mut names: Vec<_> = variables.keys().map(String::as_str).collect();
        if matches!(id.as_str(), "tasks" | "health") {
            let known = names.len();
            names.retain(|name| *name != CREATORS_VARIABLE);
            assert_eq!(names.len(), known - 1, "{id}");
        }
        names.sort_unstable();
        let expected = match id.as_str() {
            "metrics" => &METRICS_VARIABLES[..],
            "relay" => &RELAY_VARIABLES,
            "reference" => &REFERENCE_VARIABLES,
            _ => &TASK_VARIABLES,
        };
        assert_eq!(names, expected, "{id}");
    }
}

#[test]
fn secrets_are_marked_as_secret_and_have_no_default() {
    let variables = manifest()["variables"].as_table().unwrap().clone();
    for name in ["database_url", "jwt_secret"] {
        assert_eq!(variables[name]["secret"].as_bool(), Some(true), "{name}");
        assert_eq!(variables[name]["required"].as_bool(), Some(true), "{name}");
        assert!(variables[name].get("default").is_none(), "{name}");
    }
    for name in ["jwt_secret_previous", "dapr_api_token", "app_api_token"] {
        assert_eq!(variables[name]["secret"].as_bool(), Some(true), "{name}");
    }
}

/// What `cargo xtask` has built.
fn built(component: &Table) -> Vec<u8> {
    let file = root().join(component["source"].as_str().unwrap());
    std::fs::read(&file).unwrap_or_else(|_| panic!("{file:?}: run `cargo xtask test`"))
}

#[test]
fn each_component_is_small() {
    for (id, component) in components() {
        let size = built(&component).len();
        assert!(size < LARGEST, "{id} has {size} bytes");
    }
}

fn contains(component: &Table, text: &str) -> bool {
    built(component).windows(text.len()).any(|window| window == text.as_bytes())
}

/// By the names of what each imports.
#[test]
fn each_component_but_the_reference_carries_the_database() {
    for (id, component) in components() {
        assert_eq!(contains(&component, "spin:postgres/"), id != "reference", "{id}");
    }
}

/// By the statement that claims what is to be delivered.
#[test]
fn components_that_only_read_carry_no_outbox() {
    for (id, component) in components() {
        let only_reads = ["health", "metrics", "reference"].contains(&id.as_str());
        assert_eq!(contains(&component, "next_pass("), !only_reads, "{id}");
    }
}
