//! One call of a client and what it came to.

use std::time::{Duration, Instant};

/// A call that was made.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    pub(crate) user: String,
    pub(crate) action: Action,
    /// The task that the call is about; `None` when the call is to create it.
    pub(crate) task_id: Option<String>,
    /// Every event of the call carries it. Now and then a client sends the same for two calls.
    pub(crate) correlation: String,
    /// The trace that the client sent; every other call has none.
    pub(crate) traceparent: Option<String>,
    pub(crate) outcome: Outcome,
    /// Which host was called.
    pub(crate) replica: usize,
    pub(crate) started: Instant,
    pub(crate) took: Duration,
}

/// As the contract spells it in `data.action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Created,
    Updated,
    Completed,
    Uncompleted,
    Deleted,
}

impl Action {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Completed => "completed",
            Self::Uncompleted => "uncompleted",
            Self::Deleted => "deleted",
        }
    }
}

/// What the client knows afterwards.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Committed, for certain.
    Acknowledged {
        /// Right after the change; of a deleted task, right before.
        task: Task,
        /// `scheduled` or `rescheduled`, where the due date changed and there is one.
        reminder: Option<&'static str>,
    },
    /// Refused on purpose: the call was wrong (4xx).
    Refused,
    /// The host could not be connected to: nothing can have been committed.
    NotSent,
    /// 503 in the contract's form. The change may have been committed, when only its confirmation was lost.
    Unavailable,
    /// Anything else: a broken connection, a time-out, another status. It may have been committed.
    Failed(String),
}

/// A task as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) completed: bool,
    pub(crate) due_date: Option<String>,
}
