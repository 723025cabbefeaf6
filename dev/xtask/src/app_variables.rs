//! The app's variables (`spin.toml`), from the parts that run.

use std::collections::BTreeMap;

use anyhow::Result;
use stack::DatabaseAddress;

/// Everything else keeps the default of `spin.toml`.
pub(crate) fn variables(
    database_url: &str,
    jwt_secret: &str,
    dapr_url: &str,
    app_token: &str,
) -> Result<BTreeMap<String, String>> {
    let database_host = DatabaseAddress::parse(database_url)?.host_port().to_owned();
    let variables = [
        ("database_url", database_url),
        ("database_host", &database_host),
        ("jwt_secret", jwt_secret),
        ("dapr_url", dapr_url),
        ("app_api_token", app_token),
    ];
    Ok(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}
