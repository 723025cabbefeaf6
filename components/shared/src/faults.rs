//! Faults on demand, for tests. Only in a build with the feature `faults`, which no release has.

use std::cell::Cell;
use std::time::Duration;

use http::HeaderMap;

/// The instance's drain stops for good after its next claim: between commit and publish.
pub const BEFORE_PUBLISH: &str = "hold-before-publish";

/// The instance's drain stops for good after it has published next: between publish and settle.
pub const BEFORE_SETTLE: &str = "hold-before-settle";

thread_local! {
    static HOLD: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Does what the header `x-taskcast-fault` says: `panic`, at once, or one of the points at which a drain stops.
pub fn inject(headers: &HeaderMap) {
    let fault = headers.get("x-taskcast-fault").and_then(|fault| fault.to_str().ok());
    match fault {
        #[allow(clippy::panic, reason = "this is the fault")]
        Some("panic") => panic!("a fault was asked for"),
        Some(point) => HOLD.set([BEFORE_PUBLISH, BEFORE_SETTLE].into_iter().find(|known| *known == point)),
        None => {}
    }
}

/// Never returns when this is the point that was asked for: the test kills the host meanwhile.
pub async fn hold_if(point: &str) {
    while HOLD.get() == Some(point) {
        spin_sdk::time::sleep(Duration::from_secs(60)).await;
    }
}
