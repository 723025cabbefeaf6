//! docs/openapi.yaml, against which every request and every answer is held.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jsonschema::Validator;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Body, Request};
use serde_json::Value;

use crate::harness::answer::{Answer, media_type};
use crate::harness::environment::root;

mod reader;

/// What the document is about; it says nothing of `/internal`.
const API: &str = "/api/";

/// Headers of HTTP itself.
const OF_HTTP: [&str; 4] = ["cache-control", "connection", "content-type", "date"];

/// The parsed document.
pub(crate) struct Document {
    pub(crate) root: Value,
    paths: Vec<Path>,
}

/// A request, as far as the document says something about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

struct Path {
    template: String,
    operations: BTreeMap<String, Operation>,
    /// What any other method gets.
    other_methods: Response,
}

struct Operation {
    parameters: Vec<Parameter>,
    /// The schemas of the body by media type, if it needs one.
    body: Option<BTreeMap<String, Option<Schema>>>,
    responses: BTreeMap<u16, Response>,
}

struct Parameter {
    name: String,
    in_path: bool,
    required: bool,
    schema: Schema,
}

struct Response {
    headers: Vec<Header>,
    content: BTreeMap<String, Option<Schema>>,
}

struct Header {
    name: String,
    required: bool,
    schema: Schema,
}

#[derive(Clone)]
struct Schema(Arc<Validator>);

/// The document of the repository, parsed once.
pub(crate) fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let text = std::fs::read_to_string(root().join("docs/openapi.yaml")).unwrap();
        Document::new(serde_saphyr::from_str(&text).unwrap())
    })
}

impl Document {
    pub(crate) fn new(root: Value) -> Self {
        let paths = reader::paths(&root);
        Self { root, paths }
    }

    /// Says where request or answer differ from the document.
    pub(crate) fn check(&self, sent: &Sent, answer: &Answer) -> Result<(), String> {
        self.difference(sent, answer).map_err(|difference| {
            let Sent { method, path, .. } = sent;
            let query = if sent.query.is_empty() { String::new() } else { format!("?{}", sent.query) };
            format!("docs/openapi.yaml: {method} {path}{query} was answered {}: {difference}", answer.status)
        })
    }

    /// Each path with its methods.
    pub(crate) fn methods(&'static self) -> BTreeMap<&'static str, Vec<&'static str>> {
        let methods = |path: &'static Path| path.operations.keys().map(String::as_str).collect();
        self.paths.iter().map(|path| (path.template.as_str(), methods(path))).collect()
    }

    /// A validator for a schema of the document.
    pub(crate) fn validator(&self, schema: &Value) -> Validator {
        reader::validator(&self.root, schema)
    }

    fn difference(&self, sent: &Sent, answer: &Answer) -> Result<(), String> {
        if !sent.path.starts_with(API) {
            return Ok(());
        }
        let Some((path, values)) = self.find(&sent.path) else {
            let by_host = answer.status == 404 && answer.header("x-correlation-id").is_none();
            return by_host.then_some(()).ok_or_else(|| "no such path is documented".to_owned());
        };
        let Some(operation) = path.operations.get(&sent.method) else {
            if answer.status != 405 {
                return Err("no such method is documented".to_owned());
            }
            return path.other_methods.check(sent, answer, path);
        };
        let response = operation.responses.get(&answer.status).ok_or("no such status is documented")?;
        response.check(sent, answer, path)?;
        match operation.refusal(sent, &values) {
            Some(reason) if !(400..500).contains(&answer.status) => {
                Err(format!("the document does not allow the request: {reason}"))
            }
            _ => Ok(()),
        }
    }

    /// The path's entry, and what its parameters stand for; of several the one with the fewest.
    fn find(&self, path: &str) -> Option<(&Path, BTreeMap<String, String>)> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let found = self.paths.iter().filter_map(|entry| Some((entry, parameters(&entry.template, path)?)));
        found.min_by_key(|(_, values)| values.len())
    }
}

impl Sent {
    /// What a request is before it is sent.
    pub(crate) fn of(request: &Request) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Self {
            method: request.method().to_string(),
            path: request.url().path().to_owned(),
            query: request.url().query().unwrap_or_default().to_owned(),
            content_type: content_type.map(str::to_owned),
            body: request.body().and_then(Body::as_bytes).unwrap_or_default().to_vec(),
        }
    }
}

impl Operation {
    /// Why the document does not allow the request.
    fn refusal(&self, sent: &Sent, values: &BTreeMap<String, String>) -> Option<String> {
        self.parameters
            .iter()
            .find_map(|parameter| parameter.refusal(sent, values))
            .or_else(|| self.refused_body(sent))
    }

    fn refused_body(&self, sent: &Sent) -> Option<String> {
        let content = self.body.as_ref()?;
        // Without a content type it is taken for the only one.
        let stated = sent.content_type.as_deref().map(media_type).map(str::to_ascii_lowercase);
        let schema = match stated {
            Some(stated) => match content.get(&stated) {
                Some(schema) => schema,
                None => return Some(format!("its content type is {stated}")),
            },
            None => content.values().next()?,
        };
        schema.as_ref()?.wrong_json(&sent.body).map(|what| format!("its body: {what}"))
    }
}

impl Parameter {
    fn refusal(&self, sent: &Sent, values: &BTreeMap<String, String>) -> Option<String> {
        let mut query = sent.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let value = match self.in_path {
            true => values.get(&self.name).map(String::as_str),
            false => query.find(|(name, _)| *name == self.name).map(|(_, value)| value),
        };
        match value {
            None => self.required.then(|| format!("it has no parameter {}", self.name)),
            Some(value) => {
                self.schema.wrong_text(value).map(|what| format!("parameter {}: {what}", self.name))
            }
        }
    }
}

impl Response {
    fn check(&self, sent: &Sent, answer: &Answer, path: &Path) -> Result<(), String> {
        for header in &self.headers {
            header.check(&answer.headers)?;
        }
        self.check_others(&answer.headers)?;
        check_allow(answer, path)?;
        if sent.method == "HEAD" {
            // The type is that of the body which GET has.
            return answer.body.is_empty().then_some(()).ok_or_else(|| "it has a body".to_owned());
        }
        self.check_body(answer)
    }

    fn check_others(&self, headers: &HeaderMap) -> Result<(), String> {
        let known = |name: &str| self.headers.iter().any(|header| header.name.eq_ignore_ascii_case(name));
        match headers.keys().find(|name| !known(name.as_str()) && !OF_HTTP.contains(&name.as_str())) {
            Some(name) => Err(format!("the header {name} is not documented")),
            None => Ok(()),
        }
    }

    fn check_body(&self, answer: &Answer) -> Result<(), String> {
        let Some(content_type) = answer.header("content-type").map(media_type) else {
            let empty = self.content.is_empty() && answer.body.is_empty();
            return empty.then_some(()).ok_or_else(|| "it has no content type".to_owned());
        };
        let schema = self.content.get(content_type);
        let schema = schema.ok_or_else(|| format!("the content type {content_type} is not documented"))?;
        match schema.as_ref().and_then(|schema| schema.wrong_json(&answer.body)) {
            Some(what) => Err(format!("the body: {what}, in {}", answer.text())),
            None => Ok(()),
        }
    }
}

impl Header {
    fn check(&self, headers: &HeaderMap) -> Result<(), String> {
        let Some(value) = headers.get(&self.name) else {
            return if self.required { Err(format!("the header {} is missing", self.name)) } else { Ok(()) };
        };
        match self.schema.wrong_text(&String::from_utf8_lossy(value.as_bytes())) {
            Some(what) => Err(format!("the header {}: {what}", self.name)),
            None => Ok(()),
        }
    }
}

impl Schema {
    fn wrong_json(&self, body: &[u8]) -> Option<String> {
        match serde_json::from_slice(body) {
            Ok(value) => self.wrong(&value),
            Err(error) => Some(format!("not JSON, {error}")),
        }
    }

    /// A text that may stand for a number or a boolean, too.
    fn wrong_text(&self, text: &str) -> Option<String> {
        let other =
            serde_json::from_str(text).ok().filter(|value: &Value| value.is_number() || value.is_boolean());
        match other.is_some_and(|value| self.0.is_valid(&value)) {
            true => None,
            false => self.wrong(&text.into()),
        }
    }

    fn wrong(&self, value: &Value) -> Option<String> {
        let errors: Vec<_> = self
            .0
            .iter_errors(value)
            .map(|error| format!("{} at {:?}", error, error.instance_path().as_str()))
            .collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }
}

/// `Allow` names the methods of the path, and no others.
fn check_allow(answer: &Answer, path: &Path) -> Result<(), String> {
    let Some(allow) = answer.header("allow") else { return Ok(()) };
    let mut methods: Vec<_> = allow.split(", ").collect();
    methods.sort_unstable();
    let documented: Vec<_> = path.operations.keys().map(String::as_str).collect();
    (methods == documented)
        .then_some(())
        .ok_or_else(|| format!("Allow is {allow}, documented are {documented:?}"))
}

/// What the `{parameters}` of a template stand for, if the path is one of it.
fn parameters(template: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let (expected, actual): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    if expected.len() != actual.len() {
        return None;
    }
    let mut values = BTreeMap::new();
    for (expected, actual) in expected.into_iter().zip(actual) {
        match expected.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => drop(values.insert(name.to_owned(), actual.to_owned())),
            None if expected == actual => (),
            None => return None,
        }
    }
    Some(values)
}
