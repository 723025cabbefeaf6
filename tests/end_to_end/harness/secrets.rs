//! What no log and no answer may show, whatever fails.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use stack::DatabaseAddress;

use crate::harness::environment::{admin_url, manifest};
use crate::harness::nudge::APP_TOKEN;
use crate::harness::user::SECRET;

/// How every JSON Web Token begins: `{"` in base64.
const START_OF_A_TOKEN: &str = "eyJ";

/// Shorter values, such as those that are refused for being short, are words that may well be in a log.
const SHORTEST: usize = 8;

/// What must not be in the log of an app with these variables: those that spin.toml calls secret, the database's password, and any
/// token of a user.
pub(crate) fn of_log(variables: &BTreeMap<String, String>) -> Vec<String> {
    let declared = manifest()["variables"].as_table().unwrap().clone();
    let is_secret = |name: &String| declared[name].get("secret").and_then(toml::Value::as_bool) == Some(true);
    let secrets = variables.iter().filter(|(name, value)| is_secret(name) && value.len() >= SHORTEST);
    let secrets = secrets.map(|(_, value)| value.clone());
    secrets.chain([password(), START_OF_A_TOKEN.to_owned()]).collect()
}

/// Must not be in any answer.
pub(crate) fn of_answers() -> &'static [String] {
    static VALUES: OnceLock<Vec<String>> = OnceLock::new();
    VALUES.get_or_init(|| vec![SECRET.to_owned(), APP_TOKEN.to_owned(), password()])
}

/// Of every role, in every database.
fn password() -> String {
    DatabaseAddress::parse(&admin_url()).unwrap().password().expect("the administrator's password").to_owned()
}

/// Fails for a text that shows one, and does not show it again.
#[track_caller]
pub(crate) fn assert_none_in(text: &str, secrets: &[String], what: &str) {
    for (number, line) in text.lines().enumerate() {
        let shown = secrets.iter().position(|secret| line.contains(secret.as_str()));
        assert!(
            shown.is_none(),
            "line {} of {what} shows secret number {}",
            number + 1,
            shown.unwrap_or_default()
        );
    }
}
