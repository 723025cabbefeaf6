//! What a call brings of its trace is passed on only if it is valid in a header and in an event.

#![no_main]

use fuzz::{input, rules};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use shared::trace::Trace;

/// A `tracestate` may be dropped from this length on (W3C Trace Context §3.3.1.5).
const MAX_TRACESTATE: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let headers = input::headers(bytes);
    let trace = Trace::of(&headers);
    check_traceparent(&headers, &trace);
    check_tracestate(&headers, &trace);
    check_correlation_id(&headers, &trace);
    let passed_on = [Some(&trace.correlation_id), Some(&trace.traceparent), trace.tracestate.as_ref()];
    for value in passed_on.into_iter().flatten() {
        assert!(HeaderValue::from_str(value).is_ok(), "{value:?} is no value of a header");
        assert!(rules::is_attribute(value), "{value:?} is no attribute of an event");
    }
});

/// Whether the call's trace is the one that was sent.
fn is_passed_on(headers: &HeaderMap, trace: &Trace) -> bool {
    matches!(input::values(headers, "traceparent").as_slice(), [Some(sent)] if *sent == trace.traceparent)
}

/// Passed on as it came, if it came once and is one. Otherwise a trace begins, which is not sampled.
fn check_traceparent(headers: &HeaderMap, trace: &Trace) {
    let Trace { traceparent, .. } = trace;
    assert!(rules::is_traceparent(traceparent), "{traceparent:?}");
    assert_eq!(Some(trace.trace_id()), traceparent.get(3..35));
    if is_passed_on(headers, trace) {
        return;
    }
    assert!(traceparent.len() == 55 && traceparent.starts_with("00-") && traceparent.ends_with("-00"));
    if let [Some(sent)] = input::values(headers, "traceparent").as_slice() {
        assert!(!rules::is_traceparent(sent) || sent.len() > 55, "{sent:?} was dropped");
    }
}

/// Passed on with a `traceparent` only; several are one list in their order, with spaces for tabs.
fn check_tracestate(headers: &HeaderMap, trace: &Trace) {
    let sent: Option<Vec<&str>> = input::values(headers, "tracestate").into_iter().collect();
    let Some(passed_on) = &trace.tracestate else { return };
    assert!(is_passed_on(headers, trace) && !passed_on.is_empty() && passed_on.len() <= MAX_TRACESTATE);
    assert_eq!(Some(passed_on), sent.map(|sent| sent.join(",").replace('\t', " ")).as_ref());
}

/// The sender's if it sent a good one, else the trace's, else a new UUID.
fn check_correlation_id(headers: &HeaderMap, trace: &Trace) {
    let is_good = |id: &&str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        !id.is_empty() && id.len() <= 128 && id.bytes().all(allowed)
    };
    assert!(is_good(&trace.correlation_id.as_str()));
    let sent = match input::values(headers, "x-correlation-id").as_slice() {
        [Some(one)] => Some(*one).filter(is_good),
        _ => None,
    };
    match sent.or(is_passed_on(headers, trace).then(|| trace.trace_id())) {
        Some(id) => assert_eq!(trace.correlation_id, id),
        None => assert!(rules::uuid_digits(&trace.correlation_id).is_some(), "{}", trace.correlation_id),
    }
}
