//! Reads `spin.toml`, as far as this host can honour it.
//!
//! What it cannot honour is an error rather than ignored: nothing may pass here and behave otherwise under `spin up`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// A `spin.toml` that this host can run.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// `[variables]`, by name.
    pub(crate) variables: BTreeMap<String, Variable>,
    /// `[[trigger.http]]`, in the order of the file: of two equal routes the last wins.
    pub(crate) routes: Vec<Route>,
    /// The components that some route names.
    pub(crate) components: BTreeMap<String, Component>,
}

/// A variable's declaration: it has a default or is required.
#[derive(Debug, Deserialize)]
pub(crate) struct Variable {
    /// The value when the environment has none.
    pub(crate) default: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(default, rename = "secret")]
    _secret: bool,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// Which component answers a path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Route {
    /// As in the manifest, such as `/api/v1/tasks/:id`.
    pub(crate) pattern: String,
    /// The component's id.
    pub(crate) component: String,
}

/// A component's settings, with its templates not yet expanded.
#[derive(Debug)]
pub(crate) struct Component {
    /// The `.wasm` file.
    pub(crate) source: PathBuf,
    /// Where it may connect to.
    pub(crate) allowed_outbound_hosts: Vec<String>,
    /// The values it can ask for.
    pub(crate) variables: BTreeMap<String, String>,
    /// Its process environment.
    pub(crate) environment: BTreeMap<String, String>,
}

type Unknown = BTreeMap<String, toml::Value>;

/// Fields that say nothing about how the application runs.
const HARMLESS: [&str; 8] = ["authors", "build", "description", "id", "name", "targets", "tool", "version"];

#[derive(Deserialize)]
struct File {
    spin_manifest_version: i64,
    #[serde(default)]
    application: Unknown,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    #[serde(default)]
    trigger: BTreeMap<String, Vec<TriggerTable>>,
    #[serde(default)]
    component: BTreeMap<String, ComponentTable>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct TriggerTable {
    route: Option<toml::Value>,
    component: Option<toml::Value>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
struct ComponentTable {
    source: toml::Value,
    #[serde(default)]
    allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(flatten)]
    unknown: Unknown,
}

/// Reads the manifest at `path`; component sources are relative to it.
pub(crate) fn read(path: &Path) -> Result<Manifest> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    parse(&text, directory).with_context(|| path.display().to_string())
}

fn parse(text: &str, directory: &Path) -> Result<Manifest> {
    let mut file: File = toml::from_str(text).map_err(|error| one_line(text, &error))?;
    ensure!(file.spin_manifest_version == 2, "spin_manifest_version must be 2");
    reject_unknown("the manifest", &file.unknown)?;
    reject_unknown("[application]", &file.application)?;
    for (name, variable) in &file.variables {
        variable.check(name)?;
    }
    let routes = routes(std::mem::take(&mut file.trigger))?;
    let mut components = BTreeMap::new();
    for route in &routes {
        // Two routes may name one component: the second finds its table already taken.
        if let Some(table) = file.component.remove(&route.component) {
            components.insert(route.component.clone(), table.into_component(&route.component, directory)?);
        }
        ensure!(
            components.contains_key(&route.component),
            "route {} names the component \"{}\", which has no [component.{}]",
            route.pattern,
            route.component,
            route.component
        );
    }
    Ok(Manifest { variables: file.variables, routes, components })
}

fn routes(mut triggers: BTreeMap<String, Vec<TriggerTable>>) -> Result<Vec<Route>> {
    let http = triggers.remove("http").unwrap_or_default();
    if let Some(other) = triggers.keys().next() {
        bail!("this host has no {other} trigger, only http: run the application with spin");
    }
    ensure!(!http.is_empty(), "there is no [[trigger.http]], so nothing to serve");
    http.into_iter().map(TriggerTable::into_route).collect()
}

impl Variable {
    fn check(&self, name: &str) -> Result<()> {
        crate::variables::validate_name(name)
            .map_err(|reason| anyhow::anyhow!("variable {name:?} {reason}"))?;
        reject_unknown(&format!("variable {name:?}"), &self.unknown)?;
        ensure!(
            self.required != self.default.is_some(),
            "variable {name:?} must have a default or `required = true`, and not both"
        );
        Ok(())
    }
}

impl TriggerTable {
    fn into_route(self) -> Result<Route> {
        reject_unknown("[[trigger.http]]", &self.unknown)?;
        let (Some(toml::Value::String(pattern)), Some(toml::Value::String(component))) =
            (self.route, self.component)
        else {
            bail!("a [[trigger.http]] of this host has a `route` and a `component`, both strings");
        };
        Ok(Route { pattern, component })
    }
}

impl ComponentTable {
    fn into_component(self, id: &str, directory: &Path) -> Result<Component> {
        reject_unknown(&format!("[component.{id}]"), &self.unknown)?;
        let toml::Value::String(source) = self.source else {
            bail!("the source of component \"{id}\" must be a file: this host downloads nothing");
        };
        Ok(Component {
            source: directory.join(source),
            allowed_outbound_hosts: self.allowed_outbound_hosts,
            variables: self.variables,
            environment: self.environment,
        })
    }
}

fn reject_unknown(place: &str, fields: &Unknown) -> Result<()> {
    let unsupported =
        fields.iter().find(|(name, value)| !HARMLESS.contains(&name.as_str()) && !is_empty(value));
    match unsupported {
        Some((name, _)) => {
            bail!("{place} has `{name}`, which this host does not implement: run it with spin")
        }
        None => Ok(()),
    }
}

fn is_empty(value: &toml::Value) -> bool {
    match value {
        toml::Value::Array(items) => items.is_empty(),
        toml::Value::Table(entries) => entries.is_empty(),
        _ => false,
    }
}

/// The parser's own text draws the line over several: at start an error is one line.
pub(crate) fn one_line(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    anyhow::anyhow!("line {line}: {}", error.message().replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "app"
        [[trigger.http]]
        route = "/a"
        component = "one"
        [component.one]
        source = "one.wasm"
    "#;

    fn error_of(text: &str) -> String {
        format!("{:#}", parse(text, Path::new("")).unwrap_err())
    }

    #[test]
    fn sources_are_relative_to_the_manifest() {
        let manifest = parse(MINIMAL, Path::new("/somewhere")).unwrap();
        assert_eq!(manifest.components["one"].source, Path::new("/somewhere/one.wasm"));
        assert_eq!(manifest.routes, [Route { pattern: "/a".into(), component: "one".into() }]);
    }

    #[test]
    fn the_applications_own_manifest_is_accepted() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spin.toml");
        let manifest = read(&root).unwrap();
        assert!(manifest.components.contains_key("tasks"));
    }

    #[test]
    fn a_field_that_is_not_implemented_is_refused_by_name() {
        let message = error_of(&format!("{MINIMAL}\n key_value_stores = [\"default\"]"));
        assert_eq!(
            message,
            "[component.one] has `key_value_stores`, which this host does not implement: run it with spin"
        );
    }

    #[test]
    fn an_empty_list_asks_for_nothing() {
        parse(&format!("{MINIMAL}\n files = []"), Path::new("")).unwrap();
    }

    #[test]
    fn another_trigger_is_refused() {
        let message =
            error_of(&format!("{MINIMAL}\n[[trigger.redis]]\nchannel = \"c\"\ncomponent = \"one\""));
        assert!(message.starts_with("this host has no redis trigger"), "{message}");
    }

    #[test]
    fn a_route_needs_its_component() {
        let message = error_of(&MINIMAL.replace("[component.one]", "[component.two]"));
        assert!(message.contains("has no [component.one]"), "{message}");
    }

    #[test]
    fn a_variable_has_a_default_or_is_required() {
        let message = error_of(&format!("{MINIMAL}\n[variables]\na = {{ secret = true }}"));
        assert_eq!(message, "variable \"a\" must have a default or `required = true`, and not both");
    }

    #[test]
    fn a_syntax_error_names_its_line_on_one_line() {
        let message = error_of("spin_manifest_version = 2\nfoo = [");
        assert!(message.starts_with("line 2") && !message.contains('\n'), "{message}");
    }
}
