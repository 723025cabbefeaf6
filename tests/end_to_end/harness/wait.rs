//! Waiting: ask again and again until the answer is there or the deadline has passed.

use std::time::{Duration, Instant};

/// How long the wait for something that should come soon may take.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// How long the wait may take where back-off or an expiring lease comes first.
pub(crate) const EVENTUALLY: Duration = Duration::from_secs(90);

/// Between two nudges.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(200);

const STEP: Duration = Duration::from_millis(20);

/// Polls `attempt` until it gives a value; after `deadline` the test fails saying `what` did not come.
pub(crate) async fn until<T>(
    deadline: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(started.elapsed() < deadline, "after {deadline:?} still waiting for: {what}");
    }
}

/// Lets time pass where the passing of time is itself what is tested: a slow peer, a steady rate.
pub(crate) async fn pass(duration: Duration) {
    let mut ticks = tokio::time::interval(duration);
    ticks.tick().await;
    ticks.tick().await;
}
