//! The types that the outbox and the store exchange: what a pass asks for, what it gets, and what it settles.
//!
//! They cross into the database as one JSON parameter; `next_pass` in migrations/0012_delivery.sql describes its members.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::counts::Counts;
use crate::event::Topic;
use crate::task::Change;

/// How long after the withdrawal of its promise a drain still claims the changes of mutations that relied on it, and so the
/// longest time that such a mutation's statement may take, from before it is sent until its answer is there.
pub const GRACE: Duration = Duration::from_millis(250);

/// What delivers a mutation's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The mutation's own route, for this user, after the response.
    Own(Uuid),
    /// A drain in progress, in whatever instance.
    Other,
}

/// What one claim takes at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Users to claim by name.
    pub users: Vec<Uuid>,
    /// Largest number of users, together with those of the previous pass whom the drain goes on with.
    pub limit: usize,
    /// Whether other users are claimed, those first that have waited longest.
    pub others: bool,
    /// Of the others, only those that have waited no longer than this.
    pub waiting_at_most: Option<Duration>,
    /// Largest number of changes of each user, for each topic.
    pub changes: i64,
    /// What the drain promises.
    pub promise: Promise,
}

/// What a drain lets mutations rely on (ARCHITECTURE.md, "One drain for everybody").
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Promise {
    /// Whether mutations may rely on the drain.
    pub promises: bool,
    /// End of the drain's last promise, in microseconds since 1970; 0: it has made none; `None`: a relay, which makes none.
    pub promised_until: Option<i64>,
    /// After a withdrawal: the ids of transactions that were running then, and still are. They may rely on the promise.
    pub running: Vec<i64>,
}

impl Promise {
    /// A relay's.
    pub const NONE: Promise = Promise { promises: false, promised_until: None, running: Vec::new() };

    /// Whether changes may exist that only this drain will deliver.
    pub fn is_owed(&self) -> bool {
        self.promised_until.is_some_and(|until| until > 1) || !self.running.is_empty()
    }
}

/// What one claim has got.
#[derive(Debug)]
pub struct Claimed {
    /// [`Promise::promised_until`] from now on.
    pub promised_until: Option<i64>,
    /// [`Promise::running`] from now on.
    pub running: Vec<i64>,
    /// Users to claim by name: the claim had no room for them, or another session had locked their row.
    pub left: Vec<Uuid>,
    /// Users of the previous pass whose row another session had locked: they are not settled.
    pub unsettled: Vec<Uuid>,
    /// The leased users.
    pub claims: Vec<Claim>,
}

impl Claimed {
    /// The number of changes, each counted once for each position at which a topic stands.
    pub fn changes(&self) -> usize {
        self.claims.iter().flat_map(|claim| &claim.windows).map(|window| window.changes.len()).sum()
    }
}

/// A leased user and the user's next changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The user.
    pub user_id: Uuid,
    /// The fencing token of the lease.
    pub lease_token: i64,
    /// The sequence number of the user's newest change, which may not be in a window.
    pub last_sequence: i64,
    /// By topic: the sequence number up to which everything is delivered.
    pub delivered: [i64; 3],
    /// By topic: failures in a row.
    pub attempts: [i32; 3],
    /// The bits of topics whose time for a retry has not come.
    pub waiting_topics: i32,
    /// Whether the drain goes on with this user until everything is delivered.
    pub goes_on: bool,
    /// The next changes, from each position at which a topic stands.
    pub windows: Vec<Window>,
}

/// A user's next changes after one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The position: a sequence number.
    pub after: i64,
    /// In sequence.
    pub changes: Vec<Change>,
    /// The change after those, if this version can't read it: another one has written it. The user waits there.
    pub unreadable: Option<Unreadable>,
}

/// A change that this version can't read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its members as they are stored.
    pub stored: serde_json::Value,
    /// What is wrong with them.
    pub error: String,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The user.
    pub user_id: Uuid,
    /// The fencing token of the lease.
    pub lease_token: i64,
    /// [`Claim::goes_on`].
    pub goes_on: bool,
    /// [`Claim::last_sequence`].
    pub last_sequence: i64,
    /// By topic: the sequence number up to which everything is delivered now.
    pub delivered: [i64; 3],
    /// By topic: milliseconds until the retry; `None` when nothing failed this time.
    pub retry_after_ms: [Option<i64>; 3],
    /// The bits of topics that were not tried, because they wait for their retry.
    pub waiting_topics: i32,
    /// Events that were refused for good.
    #[serde(skip)]
    pub parked: Vec<Parked>,
}

impl Outcome {
    /// Whether something has to be tried again.
    pub fn has_failed(&self) -> bool {
        self.retry_after_ms.iter().any(Option::is_some)
    }

    /// Whether no topic took anything, of those that every change goes to.
    pub fn got_nowhere(&self) -> bool {
        let [events, updates, _] = self.retry_after_ms;
        let stands =
            |retry: Option<i64>, topic: Topic| retry.is_some() || self.waiting_topics & topic.bit() != 0;
        self.has_failed() && stands(events, Topic::TaskEvents) && stands(updates, Topic::TaskUpdates)
    }
}

/// An event that was refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The user's change.
    pub sequence: i64,
    /// The topic that refused it.
    pub topic: Topic,
    /// The reason.
    pub error: String,
}

/// What a pass has done, until it is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What became of each claim.
    pub outcomes: Vec<Outcome>,
    /// For the metrics; `None`: they have been counted.
    pub counts: Option<Counts>,
    /// From when on others may claim the users.
    pub leased_until: Instant,
}

/// What settling has left.
#[derive(Debug, Default, Deserialize)]
pub struct Settled {
    /// Settled users whom the drain goes on with.
    pub goes_on: Vec<Uuid>,
    /// Users who are not settled, because another session had locked their row.
    pub unsettled: Vec<Uuid>,
}

/// A parked event that is to be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requeued {
    /// Its number among the parked events.
    pub id: i64,
    /// What it is, or why this version can't read it.
    pub event: Result<(Topic, Change), String>,
}
