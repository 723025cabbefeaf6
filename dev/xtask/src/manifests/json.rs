//! Looking into JSON: what is absent is empty.

use std::collections::BTreeMap;

use serde_json::Value;

/// The text at a JSON pointer.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a JSON pointer.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The texts in the list at a JSON pointer.
pub(super) fn texts<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    list(value, pointer).iter().filter_map(Value::as_str).collect()
}

/// The names and values at a JSON pointer.
pub(super) fn entries<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let entries = value.pointer(pointer).and_then(Value::as_object);
    entries.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// The names and texts at a JSON pointer, as labels are.
pub(super) fn named_texts(value: &Value, pointer: &str) -> BTreeMap<String, String> {
    let entries = entries(value, pointer);
    entries.map(|(name, value)| (name.to_owned(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// Calls `visit` with every name and value, however deep.
pub(super) fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a str, &'a Value)) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                visit(name, value);
                walk(value, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => (),
    }
}
