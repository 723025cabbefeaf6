//! What `spin.toml` says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use toml::{Table, Value};

/// The application's manifest.
pub(super) struct Spin {
    /// The version of the application.
    pub(super) version: String,
    pub(super) variables: BTreeMap<String, Variable>,
    pub(super) components: BTreeMap<String, Component>,
}

pub(super) struct Variable {
    pub(super) required: bool,
    pub(super) secret: bool,
    pub(super) default: String,
}

#[derive(Default)]
pub(super) struct Component {
    /// The application's variables that its own variables and allowed hosts are made of.
    pub(super) reads: BTreeSet<String>,
    pub(super) routes: Vec<String>,
}

impl Spin {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let manifest: Table = text.parse().context("spin.toml")?;
        let version = manifest.get("application").and_then(|value| value.get("version"));
        let version = version.and_then(Value::as_str).context("spin.toml names no version")?.to_owned();
        let variables = table(&manifest, "variables").map(|(name, value)| (name.clone(), variable(value)));
        let mut components: BTreeMap<String, Component> =
            table(&manifest, "component").map(|(id, value)| (id.clone(), component(value))).collect();
        let triggers = manifest.get("trigger").and_then(|trigger| trigger.get("http")?.as_array());
        for trigger in triggers.into_iter().flatten() {
            let field = |name| trigger.get(name).and_then(Value::as_str).unwrap_or_default();
            if let Some(component) = components.get_mut(field("component")) {
                component.routes.push(field("route").to_owned());
            }
        }
        Ok(Self { version, variables: variables.collect(), components })
    }

    /// The variables that these components read.
    pub(super) fn read_by(&self, components: &[&str]) -> BTreeSet<&str> {
        let components = components.iter().filter_map(|id| self.components.get(*id));
        components.flat_map(|component| component.reads.iter().map(String::as_str)).collect()
    }

    /// The routes of these components.
    pub(super) fn routes_of(&self, components: &[&str]) -> Vec<&str> {
        let components = components.iter().filter_map(|id| self.components.get(*id));
        components.flat_map(|component| component.routes.iter().map(String::as_str)).collect()
    }
}

fn table<'a>(manifest: &'a Table, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    manifest.get(name).and_then(Value::as_table).into_iter().flatten()
}

fn variable(value: &Value) -> Variable {
    let flag = |name| value.get(name).and_then(Value::as_bool).unwrap_or_default();
    let default = value.get("default").and_then(Value::as_str).unwrap_or_default().to_owned();
    Variable { required: flag("required"), secret: flag("secret"), default }
}

fn component(value: &Value) -> Component {
    let variables = value.get("variables").and_then(Value::as_table);
    let hosts = value.get("allowed_outbound_hosts").and_then(Value::as_array);
    let texts = variables.into_iter().flat_map(Table::values).chain(hosts.into_iter().flatten());
    let reads = texts.filter_map(Value::as_str).flat_map(placeholders).map(str::to_owned).collect();
    Component { reads, routes: Vec::new() }
}

/// The names in `{{ name }}`.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_reads_what_its_variables_and_allowed_hosts_are_made_of() {
        let spin = Spin::parse(
            r#"
            [application]
            version = "1.2.3"
            [variables]
            host = { default = "h" }
            key = { required = true, secret = true }
            [[trigger.http]]
            route = "/a"
            component = "a"
            [component.a]
            allowed_outbound_hosts = ["postgres://{{ host }}:{{port}}"]
            variables = { own = "{{ key }}" }
            "#,
        )
        .unwrap();
        assert_eq!(spin.read_by(&["a"]), BTreeSet::from(["host", "key", "port"]));
        assert_eq!(spin.routes_of(&["a"]), ["/a"]);
        assert!(spin.variables["key"].required && spin.variables["key"].secret);
    }
}
