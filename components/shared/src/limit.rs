//! How long something may take.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};

/// The result of `work`, or `None` when it takes longer than `limit`; then it is given up.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), pin!(spin_sdk::time::sleep(limit))).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    }
}
