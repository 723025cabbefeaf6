//! Faults on demand, for tests. Only in a build with the feature `faults`, which no release has.

use http::HeaderMap;

/// Does what the header `x-taskcast-fault` says: `panic`.
pub fn inject(headers: &HeaderMap) {
    if headers.get("x-taskcast-fault").is_some_and(|fault| fault == "panic") {
        #[allow(clippy::panic, reason = "this is the fault")]
        {
            panic!("a fault was asked for");
        }
    }
}
