//! What the app wrote to its log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonschema::Validator;
use serde_json::Value;

use crate::harness::environment::{manifest, root};
use crate::harness::secrets;

/// The log file of a running app.
pub(crate) struct Log {
    file: PathBuf,
    secrets: Vec<String>,
    /// How many bytes have been found to be right.
    checked: AtomicUsize,
}

impl Log {
    /// It must show none of the secrets.
    pub(crate) fn new(file: &Path, secrets: Vec<String>) -> Self {
        Self { file: file.to_owned(), secrets, checked: AtomicUsize::new(0) }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.file).unwrap_or_default()).into_owned()
    }

    /// The components' lines. What is no JSON is not among them.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let text = self.text();
        text.lines().filter_map(|line| serde_json::from_str(of_component(line)?).ok()).collect()
    }

    /// The lines that say this.
    pub(crate) fn saying(&self, message: &str) -> Vec<Value> {
        let mut entries = self.entries();
        entries.retain(|entry| entry["message"] == message);
        entries
    }

    /// The failed publishes of one task.
    pub(crate) fn failures_of(&self, task: &str) -> Vec<Value> {
        let mut entries = self.entries();
        entries.retain(|entry| entry["task_id"] == task && entry.get("error").is_some());
        entries
    }

    /// Nothing that the host and the components have written so far shows a secret.
    #[track_caller]
    pub(crate) fn assert_no_secrets(&self) {
        secrets::assert_none_in(&self.text(), &self.secrets, &self.file.display().to_string());
    }

    /// No component has panicked, and no instance has ended with requests under way.
    #[track_caller]
    pub(crate) fn assert_no_panic(&self) {
        let text = self.text();
        for end in ["panicked", "An instance of"] {
            assert!(!text.contains(end), "{text}");
        }
    }

    /// Every line that a component has written since the last check is one of docs/schemas/log-line.v1.json.
    #[track_caller]
    pub(crate) fn assert_documented(&self) {
        let from = self.checked.load(Ordering::Relaxed);
        let text = self.text();
        let new = text.get(from..).unwrap_or_default();
        // The host may be writing the last one.
        let whole = &new[..new.rfind('\n').map_or(0, |end| end + 1)];
        for line in whole.lines().filter_map(of_component) {
            let entry: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            let errors: Vec<_> = validator().iter_errors(&entry).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{line} is not documented: {errors:?}");
        }
        self.checked.store(from + whole.len(), Ordering::Relaxed);
    }
}

/// What a component wrote, of a line of the host's output: the embedded host puts the component's id before it, Spin nothing.
fn of_component(line: &str) -> Option<&str> {
    let rest = line.split_once(" | ").filter(|(id, _)| components().contains_key(*id)).map(|(_, rest)| rest);
    rest.or_else(|| line.starts_with('{').then_some(line))
}

/// By whose ids the embedded host's lines begin.
fn components() -> &'static toml::Table {
    static COMPONENTS: OnceLock<toml::Table> = OnceLock::new();
    COMPONENTS.get_or_init(|| manifest()["component"].as_table().unwrap().clone())
}

/// A kind of line, as the schema has it.
pub(crate) struct Kind {
    pub(crate) message: String,
    pub(crate) level: String,
    /// Besides those that every line has.
    pub(crate) fields: BTreeSet<String>,
}

/// Every kind of line.
pub(crate) fn kinds() -> Vec<Kind> {
    let schema = schema();
    schema["oneOf"].as_array().unwrap().iter().map(|part| kind(&schema, part)).collect()
}

fn kind(schema: &Value, part: &Value) -> Kind {
    let constant = |name: &str| part["properties"][name]["const"].as_str().unwrap().to_owned();
    let mut fields = properties(schema, part);
    fields.retain(|field| !["message", "level"].contains(&field.as_str()));
    Kind { message: constant("message"), level: constant("level"), fields }
}

/// Those of a part of the schema, and of what it refers to.
fn properties(schema: &Value, part: &Value) -> BTreeSet<String> {
    let own = part["properties"].as_object().unwrap().keys().cloned();
    let referred = part["$ref"].as_str().map(|name| {
        let path = name.strip_prefix('#').unwrap();
        properties(schema, schema.pointer(path).unwrap())
    });
    own.chain(referred.into_iter().flatten()).collect()
}

fn schema() -> Value {
    let text = std::fs::read_to_string(root().join("docs/schemas/log-line.v1.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn validator() -> &'static Validator {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    VALIDATOR.get_or_init(|| {
        let schema = schema();
        assert_eq!(schema["unevaluatedProperties"], false, "the schema must be closed");
        jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
    })
}
