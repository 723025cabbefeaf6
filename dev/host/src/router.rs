//! Which component answers a path: routes match by path alone, never by method.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};

use crate::manifest::Route;

/// Finds the route of a path; the crate is the one that Spin uses, so that precedence is the same.
pub(crate) struct Router(routefinder::Router<Route>);

/// A route that matched, with what its `:parameters` and its wildcard matched.
#[derive(Debug)]
pub(crate) struct Match<'router> {
    /// The route as in the manifest.
    pub(crate) route: &'router Route,
    /// Each `:parameter` with its part of the path, not percent-decoded.
    pub(crate) parameters: BTreeMap<String, String>,
    /// What `/...` matched, with its leading slash; empty for a route without.
    pub(crate) trailing: String,
}

impl Router {
    /// Of two equal routes the last wins.
    pub(crate) fn new(routes: &[Route]) -> Result<Self> {
        let last_of_each: BTreeMap<&str, &Route> =
            routes.iter().map(|route| (route.pattern.as_str(), route)).collect();
        let mut router = routefinder::Router::new();
        for route in last_of_each.into_values() {
            let spec = routefinder_spec(&route.pattern);
            router.add(spec, route.clone()).map_err(|reason| anyhow!("route {}: {reason}", route.pattern))?;
        }
        Ok(Self(router))
    }

    /// The best match for `path`, which has no query.
    pub(crate) fn find(&self, path: &str) -> Option<Match<'_>> {
        let found = self.0.best_match(path)?;
        let captures = found.captures();
        Some(Match {
            trailing: captures.wildcard().map(|rest| trailing(rest, path)).unwrap_or_default(),
            parameters: captures.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            route: found.handler(),
        })
    }
}

/// Spin writes a trailing wildcard `/...`, its router `/*`.
fn routefinder_spec(pattern: &str) -> String {
    match pattern.strip_suffix("/...") {
        Some(prefix) => format!("{prefix}/*"),
        None => pattern.to_owned(),
    }
}

/// The router drops the slashes around a wildcard's match: Spin puts them back.
fn trailing(rest: &str, path: &str) -> String {
    let end = if path.ends_with('/') { "/" } else { "" };
    if rest.is_empty() { end.to_owned() } else { format!("/{rest}{end}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(routes: &[(&str, &str)]) -> Router {
        let routes: Vec<_> = routes
            .iter()
            .map(|(pattern, component)| Route { pattern: (*pattern).into(), component: (*component).into() })
            .collect();
        Router::new(&routes).unwrap()
    }

    fn component<'a>(router: &'a Router, path: &str) -> &'a str {
        router.find(path).map_or("none", |found| found.route.component.as_str())
    }

    #[test]
    fn exact_routes_go_before_parameters_and_those_before_wildcards() {
        let router = router(&[("/...", "all"), ("/tasks/:id", "one"), ("/tasks/new", "new")]);
        assert_eq!(component(&router, "/tasks/new"), "new");
        assert_eq!(component(&router, "/tasks/7"), "one");
        assert_eq!(component(&router, "/tasks/7/complete"), "all");
    }

    #[test]
    fn a_trailing_slash_is_the_same_route() {
        let router = router(&[("/api/v1/tasks", "tasks"), ("/api/v1/tasks/:id/complete", "complete")]);
        assert_eq!(component(&router, "/api/v1/tasks/"), "tasks");
        assert_eq!(component(&router, "/api/v1/tasks/7/complete/"), "complete");
        assert_eq!(component(&router, "/api/v1/task"), "none");
    }

    #[test]
    fn of_two_equal_routes_the_last_wins() {
        assert_eq!(component(&router(&[("/a", "first"), ("/a", "last")]), "/a"), "last");
    }

    #[test]
    fn parameters_are_not_decoded() {
        let router = router(&[("/tasks/:id", "task")]);
        assert_eq!(router.find("/tasks/a%20b").unwrap().parameters["id"], "a%20b");
    }

    #[test]
    fn a_wildcards_match_keeps_its_slashes() {
        let router = router(&[("/files/...", "files")]);
        let trailing = |path| router.find(path).unwrap().trailing;
        assert_eq!(trailing("/files"), "");
        assert_eq!(trailing("/files/"), "/");
        assert_eq!(trailing("/files/a/b"), "/a/b");
        assert_eq!(trailing("/files/a/"), "/a/");
    }
}
