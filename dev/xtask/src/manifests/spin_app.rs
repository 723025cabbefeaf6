//! A SpinApp, read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::built::{Object, Target};
use super::json::{list, named_texts, text, texts};

/// Where the SpinKube operator has every application listen, and the port of the Service that it makes.
pub(super) const APP_PORT: u64 = 80;
/// Where a sidecar listens for its own application.
pub(super) const SIDECAR_URL: &str = "http://localhost:3500";
/// The label that the operator gives to the pods of a SpinApp.
pub(super) const APP_LABEL: &str = "core.spinkube.dev/app-name";

/// A SpinApp and what is applied together with it.
#[derive(Clone, Copy)]
pub(super) struct SpinApp<'a> {
    pub(super) target: &'a Target,
    pub(super) object: &'a Object,
}

/// Where a variable's value comes from.
pub(super) enum Source<'a> {
    /// It is in the manifest.
    Plain(&'a str),
    /// A ConfigMap and its key.
    ConfigMap(&'a str, &'a str),
    /// A Secret.
    Secret,
    /// Something that Spin cannot read here, or nothing.
    Unknown,
}

impl<'a> SpinApp<'a> {
    pub(super) fn all_in(target: &'a Target) -> impl Iterator<Item = Self> {
        target.of_kind("SpinApp").map(move |object| Self { target, object })
    }

    pub(super) fn name(&self) -> &'a str {
        self.object.name()
    }

    pub(super) fn components(&self) -> Vec<&'a str> {
        texts(&self.object.value, "/spec/components")
    }

    /// An annotation of its pods.
    pub(super) fn annotation(&self, name: &str) -> &'a str {
        let annotations = self.object.value.pointer("/spec/podAnnotations");
        annotations.and_then(|all| all.get(name)?.as_str()).unwrap_or_default()
    }

    /// The labels of its pods.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = named_texts(&self.object.value, "/spec/podLabels");
        labels.insert(APP_LABEL.to_owned(), self.name().to_owned());
        labels
    }

    /// The variables that it sets, in its order.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'a str, Source<'a>)> {
        list(&self.object.value, "/spec/variables")
            .iter()
            .map(|variable| (text(variable, "/name"), source(variable)))
    }

    /// What a variable is set to, unless that is a secret.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        match self.variables().find(|(known, _)| *known == name)?.1 {
            Source::Plain(value) => Some(value),
            Source::ConfigMap(map, key) => self.setting(map, key),
            Source::Secret | Source::Unknown => None,
        }
    }

    /// A value in a ConfigMap that is applied together with it.
    pub(super) fn setting(&self, map: &str, key: &str) -> Option<&'a str> {
        let map = self.target.object("ConfigMap", map)?;
        map.value.pointer("/data")?.get(key)?.as_str()
    }
}

fn source(variable: &Value) -> Source<'_> {
    if let Some(value) = variable.get("value").and_then(Value::as_str) {
        return Source::Plain(value);
    }
    let key = |kind: &str, field: &str| text(variable, &format!("/valueFrom/{kind}/{field}"));
    match (key("configMapKeyRef", "name"), key("secretKeyRef", "name")) {
        ("", "") => Source::Unknown,
        ("", _) => Source::Secret,
        (map, _) => Source::ConfigMap(map, key("configMapKeyRef", "key")),
    }
}
