//! The database: one function per SQL statement, each in a file of `sql/`.
//!
//! Every function takes a connection and gives it back before it returns: nothing may hold one while it waits for
//! anything else than the database ([`connection`]).

mod connection;
mod list;

pub use list::{TaskList, list_tasks};

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use spin_sdk::pg::{
    Connection, DbValue, Decode, Error as PgError, ParameterValue, PgError as Failure, QueryError,
};
use uuid::Uuid;

use crate::config;
use crate::error::Error;
use crate::event::Topic;
use crate::limit::within;
use crate::outbox::{Claim, Claimed, Counts, Delivery, Done, Outcome, Requeued, Wanted};
use crate::task::{Action, Change, NewTask, Task, TaskPatch, Timestamp, Title};
use crate::trace::Trace;
use crate::turns::{self, Line, Turn};

/// SQLSTATE foreign_key_violation.
const FOREIGN_KEY_VIOLATION: &str = "23503";

/// SQLSTATEs that say "not now": the server shuts down or starts, has no connection left, only reads, took too long, be it for a
/// lock, or chose this statement to end a deadlock, such as one with a deletion of the user's whole account.
const UNAVAILABLE: [&str; 8] = ["57P01", "57P02", "57P03", "53300", "25006", "57014", "55P03", "40P01"];

/// How long a statement may take together with the way there and back, and with opening a connection. Longer than the server
/// gives a statement: that one ends it where it runs; this is for a server that says nothing.
pub const LONGEST_STATEMENT: Duration = config::STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(1));

/// How long a mutation or a list may wait until others of its user are through in the same instance.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// One task.
///
/// Errors: `TaskNotFound`; `Authorization` when it is someone else's.
pub async fn find_task(user: Uuid, task: Uuid) -> Result<Task, Error> {
    let _turn = turn(Line::Reads(user), "reads").await?;
    let rows = query(include_str!("sql/find_task.sql"), vec![uuid(task)]).await?;
    let mut row = rows.into_iter().next().ok_or(Error::TaskNotFound)?;
    match row.next::<Uuid>()? {
        owner if owner == user => row.task(task),
        _ => Err(Error::Authorization("the task is someone else's")),
    }
}

/// Creates a task and records the change, unless the user has `most` tasks. Whoever creates several at once may get a few more:
/// one for each instance.
///
/// Errors: `USER_NOT_FOUND` where there is a `users` table and the user is not in it; `TaskLimitReached`.
pub async fn create_task(
    user: Uuid,
    new: &NewTask,
    most: Option<u32>,
    trace: &Trace,
) -> Result<(Task, Delivery), Error> {
    let id = Uuid::new_v4();
    let mut parameters =
        vec![uuid(id), uuid(user), text(new.title.as_str()), optional(new.due_date.map(Timestamp::micros))];
    parameters.extend(trace_parameters(trace));
    parameters.push(optional(most.map(i64::from)));
    let rows =
        mutate(user, include_str!("sql/create_task.sql"), parameters).await.map_err(|error| match error {
            Refused { ref code, .. } if code == FOREIGN_KEY_VIOLATION => Error::USER_NOT_FOUND,
            error => error.into(),
        })?;
    let mut row = rows.into_iter().next().ok_or(Error::TaskLimitReached)?;
    let created_at = row.instant()?;
    let task = Task {
        id,
        title: new.title.as_str().to_owned(),
        completed: false,
        due_date: new.due_date,
        created_at,
        updated_at: created_at,
    };
    Ok((task, row.delivery(user)?))
}

/// Patches a task and records the change as `action`, also when no value changes.
///
/// Errors: as [`find_task`].
pub async fn update_task(
    user: Uuid,
    task: Uuid,
    action: Action,
    patch: &TaskPatch,
    trace: &Trace,
) -> Result<(Task, Delivery), Error> {
    let mut parameters = vec![
        uuid(task),
        uuid(user),
        text(action.as_str()),
        optional(patch.title.as_ref().map(Title::as_str).map(str::to_owned)),
        optional(patch.completed),
        ParameterValue::Boolean(patch.due_date.is_some()),
        optional(patch.due_date.flatten().map(Timestamp::micros)),
    ];
    parameters.extend(trace_parameters(trace));
    match mutate(user, include_str!("sql/update_task.sql"), parameters).await?.into_iter().next() {
        Some(mut row) => Ok((row.task(task)?, row.delivery(user)?)),
        None => Err(why_not_changed(user, task).await),
    }
}

/// Deletes a task and records the change.
///
/// Errors: as [`find_task`].
pub async fn delete_task(user: Uuid, task: Uuid, trace: &Trace) -> Result<Delivery, Error> {
    let mut parameters = vec![uuid(task), uuid(user)];
    parameters.extend(trace_parameters(trace));
    let rows = mutate(user, include_str!("sql/delete_task.sql"), parameters).await?;
    let mut row = only_row(rows)?;
    match row.next()? {
        true => row.delivery(user),
        false => Err(why_not_changed(user, task).await),
    }
}

/// Why a mutation matched no task of the user's.
async fn why_not_changed(user: Uuid, task: Uuid) -> Error {
    // The user's own task can appear here only if it was created in between: it was not there for the mutation.
    find_task(user, task).await.err().unwrap_or(Error::TaskNotFound)
}

/// Settles what was published: records what was delivered, drops what has reached every topic, and ends the leases.
pub async fn settle(done: &Done) -> Result<(), Error> {
    if done.outcomes.is_empty() {
        return Ok(());
    }
    let mut parameters = outcome_parameters(&done.outcomes);
    parameters.push(counts(done.counts.clone()));
    query(include_str!("sql/settle_changes.sql"), parameters).await?;
    Ok(())
}

/// Settles what was published, and then leases users who have something to deliver, with their next changes.
pub async fn next_pass(done: &Done, wanted: &Wanted, lease: Duration) -> Result<Claimed, Error> {
    let outcomes = &done.outcomes;
    let mut parameters = outcome_parameters(outcomes);
    parameters.extend([
        ParameterValue::ArrayInt32(outcomes.iter().map(|outcome| Some(outcome.own.into())).collect()),
        ints(outcomes, |outcome| Some(outcome.last_sequence)),
        texts(&wanted.users, Uuid::to_string),
        int(wanted.others),
        optional(wanted.waiting_at_most.map(milliseconds)),
        int(wanted.changes),
        milliseconds(lease),
        int(wanted.drain_until),
        optional(wanted.counts_for.map(milliseconds)),
        counts(done.counts.clone()),
    ]);
    let rows = query(include_str!("sql/next_pass.sql"), parameters).await?;
    only_row(rows)?.json::<StoredPass>()?.try_into()
}

fn outcome_parameters(outcomes: &[Outcome]) -> Vec<ParameterValue> {
    let parked: Vec<_> = outcomes
        .iter()
        .flat_map(|outcome| outcome.parked.iter().map(|parked| (outcome.user_id, parked)))
        .collect();
    vec![
        texts(outcomes, |outcome| outcome.user_id.to_string()),
        ints(outcomes, |outcome| Some(outcome.lease_token)),
        ints(outcomes, |outcome| Some(outcome.delivered[0])),
        ints(outcomes, |outcome| Some(outcome.delivered[1])),
        ints(outcomes, |outcome| Some(outcome.delivered[2])),
        ParameterValue::ArrayInt32(outcomes.iter().map(|outcome| Some(outcome.blocked_topics)).collect()),
        ints(outcomes, |outcome| outcome.retry_after_ms),
        texts(&parked, |(user, _)| user.to_string()),
        ints(&parked, |(_, parked)| Some(parked.sequence)),
        texts(&parked, |(_, parked)| parked.topic.name().to_owned()),
        texts(&parked, |(_, parked)| parked.error.clone()),
    ]
}

/// Leases at most `limit` parked events that are to be tried again.
pub async fn claim_requeued(limit: i64, lease: Duration) -> Result<Vec<Requeued>, Error> {
    let parameters = vec![int(limit), milliseconds(lease)];
    let rows = query(include_str!("sql/claim_requeued.sql"), parameters).await?;
    rows.into_iter().map(|mut row| row.requeued()).collect()
}

/// Deletes parked events that were delivered, and parks those again that were refused again, each with why.
pub async fn settle_requeued(
    delivered: &[i64],
    refused: &[(i64, String)],
    done: Counts,
) -> Result<(), Error> {
    let parameters = vec![
        ints(delivered, |id| Some(*id)),
        ints(refused, |(id, _)| Some(*id)),
        texts(refused, |(_, error)| error.clone()),
        counts(Some(done)),
    ];
    query(include_str!("sql/settle_requeued.sql"), parameters).await?;
    Ok(())
}

/// How the outbox is, and what deliveries have done since it was made.
pub async fn read_metrics() -> Result<Metrics, Error> {
    let rows = query(include_str!("sql/read_metrics.sql"), Vec::new()).await?;
    let StoredMetrics { pending, oldest_pending_seconds, oldest_snapshot_transactions, parked, totals } =
        only_row(rows)?.json()?;
    let mut counts = Counts::default();
    for (count, total) in counts.positions().zip(totals) {
        *count = total;
    }
    Ok(Metrics { pending, oldest_pending_seconds, oldest_snapshot_transactions, parked, counts })
}

/// Asks the database for nothing, to see whether it answers.
pub async fn ping() -> Result<(), Error> {
    query("select 1", Vec::new()).await?;
    Ok(())
}

/// How the outbox is; by topic, in the order of [`Topic::ALL`].
pub struct Metrics {
    /// Changes that have not reached the topic, or been passed over where they mean nothing to it.
    pub pending: [i64; 3],
    /// For how long the oldest of them has waited; 0 when there is none.
    pub oldest_pending_seconds: f64,
    /// Transactions that have begun since the oldest snapshot or transaction that PostgreSQL keeps dead rows for.
    pub oldest_snapshot_transactions: i64,
    /// Events that were refused for good and wait for an operator.
    pub parked: [i64; 3],
    /// What deliveries have done.
    pub counts: Counts,
}

#[derive(Deserialize)]
struct StoredMetrics {
    pending: [i64; 3],
    oldest_pending_seconds: f64,
    oldest_snapshot_transactions: i64,
    parked: [i64; 3],
    totals: Vec<i64>,
}

/// Why a statement failed. Only the parts of the server's message that never quote a row's values.
enum Refusal {
    Unreachable(String),
    Refused { code: String, message: String },
    Misread(String),
}
use Refusal::{Misread, Refused, Unreachable};

impl From<PgError> for Refusal {
    fn from(error: PgError) -> Refusal {
        match error {
            PgError::PgError(Failure::ConnectionFailed(message)) => Unreachable(message),
            PgError::PgError(Failure::QueryFailed(QueryError::DbError(error))) => {
                Refused { code: error.code, message: error.message }
            }
            // Without a structured error, the connection broke: the server never says "no" without a code.
            PgError::PgError(Failure::QueryFailed(QueryError::Text(message))) => Unreachable(message),
            other => Misread(other.to_string()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Unreachable(message) => Error::DatabaseUnavailable(message),
            Refused { code, message } if code.starts_with("08") || UNAVAILABLE.contains(&code.as_str()) => {
                Error::DatabaseUnavailable(format!("{code} {message}"))
            }
            Refused { code, message } => Error::Internal(format!("database: {code} {message}")),
            Misread(message) => Error::Internal(format!("database: {message}")),
        }
    }
}

async fn query(sql: &'static str, parameters: Vec<ParameterValue>) -> Result<Vec<Row>, Refusal> {
    let answer = within(LONGEST_STATEMENT, answer(sql, parameters)).await;
    // The connection has gone with it: nobody may use one on which a statement is under way.
    answer.unwrap_or_else(|| Err(Unreachable(format!("no answer within {LONGEST_STATEMENT:?}"))))
}

/// The same for what changes tasks of the user's.
async fn mutate(user: Uuid, sql: &'static str, parameters: Vec<ParameterValue>) -> Result<Vec<Row>, Refusal> {
    let _turn = turn(Line::Mutations(user), "changes").await?;
    query(sql, parameters).await
}

/// Waits for the user's turn with such requests in this instance.
async fn turn(line: Line, what: &str) -> Result<Turn, Refusal> {
    let turn = within(LONGEST_WAIT, turns::take(line)).await;
    turn.ok_or_else(|| {
        Unreachable(format!("the user's {what} before this one took more than {LONGEST_WAIT:?}"))
    })
}

async fn answer(sql: &'static str, parameters: Vec<ParameterValue>) -> Result<Vec<Row>, Refusal> {
    let connection = connection::take().await?;
    let result = rows(&connection, sql, parameters).await;
    // Only a server that answered has left the connection as it was.
    if matches!(result, Ok(_) | Err(Refused { .. })) {
        connection::keep(connection);
    }
    result
}

/// Every statement is a constant of the program: what clients send is bound to it, never a part of it.
#[expect(clippy::disallowed_methods, reason = "the one place")]
async fn rows(
    connection: &Connection,
    sql: &'static str,
    parameters: Vec<ParameterValue>,
) -> Result<Vec<Row>, Refusal> {
    let (_, mut stream, end) = connection.query(sql, parameters).await?.into_inner();
    let mut rows = Vec::new();
    while let Some(values) = stream.next().await {
        rows.push(Row(values.into_iter()));
    }
    // The stream also ends when the statement fails half-way.
    end.await.map_err(PgError::PgError)?;
    Ok(rows)
}

fn only_row(rows: Vec<Row>) -> Result<Row, Error> {
    rows.into_iter().next().ok_or_else(|| Error::Internal("a statement returned no row".into()))
}

/// The values of a row, taken from left to right.
struct Row(std::vec::IntoIter<DbValue>);

impl Row {
    fn next<T: Decode>(&mut self) -> Result<T, Error> {
        let value = self.0.next().ok_or_else(|| Error::Internal("a row is too short".into()))?;
        T::decode(&value).map_err(|error| Error::Internal(format!("reading a row: {error}")))
    }

    fn instant(&mut self) -> Result<Timestamp, Error> {
        self.optional_instant()?.ok_or_else(|| Error::Internal("an instant is missing".into()))
    }

    fn optional_instant(&mut self) -> Result<Option<Timestamp>, Error> {
        self.next::<Option<i64>>()?.map(instant).transpose()
    }

    /// A row that has everything but the id.
    fn task(&mut self, id: Uuid) -> Result<Task, Error> {
        Ok(Task {
            id,
            title: self.next()?,
            completed: self.next()?,
            due_date: self.optional_instant()?,
            created_at: self.instant()?,
            updated_at: self.instant()?,
        })
    }

    /// What left_to_drain() said.
    fn delivery(&mut self, user: Uuid) -> Result<Delivery, Error> {
        let left = self.next()?;
        #[cfg(feature = "faults")]
        let left = left && !crate::faults::awaits_drain();
        Ok(if left { Delivery::Other } else { Delivery::Own(user) })
    }

    /// A value that the statement made into a JSON text.
    fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let text: String = self.next()?;
        serde_json::from_str(&text).map_err(|error| Error::Internal(format!("reading JSON: {error}")))
    }

    fn requeued(&mut self) -> Result<Requeued, Error> {
        let (id, topic) = (self.next()?, self.next::<String>()?);
        let topic =
            Topic::parse(&topic).ok_or_else(|| Error::Internal(format!("{topic:?} is not a topic")))?;
        let user_id = self.next()?;
        Ok(Requeued { id, topic, change: self.json::<StoredChange>()?.of(user_id)? })
    }
}

/// What `next_pass` returns, in JSON.
#[derive(Deserialize)]
struct StoredPass {
    drain_until: i64,
    look_again: bool,
    claims: Vec<StoredClaim>,
}

#[derive(Deserialize)]
struct StoredClaim {
    user_id: Uuid,
    lease_token: i64,
    last_sequence: i64,
    delivered: [i64; 3],
    attempts: i32,
    waiting_topics: i32,
    own: bool,
    changes: Vec<StoredChange>,
}

impl TryFrom<StoredPass> for Claimed {
    type Error = Error;

    fn try_from(stored: StoredPass) -> Result<Claimed, Error> {
        let StoredPass { drain_until, look_again, claims } = stored;
        let claims = claims.into_iter().map(Claim::try_from).collect::<Result<_, _>>()?;
        Ok(Claimed { drain_until, look_again, claims })
    }
}

impl TryFrom<StoredClaim> for Claim {
    type Error = Error;

    fn try_from(stored: StoredClaim) -> Result<Claim, Error> {
        let StoredClaim { user_id, lease_token, last_sequence, delivered, attempts, .. } = stored;
        let StoredClaim { waiting_topics, own, changes, .. } = stored;
        let changes = changes.into_iter().map(|change| change.of(user_id)).collect::<Result<_, _>>()?;
        Ok(Claim { user_id, lease_token, last_sequence, delivered, attempts, waiting_topics, own, changes })
    }
}

/// A change as the statements give it, in JSON; instants in microseconds.
#[derive(Deserialize)]
pub struct StoredChange {
    sequence: i64,
    task_id: Uuid,
    action: String,
    title: String,
    completed: bool,
    due_date: Option<i64>,
    title_changed: bool,
    completed_changed: bool,
    due_date_changed: bool,
    changed_at: i64,
    correlation_id: String,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

impl StoredChange {
    /// The change, of that user.
    ///
    /// Errors: `Internal` when a value is none that the API writes.
    pub fn of(self, user_id: Uuid) -> Result<Change, Error> {
        let StoredChange { correlation_id, traceparent, tracestate, .. } = self;
        Ok(Change {
            user_id,
            sequence: self.sequence,
            task_id: self.task_id,
            action: Action::parse(&self.action)
                .ok_or_else(|| Error::Internal(format!("{:?} is not an action", self.action)))?,
            title: self.title,
            completed: self.completed,
            due_date: self.due_date.map(instant).transpose()?,
            title_changed: self.title_changed,
            completed_changed: self.completed_changed,
            due_date_changed: self.due_date_changed,
            changed_at: instant(self.changed_at)?,
            trace: Trace { correlation_id, traceparent, tracestate },
        })
    }
}

fn instant(micros: i64) -> Result<Timestamp, Error> {
    Timestamp::from_micros(micros).ok_or_else(|| Error::Internal(format!("{micros} µs is not an instant")))
}

fn counts(counts: Option<Counts>) -> ParameterValue {
    let totals = |mut counts: Counts| counts.positions().map(|count| Some(*count)).collect();
    counts.map(totals).map_or(ParameterValue::DbNull, ParameterValue::ArrayInt64)
}

fn trace_parameters(trace: &Trace) -> [ParameterValue; 3] {
    [text(&trace.correlation_id), optional(trace.traceparent.clone()), optional(trace.tracestate.clone())]
}

fn uuid(id: Uuid) -> ParameterValue {
    ParameterValue::Uuid(id.to_string())
}

fn text(value: &str) -> ParameterValue {
    ParameterValue::Str(value.to_owned())
}

fn int(value: i64) -> ParameterValue {
    ParameterValue::Int64(value)
}

fn milliseconds(duration: Duration) -> ParameterValue {
    int(duration.as_millis() as i64)
}

fn ints<T>(rows: &[T], value: impl Fn(&T) -> Option<i64>) -> ParameterValue {
    ParameterValue::ArrayInt64(rows.iter().map(value).collect())
}

fn texts<T>(rows: &[T], value: impl Fn(&T) -> String) -> ParameterValue {
    ParameterValue::ArrayStr(rows.iter().map(|row| Some(value(row))).collect())
}

fn optional<T: Into<ParameterValue>>(value: Option<T>) -> ParameterValue {
    value.map_or(ParameterValue::DbNull, Into::into)
}
