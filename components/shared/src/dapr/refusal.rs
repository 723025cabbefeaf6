//! An answer of the sidecar that is not success: whether the event itself is at fault, and which events of a bulk call failed.

use std::collections::BTreeSet;

use serde::Deserialize;
use spin_sdk::http::Response;

use super::Failure;
use crate::http::read_body;

/// Upper bound for the response body, in bytes. It may name each event of a bulk call.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Upper bound for the message that is logged and stored.
const MAX_MESSAGE_CHARACTERS: usize = 1_000;

/// The error codes by which Dapr says that it cannot read or write this event as a CloudEvent. Only these park an event: every
/// other code is about the configuration or the broker, which an operator mends (the table is in ARCHITECTURE.md).
const EVENT_CODES: [&str; 2] = ["ERR_PUBSUB_EVENTS_SER", "ERR_PUBSUB_CLOUD_EVENTS_SER"];

/// The statuses by which something between the app and Dapr refuses a body. A bulk body may be refused where the bodies of
/// its events are accepted, because of its size or because of one event.
const BODY_STATUSES: [u16; 4] = [400, 413, 415, 422];

/// Why the sidecar did not publish, or why it could not be asked.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(skip)]
    status: u16,
    /// Dapr's own; empty where the answer is not Dapr's.
    #[serde(rename = "errorCode", default)]
    error_code: String,
    #[serde(default)]
    message: String,
    #[serde(rename = "failedEntries", default)]
    failed_entries: Vec<FailedEntry>,
}

#[derive(Clone, Deserialize)]
struct FailedEntry {
    #[serde(rename = "entryId")]
    entry_id: String,
}

impl Refusal {
    /// A publish that has no answer.
    pub(super) fn because(error: impl ToString) -> Refusal {
        Refusal { message: error.to_string(), ..Refusal::default() }
    }

    /// Reads only the fields of Dapr's own errors, because any other text may quote the event. The message is cut so that it
    /// can be logged and stored: PostgreSQL has no text with U+0000.
    pub(super) async fn read(response: Response) -> Refusal {
        let status = response.status();
        let body = read_body(response.into_body(), MAX_ANSWER_BYTES).await.unwrap_or_default();
        let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        let message = format!("status {} {} {}", status.as_u16(), refusal.error_code, refusal.message);
        let message =
            message.trim_end().replace('\0', "\u{fffd}").chars().take(MAX_MESSAGE_CHARACTERS).collect();
        Refusal { status: status.as_u16(), message, ..refusal }
    }

    /// The events of a bulk call to publish again, each alone: the answer to a single call says whether its event is at fault.
    /// The others of the call were published. `None` when the answer does not say which events were published: then none
    /// counts as published, and nothing is known about a single event.
    pub(super) fn suspects<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Option<BTreeSet<&'a str>> {
        let sent: BTreeSet<_> = ids.collect();
        if self.is_about_the_event() || self.is_about_the_body() {
            return Some(sent);
        }
        let failed: BTreeSet<_> = self
            .failed_entries
            .iter()
            .filter_map(|entry| sent.get(entry.entry_id.as_str()).copied())
            .collect();
        // An id that is unknown, empty or repeated: the answer is not about these events alone.
        let is_certain = failed.len() == self.failed_entries.len();
        // All of them failed: the way to the broker is at fault, which they share.
        (is_certain && (1..sent.len()).contains(&failed.len())).then_some(failed)
    }

    fn is_about_the_event(&self) -> bool {
        EVENT_CODES.contains(&self.error_code.as_str())
    }

    fn is_about_the_body(&self) -> bool {
        self.error_code.is_empty() && BODY_STATUSES.contains(&self.status)
    }
}

impl From<Refusal> for Failure {
    /// For the answer to a single call.
    fn from(refusal: Refusal) -> Failure {
        if refusal.is_about_the_event() {
            Failure::Reject(refusal.message)
        } else {
            Failure::Retry(refusal.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: &str, failed: &[&str]) -> Refusal {
        let failed_entries = failed.iter().map(|id| FailedEntry { entry_id: (*id).to_owned() }).collect();
        Refusal { status, error_code: code.to_owned(), failed_entries, ..Refusal::default() }
    }

    fn suspects(refusal: &Refusal) -> Option<Vec<&'static str>> {
        refusal.suspects(["a", "b", "c"].into_iter()).map(|ids| ids.into_iter().collect())
    }

    /// Each code of Dapr 1.18 with each status that it comes with.
    #[test]
    fn only_the_codes_that_blame_the_event_park_it() {
        for (status, code) in [
            (400, "ERR_PUBSUB_NOT_FOUND"),
            (404, "ERR_PUBSUB_NOT_FOUND"),
            (400, "ERR_PUBSUB_NOT_CONFIGURED"),
            (404, "ERR_PUBSUB_EMPTY"),
            (404, "ERR_TOPIC_NAME_EMPTY"),
            (403, "ERR_PUBSUB_FORBIDDEN"),
            (400, "ERR_PUBSUB_REQUEST_METADATA"),
            (500, "ERR_PUBSUB_PUBLISH_MESSAGE"),
            (400, "ERR_OF_A_LATER_VERSION"),
        ] {
            assert!(matches!(refusal(status, code, &[]).into(), Failure::Retry(_)), "{status} {code}");
        }
        for (status, code) in [
            (400, "ERR_PUBSUB_EVENTS_SER"),
            (500, "ERR_PUBSUB_EVENTS_SER"),
            (500, "ERR_PUBSUB_CLOUD_EVENTS_SER"),
        ] {
            assert!(matches!(refusal(status, code, &[]).into(), Failure::Reject(_)), "{status} {code}");
        }
    }

    /// A proxy, a middleware, Go's own server, or no answer at all.
    #[test]
    fn an_answer_without_a_code_of_dapr_parks_nothing() {
        for status in [0, 400, 401, 403, 404, 408, 413, 415, 422, 429, 431, 500, 502, 503] {
            assert!(matches!(refusal(status, "", &[]).into(), Failure::Retry(_)), "{status}");
        }
    }

    #[test]
    fn a_bulk_answer_that_names_some_events_is_about_these() {
        assert_eq!(suspects(&refusal(500, "ERR_PUBSUB_PUBLISH_MESSAGE", &["c", "b"])), Some(vec!["b", "c"]));
    }

    #[test]
    fn a_bulk_answer_about_an_event_or_about_the_body_suspects_every_event() {
        let all = Some(vec!["a", "b", "c"]);
        assert_eq!(suspects(&refusal(400, "ERR_PUBSUB_EVENTS_SER", &[])), all);
        assert_eq!(suspects(&refusal(500, "ERR_PUBSUB_CLOUD_EVENTS_SER", &[])), all);
        for status in BODY_STATUSES {
            assert_eq!(suspects(&refusal(status, "", &[])), all, "{status}");
        }
    }

    #[test]
    fn a_bulk_answer_about_the_way_to_the_broker_suspects_no_event() {
        for refusal in [
            refusal(0, "", &[]),
            refusal(500, "", &[]),
            refusal(500, "ERR_PUBSUB_PUBLISH_MESSAGE", &[]),
            refusal(500, "ERR_PUBSUB_PUBLISH_MESSAGE", &["a", "b", "c"]),
            refusal(400, "ERR_PUBSUB_NOT_FOUND", &[]),
            refusal(400, "ERR_PUBSUB_NOT_CONFIGURED", &[]),
            refusal(403, "ERR_PUBSUB_FORBIDDEN", &[]),
        ] {
            assert_eq!(suspects(&refusal), None, "{} {}", refusal.status, refusal.error_code);
        }
    }

    /// Otherwise an event that the answer does not name would count as delivered, and be lost.
    #[test]
    fn a_bulk_answer_with_an_id_that_was_not_sent_counts_nothing_as_published() {
        for failed in [&["x"][..], &["a", "x"], &[""], &["a", ""], &["a", "a"], &["a", "b", "c", "x"]] {
            assert_eq!(suspects(&refusal(500, "ERR_PUBSUB_PUBLISH_MESSAGE", failed)), None, "{failed:?}");
        }
    }

    #[test]
    fn a_body_that_is_not_daprs_has_no_code_and_names_no_event() {
        for body in ["", "bad gateway", "{\"failedEntries\": [{\"id\": \"a\"}]}", "{\"errorCode\": 5}", "[]"]
        {
            let refusal: Refusal = serde_json::from_str(body).unwrap_or_default();
            assert!(refusal.error_code.is_empty() && refusal.failed_entries.is_empty(), "{body}");
        }
    }
}
