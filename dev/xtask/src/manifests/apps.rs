//! What each overlay runs: every component in exactly one SpinApp, in the version of `spin.toml`, beside a sidecar.

use std::collections::BTreeMap;

use super::Manifests;
use super::built::Target;
use super::findings::Findings;
use super::json::{entries, text};
use super::spin_app::{APP_PORT, SIDECAR_URL, SpinApp};
use super::versions::tag;

/// Routes below this are for the sidecar alone.
pub(super) const INTERNAL: &str = "/internal";

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) {
    if manifests.overlays().next().is_none() {
        findings.add(manifests.directory, "has no overlays: there is nothing to run");
    }
    for target in manifests.overlays() {
        check_components(manifests, target, findings);
        for app in SpinApp::all_in(target) {
            check_app(manifests, &app, findings);
            check_annotations(manifests, &app, findings);
        }
    }
}

fn check_components(manifests: &Manifests<'_>, target: &Target, findings: &mut Findings) {
    let mut homes: BTreeMap<&str, &str> = BTreeMap::new();
    for app in SpinApp::all_in(target) {
        let components = app.components();
        if components.is_empty() {
            app.object.wrong("runs every component: name its own in spec.components", findings);
        }
        for id in components.iter().copied() {
            if !manifests.spin.components.contains_key(id) {
                app.object.wrong(
                    format!("runs {id}, which spin.toml does not have: mend spec.components"),
                    findings,
                );
            }
            if let Some(other) = homes.insert(id, app.name()) {
                app.object
                    .wrong(format!("runs {id}, as SpinApp/{other} does: leave it to one of them"), findings);
            }
        }
        // What is meant for the sidecar alone must not be behind a Service that others are let in to.
        let routes = manifests.spin.routes_of(&components);
        let internal = routes.iter().filter(|route| route.starts_with(INTERNAL)).count();
        if internal != 0 && internal != routes.len() {
            app.object
                .wrong("serves both the API and /internal: give the relay a SpinApp of its own", findings);
        }
    }
    for id in manifests.spin.components.keys().filter(|id| !homes.contains_key(id.as_str())) {
        findings
            .add(&target.path, format!("no SpinApp runs the component {id}: add it to a spec.components"));
    }
}

fn check_app(manifests: &Manifests<'_>, app: &SpinApp<'_>, findings: &mut Findings) {
    let version = &manifests.spin.version;
    let image = text(&app.object.value, "/spec/image");
    // A digest names what was released, whatever the version is called.
    if !image.contains('@') && tag(image) != Some(version.as_str()) {
        let what = format!("has the image {image}, but spin.toml is version {version}: set the same in both");
        app.object.wrong(what, findings);
    }
    let account = text(&app.object.value, "/spec/serviceAccountName");
    if app.target.object("ServiceAccount", account).is_none() {
        app.object
            .wrong(format!("has the service account {account:?}, which is not there: add it"), findings);
    }
    let executor = text(&app.object.value, "/spec/executor");
    let place = (executor, app.object.namespace());
    let cluster = manifests.kustomization("cluster", findings);
    let mut executors = cluster.into_iter().flat_map(|cluster| cluster.of_kind("SpinAppExecutor"));
    if !executors.any(|executor| (executor.name(), executor.namespace()) == place) {
        let what = format!(
            "has the executor {executor}, which deploy/cluster does not have in its namespace: add it"
        );
        app.object.wrong(what, findings);
    }
    if app.value("dapr_url").unwrap_or(SIDECAR_URL) != SIDECAR_URL {
        app.object.wrong(format!("looks for its sidecar elsewhere: set dapr_url to {SIDECAR_URL}"), findings);
    }
}

fn check_annotations(manifests: &Manifests<'_>, app: &SpinApp<'_>, findings: &mut Findings) {
    for (name, _) in entries(&app.object.value, "/spec/podAnnotations") {
        if name.starts_with("dapr.io/") && !manifests.annotations.iter().any(|known| known == name) {
            app.object.wrong(
                format!("has the annotation {name}, which Dapr does not know: mend its name"),
                findings,
            );
        }
    }
    let port = APP_PORT.to_string();
    let expected = [
        ("dapr.io/enabled", "true"),
        ("dapr.io/app-id", app.name()),
        // The operator has every application listen there.
        ("dapr.io/app-port", &port),
    ];
    for (name, value) in expected {
        let found = app.annotation(name);
        if found != value {
            let what = format!("has {found:?} in the annotation {name}: it must be {value:?}");
            app.object.wrong(what, findings);
        }
    }
    let configuration = app.annotation("dapr.io/config");
    if app.target.object("Configuration", configuration).is_none() {
        let what =
            format!("has the Dapr configuration {configuration:?}, which is not there: mend dapr.io/config");
        app.object.wrong(what, findings);
    }
    let sets = |variable: &str| app.variables().any(|(name, _)| name == variable);
    for (variable, annotation) in
        [("dapr_api_token", "dapr.io/api-token-secret"), ("app_api_token", "dapr.io/app-token-secret")]
    {
        if sets(variable) == app.annotation(annotation).is_empty() {
            let what =
                format!("has only one of the variable {variable} and the annotation {annotation}: set both");
            app.object.wrong(what, findings);
        }
    }
}
