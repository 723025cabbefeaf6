//! The id in a path is the text of its fourth segment, and the log's route hides nothing else.

#![no_main]

use fuzz::rules;
use http::Uri;
use libfuzzer_sys::fuzz_target;
use shared::http::{id_in, route};

fuzz_target!(|text: &str| {
    check(text);
    // As a request brings it.
    if let Ok(uri) = Uri::try_from(text) {
        check(uri.path());
    }
});

fn check(path: &str) {
    let segments: Vec<&str> = path.split('/').collect();
    let digits = segments.get(4).and_then(|segment| rules::uuid_digits(segment));
    assert_eq!(id_in(path).map(|id| id.simple().to_string()), digits);
    let mut expected = segments;
    while expected.len() > 1 && expected.last() == Some(&"") {
        expected.pop();
    }
    if let Some(id) = expected.get_mut(4) {
        *id = "{id}";
    }
    assert_eq!(route(path), expected.join("/"));
}
