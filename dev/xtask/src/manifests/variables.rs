//! Each SpinApp sets the variables that `spin.toml` requires and its components read, and no others.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Manifests;
use super::findings::Findings;
use super::json::text;
use super::spin_app::{Source, SpinApp};

const RUNTIME_CONFIG: &str = "runtime-config.toml";

/// What is shorter, in bytes, is refused as a secret (components/shared/src/auth/keys.rs).
const SHORTEST_SECRET: usize = 32;

pub(super) fn check(manifests: &Manifests<'_>, findings: &mut Findings) -> Result<()> {
    for app in manifests.apps() {
        let components = app.components();
        let reads = manifests.spin.read_by(&components);
        let mut set = BTreeSet::new();
        for (name, source) in app.variables() {
            if !set.insert(name) {
                app.object.wrong(format!("sets {name} twice: remove one"), findings);
            }
            check_variable(manifests, &app, (name, source), &reads, findings);
        }
        check_unset(manifests, &app, &set, &reads, findings);
        check_runtime_config(&app, findings);
    }
    check_copies(manifests, findings)
}

fn check_variable(
    manifests: &Manifests<'_>,
    app: &SpinApp<'_>,
    (name, source): (&str, Source<'_>),
    reads: &BTreeSet<&str>,
    findings: &mut Findings,
) {
    let Some(declared) = manifests.spin.variables.get(name) else {
        let what = format!("sets {name}, which spin.toml does not have: mend the name, or add it there");
        return app.object.wrong(what, findings);
    };
    let read = reads.contains(name);
    if !read && !declared.required {
        app.object.wrong(format!("sets {name}, which none of its components reads: remove it"), findings);
    }
    match source {
        // Where no component reads a secret that Spin requires, anything will do.
        Source::Plain(_) if declared.secret && read => {
            app.object.wrong(
                format!("has the secret {name} in the manifest: use valueFrom.secretKeyRef"),
                findings,
            );
        }
        // Which everybody could sign tokens with, if the component that checks them were there after all.
        Source::Plain(value) if declared.secret && value.len() >= SHORTEST_SECRET => {
            app.object.wrong(
                format!("has {name} in the manifest: make it shorter than a secret, such as `unused`"),
                findings,
            );
        }
        Source::ConfigMap(map, key) if app.setting(map, key).is_none() => {
            let what =
                format!("takes {name} from the key {key} of ConfigMap/{map}, which is not there: add it");
            app.object.wrong(what, findings);
        }
        Source::Unknown => {
            let what = format!(
                "gives {name} no value: use value, or valueFrom with secretKeyRef or configMapKeyRef"
            );
            app.object.wrong(what, findings);
        }
        _ => (),
    }
    if name == "development" && app.value(name) != Some("false") {
        app.object.wrong("lets anybody call the relay: remove the variable development", findings);
    }
}

fn check_unset(
    manifests: &Manifests<'_>,
    app: &SpinApp<'_>,
    set: &BTreeSet<&str>,
    reads: &BTreeSet<&str>,
    findings: &mut Findings,
) {
    for (name, variable) in &manifests.spin.variables {
        if set.contains(name.as_str()) {
            continue;
        }
        if variable.required {
            let what =
                format!("does not set {name}, without which Spin does not start: add it to spec.variables");
            app.object.wrong(what, findings);
        } else if variable.secret && reads.contains(name.as_str()) {
            let what = format!("does not set {name}, which its components read: add it to spec.variables");
            app.object.wrong(what, findings);
        }
    }
}

/// Its runtime configuration is there.
fn check_runtime_config(app: &SpinApp<'_>, findings: &mut Findings) {
    let name = text(&app.object.value, "/spec/runtimeConfig/loadFromSecret");
    let secret = app.target.object("Secret", name);
    if secret.is_none_or(|secret| {
        secret.value.pointer("/data").and_then(|data| data.get(RUNTIME_CONFIG)).is_none()
    }) {
        let what = format!(
            "has no runtimeConfig.loadFromSecret with a {RUNTIME_CONFIG}, so that Spin pools no connections: add it"
        );
        app.object.wrong(what, findings);
    }
}

/// As with `spin up`: what is generated from is a copy of the file in the root.
fn check_copies(manifests: &Manifests<'_>, findings: &mut Findings) -> Result<()> {
    let original = manifests.read(RUNTIME_CONFIG)?;
    for file in manifests.built.files.iter().filter(|file| file.ends_with(&format!("/{RUNTIME_CONFIG}"))) {
        if manifests.read(file)? != original {
            findings.add(file, format!("differs from ./{RUNTIME_CONFIG}: make it a copy of that"));
        }
    }
    Ok(())
}
