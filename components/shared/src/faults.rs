//! Faults on demand, for tests. Only in a build with the feature `faults`, which no release has.

use std::cell::Cell;
use std::time::Duration;

use http::HeaderMap;

/// The instance's drain stops for good after its next claim: between commit and publish.
pub const BEFORE_PUBLISH: &str = "hold-before-publish";

/// The instance's drain stops for good after it has published next: between publish and settle.
pub const BEFORE_SETTLE: &str = "hold-before-settle";

/// The instance's drain publishes next, and settles only when its lease has long run out and others have taken over.
pub const STALL: &str = "stall-before-settle";

/// Longer than the lease with the default time-out for publishing.
const STALL_TIME: Duration = Duration::from_secs(17);

thread_local! {
    static HOLD: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Does what the header `x-taskcast-fault` says: `panic`, at once, or one of the points at which a drain stops.
pub fn inject(headers: &HeaderMap) {
    let fault = headers.get("x-taskcast-fault").and_then(|fault| fault.to_str().ok());
    match fault {
        #[allow(clippy::panic, reason = "this is the fault")]
        Some("panic") => panic!("a fault was asked for"),
        Some(point) => {
            HOLD.set([BEFORE_PUBLISH, BEFORE_SETTLE, STALL].into_iter().find(|known| *known == point))
        }
        None => {}
    }
}

/// Whether a fault waits for this instance's drain, which therefore must not be left to another.
pub fn awaits_drain() -> bool {
    HOLD.get().is_some()
}

/// Never returns when this is the point that was asked for: the test kills the host meanwhile.
pub async fn hold_if(point: &str) {
    while HOLD.get() == Some(point) {
        spin_sdk::time::sleep(Duration::from_secs(60)).await;
    }
}

/// Stands still, once, if that was asked for.
pub async fn stall() {
    if HOLD.get() == Some(STALL) {
        HOLD.set(None);
        spin_sdk::time::sleep(STALL_TIME).await;
    }
}
