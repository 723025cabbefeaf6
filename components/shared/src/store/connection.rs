//! Connections that an instance keeps for a moment between its statements.
//!
//! Spin pins one of a component's 64 pooled connections for as long as a guest holds it, and resets its session each time
//! it hands one out: seven statements before ours. So a busy instance passes its connections on from statement to
//! statement, and one that nobody has used for a moment goes back to the pool, so that no instance starves another.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use spin_sdk::pg::Connection;

use super::Refusal;
use super::Refusal::Misread;
use crate::config;

/// How long a connection is kept that nobody uses.
const KEPT: Duration = Duration::from_millis(20);

struct Kept {
    connection: Connection,
    since: Instant,
}

thread_local! {
    /// The one that was used last is at the end.
    static KEPT_ONES: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
    static RETURNING: Cell<bool> = const { Cell::new(false) };
}

/// A kept connection, else one of Spin's pool.
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub(super) async fn take() -> Result<Connection, Refusal> {
    if let Some(kept) = KEPT_ONES.with_borrow_mut(Vec::pop) {
        return Ok(kept.connection);
    }
    let address = config::database_url().await.map_err(|error| Misread(error.to_string()))?;
    Ok(Connection::open(address).await?)
}

/// Keeps a connection for the next statement. No transaction may be open on it, and no statement under way.
pub(super) fn keep(connection: Connection) {
    KEPT_ONES.with_borrow_mut(|kept| kept.push(Kept { connection, since: Instant::now() }));
    if !RETURNING.replace(true) {
        spin_sdk::wasip3::spawn(give_back());
    }
}

/// Gives back what nobody uses, until nothing is kept any more.
async fn give_back() {
    while KEPT_ONES.with_borrow(|kept| !kept.is_empty()) {
        spin_sdk::time::sleep(KEPT).await;
        KEPT_ONES.with_borrow_mut(|kept| kept.retain(|kept| kept.since.elapsed() < KEPT));
    }
    RETURNING.set(false);
}
