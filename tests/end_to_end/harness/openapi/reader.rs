//! Takes the document apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Header, Operation, Parameter, Path, Response, Schema};

/// References in the schema lead to the document's components.
pub(super) fn validator(root: &Value, schema: &Value) -> Validator {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "allOf": [schema],
        "components": root["components"],
    });
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

/// The paths of a document. What is not understood fails.
pub(super) fn paths(root: &Value) -> Vec<Path> {
    Reader { root, schemas: BTreeMap::new() }.paths()
}

struct Reader<'a> {
    root: &'a Value,
    /// By their text, because most are used often.
    schemas: BTreeMap<String, Schema>,
}

impl<'a> Reader<'a> {
    fn paths(&mut self) -> Vec<Path> {
        let paths = self.root["paths"].as_object().unwrap();
        paths.iter().map(|(template, item)| self.path(template, item)).collect()
    }

    fn path(&mut self, template: &str, item: &'a Value) -> Path {
        let mut operations = BTreeMap::new();
        for method in ["get", "put", "post", "delete", "options", "head", "patch", "trace"] {
            if let Some(operation) = item.get(method) {
                operations.insert(method.to_uppercase(), self.operation(item, operation));
            }
        }
        let other_methods = self.response(&item["x-other-methods"]);
        Path { template: template.to_owned(), operations, other_methods }
    }

    fn operation(&mut self, item: &'a Value, operation: &'a Value) -> Operation {
        let all = [item, operation].map(|level| level["parameters"].as_array().into_iter().flatten());
        let all: Vec<_> = all.into_iter().flatten().map(|parameter| self.resolve(parameter)).collect();
        let parameters = all.into_iter().filter_map(|parameter| self.parameter(parameter)).collect();
        let body = operation.get("requestBody").map(|body| {
            let body = self.resolve(body);
            assert_eq!(body["required"], true, "a body that may be missing");
            self.content(body)
        });
        let responses = operation["responses"].as_object().unwrap();
        let responses =
            responses.iter().map(|(status, response)| (status.parse().unwrap(), self.response(response)));
        Operation { parameters, body, responses: responses.collect() }
    }

    /// Not those in headers: what does not match counts as absent.
    fn parameter(&mut self, parameter: &'a Value) -> Option<Parameter> {
        let in_path = match parameter["in"].as_str().unwrap() {
            "path" => true,
            "query" => false,
            "header" => return None,
            other => panic!("a parameter in {other}"),
        };
        let schema = self.schema(&parameter["schema"]);
        let name = parameter["name"].as_str().unwrap().to_owned();
        Some(Parameter { name, in_path, required: parameter["required"] == true, schema })
    }

    fn response(&mut self, response: &'a Value) -> Response {
        let response = self.resolve(response);
        let own = response["headers"].as_object();
        let is_own = |name: &String| own.is_some_and(|own| own.contains_key(name));
        let common = self.root["x-common-headers"].as_object().unwrap();
        let common = common.iter().filter(|(name, _)| !is_own(name));
        let headers = own.into_iter().flatten().chain(common);
        let headers = headers.map(|(name, header)| self.header(name, header)).collect();
        Response { headers, content: self.content(response) }
    }

    fn header(&mut self, name: &str, header: &'a Value) -> Header {
        let header = self.resolve(header);
        let schema = self.schema(&header["schema"]);
        Header { name: name.to_owned(), required: header["required"] == true, schema }
    }

    fn content(&mut self, holder: &'a Value) -> BTreeMap<String, Option<Schema>> {
        let content = holder["content"].as_object().into_iter().flatten();
        content
            .map(|(name, media)| (name.clone(), media.get("schema").map(|schema| self.schema(schema))))
            .collect()
    }

    fn schema(&mut self, schema: &Value) -> Schema {
        assert!(!schema.is_null(), "a schema is missing");
        let root = self.root;
        let make = || Schema(Arc::new(validator(root, schema)));
        self.schemas.entry(schema.to_string()).or_insert_with(make).clone()
    }

    fn resolve(&self, mut value: &'a Value) -> &'a Value {
        while let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap();
            value = self.root.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"));
        }
        assert!(!value.is_null(), "a part of the document is missing");
        value
    }
}
