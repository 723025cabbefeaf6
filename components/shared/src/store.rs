//! The database: one function per SQL statement, each in a file of `sql/`.
//!
//! Every function takes a connection and gives it back before it returns: nothing may hold one while it waits for
//! anything else than the database ([`connection`]).

mod connection;
mod list;
mod stored;

pub use list::{TaskList, list_tasks};
pub use stored::read_pass;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use spin_sdk::pg::{
    Connection, DbValue, Decode, Error as PgError, ParameterValue, PgError as Failure, QueryError,
};
use uuid::Uuid;

use crate::config;
use crate::counts::Counts;
use crate::delivery::{Claimed, Delivery, Done, GRACE, Outcome, Parked, Promise, Requeued, Settled, Wanted};
use crate::error::Error;
use crate::event::Topic;
use crate::limit::within;
use crate::task::{Action, NewTask, Task, TaskPatch, Timestamp, Title};
use crate::trace::Trace;
use crate::turns::{self, Line, Turn};

/// SQLSTATE foreign_key_violation.
const FOREIGN_KEY_VIOLATION: &str = "23503";

/// SQLSTATEs that say "not now": the server shuts down or starts, has no connection left, only reads, took too long, be it for a
/// lock, or chose this statement to end a deadlock, such as one with a deletion of the user's whole account.
const UNAVAILABLE: [&str; 8] = ["57P01", "57P02", "57P03", "53300", "25006", "57014", "55P03", "40P01"];

/// SQLSTATEs, or their beginnings, with which the server ends the session: it shuts down, an administrator or a time-out for idle
/// sessions ends it, or the connection fails.
const ENDS_SESSION: [&str; 3] = ["57P", "25P0", "08"];

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
    let mutated =
        mutate(user, include_str!("sql/create_task.sql"), parameters).await.map_err(|error| match error {
            Refused { ref code, .. } if code == FOREIGN_KEY_VIOLATION => Error::USER_NOT_FOUND,
            error => error.into(),
        })?;
    let mut row = mutated.row.ok_or(Error::TaskLimitReached)?;
    let created_at = row.instant()?;
    let task = Task {
        id,
        title: new.title.as_str().to_owned(),
        completed: false,
        due_date: new.due_date,
        created_at,
        updated_at: created_at,
    };
    Ok((task, row.delivery(user, mutated.took)?))
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
    let mutated = mutate(user, include_str!("sql/update_task.sql"), parameters).await?;
    match mutated.row {
        Some(mut row) => Ok((row.task(task)?, row.delivery(user, mutated.took)?)),
        None => Err(why_not_changed(user, task).await),
    }
}

/// Deletes a task and records the change.
///
/// Errors: as [`find_task`].
pub async fn delete_task(user: Uuid, task: Uuid, trace: &Trace) -> Result<Delivery, Error> {
    let mut parameters = vec![uuid(task), uuid(user)];
    parameters.extend(trace_parameters(trace));
    let mutated = mutate(user, include_str!("sql/delete_task.sql"), parameters).await?;
    let mut row = mutated.row.ok_or_else(no_row)?;
    match row.next()? {
        true => row.delivery(user, mutated.took),
        false => Err(why_not_changed(user, task).await),
    }
}

/// Why a mutation matched no task of the user's.
async fn why_not_changed(user: Uuid, task: Uuid) -> Error {
    // The user's own task can appear here only if it was created in between: it was not there for the mutation.
    find_task(user, task).await.err().unwrap_or(Error::TaskNotFound)
}

/// Settles what was published: records what was delivered, drops what has reached every topic, and ends the leases. `waits`:
/// until rows are free that another session has locked.
pub async fn settle(done: &Done, waits: bool) -> Result<Settled, Error> {
    let outcomes = json(&Outcomes::of(&done.outcomes))?;
    let parameters = vec![outcomes, ParameterValue::Boolean(waits), counts(done.counts.clone())];
    let rows = query(include_str!("sql/settle_changes.sql"), parameters).await?;
    stored::read(&only_row(rows)?.next::<String>()?)
}

/// Settles what was published, and then leases users who have something to deliver, with their next changes.
pub async fn next_pass(last: Option<&Done>, wanted: &Wanted, lease: Duration) -> Result<Claimed, Error> {
    let pass = Pass {
        outcomes: Outcomes::of(last.map_or(&[], |last| &last.outcomes)),
        counts: last.and_then(|last| last.counts.clone()).map(totals),
        users: &wanted.users,
        limit: wanted.limit,
        others: wanted.others,
        waiting_at_most_ms: wanted.waiting_at_most.map(whole_milliseconds),
        changes: wanted.changes,
        lease_ms: whole_milliseconds(lease),
        promise: &wanted.promise,
    };
    let rows = query(include_str!("sql/next_pass.sql"), vec![json(&pass)?]).await?;
    read_pass(&only_row(rows)?.next::<String>()?)
}

/// The parameter of `next_pass`.
#[derive(Serialize)]
struct Pass<'a> {
    #[serde(flatten)]
    outcomes: Outcomes<'a>,
    counts: Option<Vec<i64>>,
    users: &'a [Uuid],
    limit: usize,
    others: bool,
    waiting_at_most_ms: Option<i64>,
    changes: i64,
    lease_ms: i64,
    #[serde(flatten)]
    promise: &'a Promise,
}

#[derive(Serialize)]
struct Outcomes<'a> {
    outcomes: &'a [Outcome],
    parked: Vec<ParkedRow<'a>>,
}

#[derive(Serialize)]
struct ParkedRow<'a> {
    user_id: Uuid,
    sequence: i64,
    topic: &'static str,
    error: &'a str,
}

impl<'a> Outcomes<'a> {
    fn of(outcomes: &'a [Outcome]) -> Outcomes<'a> {
        let row = |user_id, Parked { sequence, topic, error }: &'a Parked| ParkedRow {
            user_id,
            sequence: *sequence,
            topic: topic.name(),
            error,
        };
        let rows = outcomes
            .iter()
            .flat_map(|outcome| outcome.parked.iter().map(|parked| row(outcome.user_id, parked)));
        Outcomes { outcomes, parked: rows.collect() }
    }
}

/// Says that a relay begins: the database notices whether its clock was set back.
pub async fn relay_called() -> Result<(), Error> {
    query("select relay_called()", Vec::new()).await?;
    Ok(())
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
    let text: String = only_row(rows)?.next()?;
    let StoredMetrics { pending, oldest_pending_seconds, oldest_snapshot_transactions, parked, totals } =
        stored::read(&text)?;
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

/// What a mutation has returned.
struct Mutated {
    row: Option<Row>,
    /// From before it was sent until its answer was there.
    took: Duration,
}

/// [`query`], for a statement that changes tasks of the user.
async fn mutate(user: Uuid, sql: &'static str, parameters: Vec<ParameterValue>) -> Result<Mutated, Refusal> {
    let _turn = turn(Line::Mutations(user), "changes").await?;
    let started = Instant::now();
    let rows = query(sql, parameters).await?;
    Ok(Mutated { row: rows.into_iter().next(), took: started.elapsed() })
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
    let is_usable = match &result {
        Ok(_) => true,
        Err(Refused { code, .. }) => !ENDS_SESSION.iter().any(|class| code.starts_with(class)),
        Err(Unreachable(_) | Misread(_)) => false,
    };
    if is_usable {
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
    rows.into_iter().next().ok_or_else(no_row)
}

fn no_row() -> Error {
    Error::Internal("a statement returned no row".into())
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
        self.next::<Option<i64>>()?.map(stored::instant).transpose()
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

    /// What left_to_drain() said of a mutation that took so long.
    fn delivery(&mut self, user: Uuid, took: Duration) -> Result<Delivery, Error> {
        let left = self.next::<bool>()? && took < GRACE;
        #[cfg(feature = "faults")]
        let left = left && !crate::faults::awaits_drain();
        Ok(if left { Delivery::Other } else { Delivery::Own(user) })
    }

    fn requeued(&mut self) -> Result<Requeued, Error> {
        let (id, topic, user_id) = (self.next()?, self.next::<String>()?, self.next()?);
        let change = self.next::<String>()?;
        let event =
            Topic::parse(&topic).ok_or_else(|| format!("{topic:?} is not a topic")).and_then(|topic| {
                let change = stored::read_change(&change, user_id).map_err(|error| error.to_string())?;
                Ok((topic, change))
            });
        Ok(Requeued { id, event })
    }
}

fn counts(counts: Option<Counts>) -> ParameterValue {
    let array = |counts| ParameterValue::ArrayInt64(totals(counts).into_iter().map(Some).collect());
    counts.map_or(ParameterValue::DbNull, array)
}

fn totals(mut counts: Counts) -> Vec<i64> {
    counts.positions().map(|count| *count).collect()
}

fn json(value: &impl Serialize) -> Result<ParameterValue, Error> {
    let text = serde_json::to_string(value);
    text.map(ParameterValue::Str).map_err(|error| Error::Internal(format!("writing JSON: {error}")))
}

fn trace_parameters(trace: &Trace) -> [ParameterValue; 3] {
    [text(&trace.correlation_id), text(&trace.traceparent), optional(trace.tracestate.clone())]
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
    int(whole_milliseconds(duration))
}

fn whole_milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
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
