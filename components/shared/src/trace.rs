//! Correlation ids and W3C trace context: what follows a call through the system.

use std::borrow::Cow;

use http::HeaderMap;
use uuid::Uuid;

/// The header that carries the correlation id, in both directions.
pub const CORRELATION_HEADER: &str = "x-correlation-id";

/// The longest `tracestate` that is passed on, in characters (W3C Trace Context §3.3.1.5).
const MAX_TRACESTATE: usize = 512;

/// What ties a change and its events to the call that caused them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 1 to 128 characters of `A-Z a-z 0-9 . _ -`.
    pub correlation_id: String,
    /// The caller's `traceparent`, if it sent a valid one; otherwise that of a trace which begins with the call.
    pub traceparent: String,
    /// The caller's `tracestate`, only with a `traceparent`.
    pub tracestate: Option<String>,
}

impl Trace {
    /// The trace of a call: its `X-Correlation-ID`, else the trace id of its `traceparent`, else a new UUID.
    pub fn of(headers: &HeaderMap) -> Trace {
        let traceparent = single(headers, "traceparent").filter(|value| is_traceparent(value));
        let correlation_id = single(headers, CORRELATION_HEADER)
            .filter(|value| is_correlation_id(value))
            .or_else(|| traceparent.map(trace_id))
            .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        Trace {
            tracestate: traceparent.and_then(|_| tracestate(headers)),
            traceparent: traceparent
                .map_or_else(|| begin(&correlation_id, Uuid::new_v4(), Uuid::new_v4()), str::to_owned),
            correlation_id,
        }
    }

    /// The trace of a change as it is stored. A change without a `traceparent`, which only an earlier version can have
    /// written, begins a trace that is the same each time.
    pub fn stored(
        correlation_id: String,
        traceparent: Option<String>,
        tracestate: Option<String>,
        user_id: Uuid,
        sequence: i64,
    ) -> Trace {
        let traceparent = traceparent.unwrap_or_else(|| {
            let [trace, span] =
                ["trace", "span"].map(|part| Uuid::new_v5(&user_id, format!("{part}/{sequence}").as_bytes()));
            begin(&correlation_id, trace, span)
        });
        Trace { correlation_id, traceparent, tracestate }
    }

    /// The id of the trace, in 32 hex digits.
    pub fn trace_id(&self) -> &str {
        trace_id(&self.traceparent)
    }

    /// The `tracestate` of an event: the caller's, else a member of our own with the parent id. Dapr adds an empty
    /// attribute to an event without one, which no attribute may be (CloudEvents 1.0 §3.1).
    pub fn event_tracestate(&self) -> Cow<'_, str> {
        match &self.tracestate {
            Some(tracestate) => tracestate.into(),
            None => format!("taskcast={}", self.traceparent.get(36..52).unwrap_or_default()).into(),
        }
    }
}

/// The `traceparent` of a new trace, which is not sampled. Its id is the correlation id where that is a UUID, so that both lead to
/// the same call.
fn begin(correlation_id: &str, trace: Uuid, span: Uuid) -> String {
    let trace = Uuid::parse_str(correlation_id).ok().filter(|id| !id.is_nil()).unwrap_or(trace);
    let (span, _) = span.as_u64_pair();
    format!("00-{}-{span:016x}-00", trace.simple())
}

/// Of a `traceparent` that is known to be one.
fn trace_id(traceparent: &str) -> &str {
    traceparent.get(3..35).unwrap_or_default()
}

/// The value of a header that is there exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)?.to_str().ok()
}

fn is_correlation_id(value: &str) -> bool {
    (1..=128).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// `version-traceid-parentid-flags` in lower-case hex (W3C Trace Context §3.2.2). A later version may append fields, but
/// nothing that an event can't carry.
fn is_traceparent(value: &str) -> bool {
    let mut fields = value.split('-');
    let mut hex = |length| {
        fields.next().filter(|field| {
            field.len() == length && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let (Some(version), Some(trace_id), Some(parent_id), Some(_)) = (hex(2), hex(32), hex(16), hex(2)) else {
        return false;
    };
    let zero = |field: &str| field.bytes().all(|byte| byte == b'0');
    let complete = version != "00" || fields.next().is_none();
    let carried = value.len() <= MAX_TRACESTATE && !value.contains('\t');
    version != "ff" && complete && !zero(trace_id) && !zero(parent_id) && carried
}

/// All `tracestate` headers as one list. A tab, which may stand between its members, becomes a space: no attribute of an event
/// may have a control character (CloudEvents 1.0 §3.1.1).
fn tracestate(headers: &HeaderMap) -> Option<String> {
    let values: Option<Vec<_>> =
        headers.get_all("tracestate").iter().map(|value| value.to_str().ok()).collect();
    let list = values?.join(",").replace('\t', " ");
    (!list.is_empty() && list.len() <= MAX_TRACESTATE).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn trace(headers: &[(&'static str, &str)]) -> Trace {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Trace::of(&map)
    }

    #[test]
    fn a_sent_correlation_id_wins() {
        let trace = trace(&[("x-correlation-id", "order-7_b.C"), ("traceparent", PARENT)]);
        assert_eq!(trace.correlation_id, "order-7_b.C");
        assert_eq!(trace.traceparent, PARENT);
    }

    #[test]
    fn without_one_the_trace_id_serves() {
        let trace =
            trace(&[("x-correlation-id", "not valid"), ("traceparent", PARENT), ("tracestate", "a=1")]);
        assert_eq!(trace.correlation_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.tracestate.as_deref(), Some("a=1"));
    }

    #[test]
    fn without_either_it_is_a_new_uuid() {
        let too_long = "x".repeat(129);
        for id in ["", too_long.as_str(), "ä", "a b"] {
            let trace = trace(&[("x-correlation-id", id)]);
            assert!(Uuid::parse_str(&trace.correlation_id).is_ok(), "{id}");
        }
    }

    #[test]
    fn a_malformed_traceparent_is_dropped_with_its_tracestate() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-a\tb",
        ] {
            let trace = trace(&[("traceparent", bad), ("tracestate", "a=1")]);
            assert!(is_traceparent(&trace.traceparent) && trace.traceparent != bad, "{bad}");
            assert_eq!(trace.tracestate, None, "{bad}");
        }
    }

    #[test]
    fn several_tracestate_headers_are_one_list() {
        let trace = trace(&[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        assert_eq!(trace.tracestate.as_deref(), Some("a=1,b=2"));
    }

    #[test]
    fn a_tab_in_a_tracestate_becomes_a_space() {
        let trace = trace(&[("traceparent", PARENT), ("tracestate", "a=1,\tb=2")]);
        assert_eq!(trace.tracestate.as_deref(), Some("a=1, b=2"));
    }

    #[test]
    fn a_call_without_a_trace_begins_one_with_the_id_of_the_correlation() {
        let uuid = "0b5cbb9c-6f0e-4f4e-8f5e-3f8f6a9a2d11";
        let sent = trace(&[("x-correlation-id", uuid)]);
        assert_eq!(sent.trace_id(), uuid.replace('-', ""));
        let again = trace(&[("x-correlation-id", uuid)]);
        assert_eq!(again.trace_id(), sent.trace_id());
        assert_ne!(again.traceparent, sent.traceparent, "a span of its own");
        let created = trace(&[]);
        assert_eq!(created.trace_id(), created.correlation_id.replace('-', ""));
        for id in ["order-7", "00000000-0000-0000-0000-000000000000"] {
            let other = trace(&[("x-correlation-id", id)]);
            assert!(is_traceparent(&other.traceparent), "{id}: {}", other.traceparent);
        }
    }

    #[test]
    fn an_event_always_has_a_tracestate() {
        let both = trace(&[("traceparent", PARENT), ("tracestate", "a=1")]);
        assert_eq!(both.event_tracestate(), "a=1");
        assert_eq!(trace(&[("traceparent", PARENT)]).event_tracestate(), "taskcast=00f067aa0ba902b7");
    }
}
