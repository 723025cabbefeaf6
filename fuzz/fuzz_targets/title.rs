//! A title is what the contract's rule makes of the text, or nothing.

#![no_main]

use fuzz::rules;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use shared::task::Title;

fuzz_target!(|text: &str| {
    let parsed = Title::parse(&Value::from(text));
    assert_eq!(parsed.as_ref().ok().map(|title| title.as_str().to_owned()), rules::title(text));
    match parsed {
        Ok(title) => assert_eq!(Title::parse(&Value::from(title.as_str())), Ok(title), "not the same again"),
        Err(detail) => assert_eq!(detail.field, "title"),
    }
});
