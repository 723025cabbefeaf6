//! What the kustomizations say, built and checked by the program of `dev/manifests`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use stack::{Broker, Deliver};

use super::findings::Findings;
use super::json::{list, text};
use crate::project::Project;
use crate::steps::checker::{self, Checker};

/// The overlay that the optional components are tried on.
const PRODUCTION: &str = "overlays/production";
const SPINKUBE: &str = "core.spinkube.dev";

/// Everything that was built.
pub(super) struct Built {
    /// What is applied, and not what only others build on.
    pub(super) targets: Vec<Target>,
    /// What `cargo xtask up` tells the sidecar.
    pub(super) development: Vec<Object>,
    /// Every file that took part.
    pub(super) files: Vec<String>,
}

/// What is applied together.
pub(super) struct Target {
    /// A directory, a directory and a component with a `+` between them, or a file; from the root of the clone.
    pub(super) path: String,
    pub(super) objects: Vec<Object>,
    files: Vec<String>,
}

/// An object as Kustomize makes it.
pub(super) struct Object {
    target: String,
    checked_by: String,
    pub(super) value: Value,
}

impl Built {
    /// Builds all kustomizations below a directory. What is wrong with objects by themselves goes into the findings.
    pub(super) fn build(
        project: &Project,
        checker: &Checker,
        directory: &str,
        findings: &mut Findings,
    ) -> Result<Self> {
        let development = project.local("manifests/development");
        let broker = Broker::Kafka { bootstrap: "localhost:9092".to_owned() };
        stack::write_resources(&development, &broker, Deliver::EventsAndTicks)?;
        let mut command = Command::new(checker.program());
        command.current_dir(project.path("")).args(["--json", "--rest", directory]);
        command.arg("--definitions").arg(checker.dapr_definitions());
        match checker::spinkube_definitions(project) {
            Some(definitions) => command.arg("--definitions").arg(definitions),
            None => command.args(["--unchecked", SPINKUBE]),
        };
        let mut targets = Vec::new();
        kustomizations(&project.path(""), directory, directory, &mut targets)?;
        command.args(&targets).args(checker::files_below(&development)?);
        let output = command.output().context("run the checker of manifests")?;
        // 1: it has checked everything, and something is wrong.
        if !matches!(output.status.code(), Some(0 | 1)) {
            bail!("the checker of manifests failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let lines = String::from_utf8_lossy(&output.stdout);
        collect(&lines, &development.display().to_string(), findings)
    }

    /// What each kind was checked by, and how many objects there were.
    pub(super) fn summary(&self) -> Vec<String> {
        let mut kinds: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
        for object in self.targets.iter().flat_map(|target| &target.objects).chain(&self.development) {
            *kinds.entry(&object.checked_by).or_default().entry(object.kind()).or_default() += 1;
        }
        let line = |(by, kinds): (&str, BTreeMap<&str, u32>)| {
            let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
            format!("checked by {by}: {}", kinds.join(", "))
        };
        kinds.into_iter().map(line).collect()
    }
}

impl Target {
    /// The objects of a kind.
    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |object| object.kind() == kind)
    }

    /// An object by its kind and name.
    pub(super) fn object(&self, kind: &str, name: &str) -> Option<&Object> {
        self.of_kind(kind).find(|object| object.name() == name)
    }

    /// Whether it was made of the kustomization in a directory, too.
    pub(super) fn uses(&self, directory: &str) -> bool {
        self.files.contains(&format!("{directory}/kustomization.yaml"))
    }

    fn is_built_on_by(&self, other: &Self) -> bool {
        self.path != other.path && !other.path.contains('+') && other.uses(&self.path)
    }
}

impl Object {
    pub(super) fn kind(&self) -> &str {
        text(&self.value, "/kind")
    }

    pub(super) fn name(&self) -> &str {
        text(&self.value, "/metadata/name")
    }

    pub(super) fn namespace(&self) -> &str {
        text(&self.value, "/metadata/namespace")
    }

    /// A setting of a Dapr component; empty when it is not there, or no text.
    pub(super) fn metadata(&self, name: &str) -> &str {
        let mut entries = list(&self.value, "/spec/metadata").iter();
        entries
            .find(|entry| text(entry, "/name") == name)
            .map(|entry| text(entry, "/value"))
            .unwrap_or_default()
    }

    /// Adds a mistake of this object.
    pub(super) fn wrong(&self, what: impl AsRef<str>, findings: &mut Findings) {
        findings.add(&self.target, format!("{}/{}: {}", self.kind(), self.name(), what.as_ref()));
    }
}

/// The directories with a kustomization, from the root of the clone; a component comes on top of the production overlay.
fn kustomizations(root: &Path, deploy: &str, directory: &str, found: &mut Vec<String>) -> Result<()> {
    let entries = fs::read_dir(root.join(directory)).with_context(|| format!("read {directory}"))?;
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names {
        let path = format!("{directory}/{name}");
        if root.join(&path).is_dir() {
            kustomizations(root, deploy, &path, found)?;
        } else if name == "kustomization.yaml" {
            let text = fs::read_to_string(root.join(&path)).with_context(|| format!("read {path}"))?;
            let component = text.lines().any(|line| line.trim_end() == "kind: Component");
            found.push(if component {
                format!("{deploy}/{PRODUCTION}+{directory}")
            } else {
                directory.to_owned()
            });
        }
    }
    Ok(())
}

/// Reads the checker's lines; each has the target that it is about.
fn collect(lines: &str, development: &str, findings: &mut Findings) -> Result<Built> {
    let mut targets: Vec<Target> = Vec::new();
    let mut problems = Vec::new();
    for line in lines.lines() {
        let mut line: Value =
            serde_json::from_str(line).context("the checker of manifests prints no JSON")?;
        let path = text(&line, "/target").to_owned();
        if targets.last().is_none_or(|target| target.path != path) {
            targets.push(Target { path: path.clone(), objects: Vec::new(), files: Vec::new() });
        }
        let Some(target) = targets.last_mut() else { continue };
        match (text(&line, "/file"), text(&line, "/problem")) {
            ("", "") => {
                let checked_by = text(&line, "/checkedBy").to_owned();
                let value = line.get_mut("object").map(Value::take).unwrap_or_default();
                target.objects.push(Object { target: path, checked_by, value });
            }
            ("", problem) => problems.push((path, problem.to_owned())),
            (file, _) => target.files.push(file.to_owned()),
        }
    }
    let files = targets.iter().flat_map(|target| target.files.clone()).collect();
    let (development, targets): (Vec<_>, Vec<_>) =
        targets.into_iter().partition(|target| target.path.starts_with(development));
    let mut bases: Vec<String> = Vec::new();
    for target in targets.iter().filter(|target| !target.path.contains("/overlays/")) {
        if targets.iter().any(|other| target.is_built_on_by(other)) {
            bases.push(target.path.clone());
        }
    }
    let targets: Vec<Target> = targets.into_iter().filter(|target| !bases.contains(&target.path)).collect();
    for (path, problem) in problems {
        // Whoever builds on a base has its mistakes, too.
        if !bases.contains(&path) {
            findings.add(&path, problem);
        }
    }
    let development = development.into_iter().flat_map(|target| target.objects).collect();
    Ok(Built { targets, development, files })
}
