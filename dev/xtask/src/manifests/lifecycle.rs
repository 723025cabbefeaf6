//! How pods end, and how many there are of them.

use serde_json::Value;

use super::Manifests;
use super::built::{Object, Target};
use super::findings::Findings;
use super::json::{list, text};
use super::spin_app::{APP_LABEL, SpinApp};

const BLOCK: &str = "dapr.io/block-shutdown-duration";
const CLOSE: &str = "dapr.io/graceful-shutdown-seconds";

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) {
    let pods = manifests.kustomization("pods", findings);
    for target in manifests.overlays() {
        for app in SpinApp::all_in(target) {
            if let Some(pods) = pods {
                check_end(pods, &app, findings);
            }
            check_autoscaling(&app, findings);
            check_disruption(&app, findings);
        }
        check_targets(target, findings);
    }
    for deployment in pods.into_iter().flat_map(|pods| pods.of_kind("Deployment")) {
        if !manifests.apps().any(|app| app.name() == deployment.name()) {
            deployment.wrong("adds to the pods of no SpinApp: mend its name", findings);
        }
    }
}

/// The app outlives requests and what they leave behind, its sidecar outlives the app, and both end by themselves.
fn check_end(pods: &Target, app: &SpinApp<'_>, findings: &mut Findings) {
    let name = app.name();
    let Some(deployment) = pods.object("Deployment", name) else {
        return findings
            .add(&pods.path, format!("has no Deployment/{name}, so that its pods end at once: add it"));
    };
    let mut containers = list(&deployment.value, "/spec/template/spec/containers").iter();
    // The operator names the container as the SpinApp.
    let container = containers.find(|container| text(container, "/name") == name);
    let stop = container.and_then(|container| number(container, "/lifecycle/preStop/sleep/seconds"));
    let grace = number(&deployment.value, "/spec/template/spec/terminationGracePeriodSeconds");
    let (block, close) = (seconds(app.annotation(BLOCK)), seconds(app.annotation(CLOSE)));
    let (Some(stop), Some(grace)) = (stop, grace) else {
        return deployment.wrong(
            "needs a preStop that sleeps, in the container named as it is, and a grace period",
            findings,
        );
    };
    let (Some(block), Some(close)) = (block, close) else {
        return app.object.wrong(format!("needs {BLOCK} and {CLOSE} in seconds (15s; 5)"), findings);
    };
    if block <= stop {
        let what = format!(
            "its sidecar stops publishing after {block} s, before preStop ends ({stop} s): raise {BLOCK}"
        );
        app.object.wrong(what, findings);
    }
    if grace < block + close {
        let what = format!(
            "is killed after {grace} s, but its sidecar takes {block} and {close} s: raise terminationGracePeriodSeconds"
        );
        deployment.wrong(what, findings);
    }
}

/// Either the app says how many replicas there are, or one autoscaler does.
fn check_autoscaling(app: &SpinApp<'_>, findings: &mut Findings) {
    let scalers = ["HorizontalPodAutoscaler", "ScaledObject"];
    let scales = |scaler: &&Object| text(&scaler.value, "/spec/scaleTargetRef/name") == app.name();
    let count = scalers.iter().flat_map(|kind| app.target.of_kind(kind)).filter(scales).count();
    let spec = &app.object.value;
    let enabled = spec.pointer("/spec/enableAutoscaling").and_then(Value::as_bool).unwrap_or_default();
    let replicas = spec.pointer("/spec/replicas").is_some();
    match (enabled, replicas, count) {
        (true, false, 1) | (false, true, 0) => (),
        (true, _, 0) => {
            app.object.wrong("has enableAutoscaling, but no autoscaler: add one, or set replicas", findings)
        }
        (_, _, 2..) => app.object.wrong("has several autoscalers, which would fight: keep one", findings),
        _ => app
            .object
            .wrong("needs replicas, or enableAutoscaling and one autoscaler, and not both", findings),
    }
}

fn check_disruption(app: &SpinApp<'_>, findings: &mut Findings) {
    let pointer = format!("/spec/selector/matchLabels/{}", APP_LABEL.replace('/', "~1"));
    let mut budgets = app.target.of_kind("PodDisruptionBudget");
    if !budgets.any(|budget| text(&budget.value, &pointer) == app.name()) {
        app.object.wrong("has no PodDisruptionBudget that selects its pods: add one", findings);
    }
}

/// Autoscalers and budgets are for SpinApps that are there.
fn check_targets(target: &Target, findings: &mut Findings) {
    let is_app = |name: &str| target.object("SpinApp", name).is_some();
    for kind in ["HorizontalPodAutoscaler", "ScaledObject"] {
        for scaler in target.of_kind(kind) {
            let (name, kind) = (
                text(&scaler.value, "/spec/scaleTargetRef/name"),
                text(&scaler.value, "/spec/scaleTargetRef/kind"),
            );
            if !is_app(name) || !matches!(kind, "" | "Deployment") {
                scaler.wrong(
                    format!("scales {name}, which is no SpinApp's Deployment: mend scaleTargetRef"),
                    findings,
                );
            }
        }
    }
    let pointer = format!("/spec/selector/matchLabels/{}", APP_LABEL.replace('/', "~1"));
    for budget in target.of_kind("PodDisruptionBudget") {
        let name = text(&budget.value, &pointer);
        if !is_app(name) {
            budget.wrong(
                format!("selects the pods of {name:?}, which is no SpinApp: mend its selector"),
                findings,
            );
        }
    }
}

fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}

/// `15s` or `15`.
fn seconds(text: &str) -> Option<u64> {
    text.strip_suffix('s').unwrap_or(text).parse().ok()
}
