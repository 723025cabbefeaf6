//! Who runs beside whom: measuring tests run alone, all others side by side.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURN: RwLock<()> = RwLock::new(());

/// Held by a test that may run beside others. Taken once a test: a second one could wait for ever behind `alone`.
/// It is held over awaits: each test has a thread and a runtime of its own, so nobody else's work waits with it.
pub(crate) struct Beside {
    _guard: RwLockReadGuard<'static, ()>,
}

/// Held by a test whose figures others would disturb.
pub(crate) struct Alone {
    _guard: RwLockWriteGuard<'static, ()>,
}

/// Waits for the tests that run alone.
pub(crate) fn beside() -> Beside {
    Beside { _guard: TURN.read().unwrap_or_else(PoisonError::into_inner) }
}

/// Waits for all others and keeps them waiting.
pub(crate) fn alone() -> Alone {
    Alone { _guard: TURN.write().unwrap_or_else(PoisonError::into_inner) }
}
