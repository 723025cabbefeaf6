//! What is reachable from outside is the API with its description and its page, all of it, and probes and ticks ask for what is there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Manifests;
use super::apps::INTERNAL;
use super::built::Object;
use super::findings::Findings;
use super::json::{list, text, texts};
use super::spin_app::{APP_PORT, SpinApp};

/// Each is a path and everything below it.
const PUBLIC: [&str; 3] = ["/api/v1", "/api/docs", "/api/openapi.json"];
/// Answered by Spin itself, in every application.
const SPIN_HEALTH: &str = "/.well-known/spin/health";

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) {
    let mut routes = 0;
    for target in manifests.overlays() {
        for route in target.of_kind("HTTPRoute") {
            routes += 1;
            check_route(manifests, route, &SpinApp::all_in(target).collect::<Vec<_>>(), findings);
        }
        for component in target.of_kind("Component") {
            check_ticks(manifests, component, &SpinApp::all_in(target).collect::<Vec<_>>(), findings);
        }
    }
    if routes == 0 {
        findings.add(manifests.directory, "no overlay has an HTTPRoute: nobody can reach the API");
    }
    for app in manifests.apps() {
        for probe in ["readiness", "liveness"] {
            check_probe(manifests, &app, probe, findings);
        }
    }
}

fn check_route(manifests: &Manifests<'_>, route: &Object, apps: &[SpinApp<'_>], findings: &mut Findings) {
    for parent in list(&route.value, "/spec/parentRefs") {
        if text(parent, "/sectionName").is_empty() {
            route.wrong(
                "takes every listener of its Gateway, plain HTTP too: name the one for HTTPS in sectionName",
                findings,
            );
        }
    }
    for rule in list(&route.value, "/spec/rules") {
        let matches = list(rule, "/matches");
        if matches.is_empty() || !matches.iter().all(is_public) {
            let public = PUBLIC.join(", ");
            route.wrong(format!("leads to more than {public}: name only these in matches"), findings);
        }
        for path in PUBLIC.iter().filter(|path| !matches.iter().any(|rule| path_of(rule) == **path)) {
            route.wrong(format!("does not lead to {path}: add it to matches"), findings);
        }
        for backend in list(rule, "/backendRefs") {
            check_backend(manifests, route, backend, apps, findings);
        }
    }
}

fn is_public(rule: &Value) -> bool {
    is_below_public(path_of(rule)) && matches!(text(rule, "/path/type"), "PathPrefix" | "Exact")
}

fn is_below_public(path: &str) -> bool {
    PUBLIC.iter().any(|public| path == *public || path.starts_with(&format!("{public}/")))
}

fn path_of(rule: &Value) -> &str {
    text(rule, "/path/value")
}

fn check_backend(
    manifests: &Manifests<'_>,
    route: &Object,
    backend: &Value,
    apps: &[SpinApp<'_>],
    findings: &mut Findings,
) {
    let name = text(backend, "/name");
    let app = apps.iter().find(|app| app.name() == name);
    let routes = app.map(|app| manifests.spin.routes_of(&app.components())).unwrap_or_default();
    if routes.is_empty() || !routes.iter().all(|route| is_below_public(route)) {
        let public = PUBLIC.join(", ");
        route.wrong(
            format!("leads to {name}, which is no SpinApp with the routes below {public}: mend backendRefs"),
            findings,
        );
    }
    if backend.get("port").and_then(Value::as_u64) != Some(APP_PORT) {
        let what = format!(
            "leads to another port of {name} than {APP_PORT}, the only one of its Service: mend backendRefs"
        );
        route.wrong(what, findings);
    }
}

/// A probe of a path that is not there would restart pods, or keep all of them from traffic.
fn check_probe(manifests: &Manifests<'_>, app: &SpinApp<'_>, probe: &str, findings: &mut Findings) {
    let path = text(&app.object.value, &format!("/spec/checks/{probe}/httpGet/path"));
    let routes = manifests.spin.routes_of(&app.components());
    if path != SPIN_HEALTH && !routes.contains(&path) {
        let what = format!(
            "asks for {path:?} as its {probe} check, which its components do not serve: mend spec.checks"
        );
        app.object.wrong(what, findings);
    }
}

/// A cron binding calls a route of each app that has it.
fn check_ticks(manifests: &Manifests<'_>, component: &Object, apps: &[SpinApp<'_>], findings: &mut Findings) {
    if text(&component.value, "/spec/type") != "bindings.cron" {
        return;
    }
    let route = component.metadata("route");
    let scopes = BTreeSet::from_iter(texts(&component.value, "/scopes"));
    let serving = |app: &&SpinApp<'_>| manifests.spin.routes_of(&app.components()).contains(&route);
    let names: BTreeSet<&str> = apps.iter().filter(serving).map(SpinApp::name).collect();
    if names.is_empty() || !route.starts_with(INTERNAL) {
        component.wrong(
            format!("calls {route:?}, which no SpinApp serves below {INTERNAL}: mend its route"),
            findings,
        );
    } else if scopes != names {
        let what = format!("calls {route} of {scopes:?}, but {names:?} serves it: mend its scopes");
        component.wrong(what, findings);
    }
}
