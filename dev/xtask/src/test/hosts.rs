//! Which tests run on which host: all of them on Spin where it is installed, and on the embedded host those that would
//! show a difference.

use clap::ValueEnum;

use crate::steps::host::Choice;

/// What the end-to-end tests run on.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Hosts {
    /// `spin` from the PATH, 4.1 or later
    Spin,
    /// The host of this repository, built when needed
    Embedded,
    /// All tests on one and then on the other
    Both,
}

impl Hosts {
    /// The host that runs all tests and the chaos run.
    pub(super) fn first(self) -> Choice {
        match self {
            Self::Spin | Self::Both => Choice::Spin,
            Self::Embedded => Choice::Embedded,
        }
    }
}

/// Tests that run on the embedded host as well: their results depend on what the host does rather than on what the
/// components do. A name that ends with `::` is a module.
pub(super) const ON_BOTH: [&str; 21] = [
    // Reading requests: each host has an HTTP server of its own version.
    "raw_requests::framing::",
    "raw_requests::heads::",
    "raw_requests::smuggling::",
    "raw_requests::targets::",
    // The headers that a host adds to a request, and routes.
    "task::a_path_parameter_header_from_the_client_changes_nothing",
    "isolation::all_pretences_at_once_change_nothing",
    "errors::a_trailing_slash_is_the_same_route",
    // Work after the response, also when the client is gone or the instance has ended.
    "disconnects::",
    "panics::",
    // PostgreSQL: values, errors, connections.
    "tasks::any_other_title_comes_back_as_it_was_sent",
    "tasks::a_due_date_is_carried_and_normalised_to_utc",
    "statements::sql_in_a_field_is_a_value",
    "errors::an_unexpected_failure_says_nothing_of_the_inside",
    "database_faults::a_cut_between_two_requests_is_noticed_by_the_first_one_at_most",
    "database_faults::a_database_that_never_answers_is_unavailable",
    "database_faults::a_server_that_only_reads_is_unavailable_to_mutations",
    "hosts::",
    // Requests to the sidecar: time-outs, and answers that never end.
    "sidecar_faults::with_a_hanging_sidecar_all_routes_answer_and_the_events_come_later",
    "sidecar_faults::of_an_answer_without_end_only_the_start_is_read",
    // Spans and variables.
    "traces::request_publish_and_event_are_in_the_callers_trace",
    "health::",
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::ON_BOTH;

    /// A test that was renamed would silently run on one host only.
    #[test]
    fn each_test_that_runs_on_both_hosts_exists() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/end_to_end");
        for name in ON_BOTH {
            let (module, test) = name.rsplit_once("::").unwrap();
            let file = tests.join(module.replace("::", "/")).with_extension("rs");
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
            let expected = if test.is_empty() { "#[tokio::test]".to_owned() } else { format!("fn {test}(") };
            assert!(text.contains(&expected), "{name} is not in {}", file.display());
        }
    }
}
