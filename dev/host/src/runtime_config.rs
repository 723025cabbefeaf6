//! Reads the runtime configuration file: how the host behaves, as opposed to what the application is.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What this host takes from a runtime configuration.
#[derive(Debug, PartialEq)]
pub(crate) struct RuntimeConfig {
    /// Whether connections of outbound HTTP are kept for the next request.
    pub(crate) connection_pooling: bool,
    /// Upper bound for the connections to PostgreSQL that all components hold at the same time, if there is one.
    pub(crate) max_pg_connections: Option<usize>,
}

/// Without a file, pooling is on and nothing is bounded.
impl Default for RuntimeConfig {
    fn default() -> Self {
        Self { connection_pooling: true, max_pg_connections: None }
    }
}

#[derive(Deserialize)]
struct File {
    outbound_http: Option<OutboundHttp>,
    outbound_pg: Option<OutboundPg>,
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

/// A section without the line turns pooling off: Spin's default of the field, not of the section.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutboundHttp {
    #[serde(default)]
    connection_pooling: bool,
}

/// Spin has no setting for how long a guest waits for a connection: it waits forever.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutboundPg {
    max_connections: Option<usize>,
}

/// Reads the file at `path`.
pub(crate) fn read(path: &Path) -> Result<RuntimeConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<RuntimeConfig> {
    let file: File = toml::from_str(text).map_err(|error| crate::manifest::one_line(text, &error))?;
    if let Some(section) = file.unknown.keys().next() {
        bail!("this host does not implement [{section}]: leave it out or run the application with spin");
    }
    Ok(RuntimeConfig {
        connection_pooling: file.outbound_http.is_none_or(|section| section.connection_pooling),
        max_pg_connections: file.outbound_pg.and_then(|section| section.max_connections),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_is_on_unless_a_section_forgets_it() {
        let pooling = |text| parse(text).unwrap().connection_pooling;
        assert!(pooling(""));
        assert!(pooling("[outbound_http]\nconnection_pooling = true"));
        assert!(!pooling("[outbound_http]"));
    }

    #[test]
    fn a_setting_that_is_not_implemented_is_refused_by_name() {
        let error = parse("[outbound_networking]\nmax_total_connections = 3").unwrap_err();
        assert!(error.to_string().contains("[outbound_networking]"));
        parse("[outbound_http]\nmax_connections = 3").unwrap_err();
        parse("[outbound_pg]\nwait_timeout = 3").unwrap_err();
    }

    #[test]
    fn connections_to_postgresql_are_bounded_where_the_file_says_so() {
        let bound = |text| parse(text).unwrap().max_pg_connections;
        assert_eq!(bound(""), None);
        assert_eq!(bound("[outbound_pg]"), None);
        assert_eq!(bound("[outbound_pg]\nmax_connections = 3"), Some(3));
        assert_eq!(bound("[outbound_pg]\nmax_connections = 0"), Some(0));
        for wrong in ["-1", "\"3\"", "1.5"] {
            parse(&format!("[outbound_pg]\nmax_connections = {wrong}")).unwrap_err();
        }
    }

    #[test]
    fn the_applications_own_file_is_accepted() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtime-config.toml");
        assert!(read(&root).unwrap().connection_pooling);
    }
}
