//! One function per SQL statement. Mutations are taskcast's own files, so that both ask the database for the same; reading is as
//! plain as a service can have it that prepares its statements.

use std::time::Duration;

use shared::delivery::{Claim, Outcome, Settled};
use shared::error::Error;
use shared::store::read_pass;
use shared::task::{Action, NewTask, Task, TaskPatch, Timestamp, Title};
use shared::trace::Trace;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::database::{Columns, Database, FOREIGN_KEY_VIOLATION, Refusal};

/// The user's tasks, newest first; with `completed`, only those that are, or are not.
pub(crate) async fn list_tasks(
    database: &Database,
    user: Uuid,
    completed: Option<bool>,
) -> Result<Vec<Task>, Error> {
    let sql = include_str!("sql/list_tasks.sql");
    let rows = database.query(sql, &[&user, &completed]).await?;
    rows.iter().map(|row| Columns::of(row).task()).collect()
}

/// One task.
///
/// Errors: `TaskNotFound`; `Authorization` when it is someone else's.
pub(crate) async fn find_task(database: &Database, user: Uuid, task: Uuid) -> Result<Task, Error> {
    let sql = include_str!("sql/find_task.sql");
    let rows = database.query(sql, &[&task]).await?;
    let mut columns = Columns::of(rows.first().ok_or(Error::TaskNotFound)?);
    match columns.next::<Uuid>()? {
        owner if owner == user => columns.task(),
        _ => Err(Error::Authorization("the task is someone else's")),
    }
}

/// Of tasks of a user.
const NO_LIMIT: Option<i64> = None;

/// Creates a task and records the change.
///
/// Errors: `USER_NOT_FOUND` where there is a `users` table and the user is not in it.
pub(crate) async fn create_task(
    database: &Database,
    user: Uuid,
    new: &NewTask,
    trace: &Trace,
) -> Result<Task, Error> {
    let sql = include_str!("../../../../components/shared/src/sql/create_task.sql");
    let Trace { correlation_id, traceparent, tracestate } = trace;
    let (id, title, due_date) = (Uuid::new_v4(), new.title.as_str(), new.due_date.map(Timestamp::micros));
    let rows = database
        .query(sql, &[&id, &user, &title, &due_date, correlation_id, traceparent, tracestate, &NO_LIMIT])
        .await
        .map_err(creation_refused)?;
    let created_at = Columns::of(only(&rows)?).instant()?;
    Ok(Task {
        id,
        title: new.title.as_str().to_owned(),
        completed: false,
        due_date: new.due_date,
        created_at,
        updated_at: created_at,
    })
}

fn only(rows: &[Row]) -> Result<&Row, Error> {
    rows.first().ok_or_else(|| Error::Internal("a statement returned no row".into()))
}

/// Says so when it is the user who is missing.
pub(crate) fn creation_refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Refused { ref code, .. } if code == FOREIGN_KEY_VIOLATION => Error::USER_NOT_FOUND,
        refusal => refusal.into(),
    }
}

/// Patches a task and records the change as `action`, also when no value changes.
///
/// Errors: as [`find_task`].
pub(crate) async fn update_task(
    database: &Database,
    user: Uuid,
    task: Uuid,
    action: Action,
    patch: &TaskPatch,
    trace: &Trace,
) -> Result<Task, Error> {
    let sql = include_str!("../../../../components/shared/src/sql/update_task.sql");
    let Trace { correlation_id, traceparent, tracestate } = trace;
    let (action, title) = (action.as_str(), patch.title.as_ref().map(Title::as_str));
    let (has_due_date, due_date) =
        (patch.due_date.is_some(), patch.due_date.flatten().map(Timestamp::micros));
    let rows = database
        .query(
            sql,
            &[
                &task,
                &user,
                &action,
                &title,
                &patch.completed,
                &has_due_date,
                &due_date,
                correlation_id,
                traceparent,
                tracestate,
            ],
        )
        .await?;
    match rows.first() {
        Some(row) => Columns::of(row).task_with(task),
        None => Err(why_not_changed(database, user, task).await),
    }
}

/// Deletes a task and records the change.
///
/// Errors: as [`find_task`].
pub(crate) async fn delete_task(
    database: &Database,
    user: Uuid,
    task: Uuid,
    trace: &Trace,
) -> Result<(), Error> {
    let sql = include_str!("../../../../components/shared/src/sql/delete_task.sql");
    let Trace { correlation_id, traceparent, tracestate } = trace;
    let rows = database.query(sql, &[&task, &user, correlation_id, traceparent, tracestate]).await?;
    match Columns::of(only(&rows)?).next()? {
        true => Ok(()),
        false => Err(why_not_changed(database, user, task).await),
    }
}

/// Why a mutation matched no task of the user's.
pub(crate) async fn why_not_changed(database: &Database, user: Uuid, task: Uuid) -> Error {
    // The user's own task can appear here only if it was created in between: it was not there for the mutation.
    find_task(database, user, task).await.err().unwrap_or(Error::TaskNotFound)
}

/// Leases users who have something to deliver, those first who have waited longest, with their next changes.
pub(crate) async fn claim_changes(
    database: &Database,
    users: i64,
    changes: i64,
    lease: Duration,
) -> Result<Vec<Claim>, Error> {
    let sql = include_str!("sql/claim_changes.sql");
    let rows = database.query(sql, &[&users, &changes, &(lease.as_millis() as i64)]).await?;
    Ok(read_pass(Columns::of(only(&rows)?).next()?)?.claims)
}

/// Records what was delivered, drops what has reached every topic, and ends the leases. Returns whether one of the users
/// has more to deliver and can be claimed again at once.
pub(crate) async fn settle_changes(database: &Database, outcomes: &[Outcome]) -> Result<bool, Error> {
    let sql = include_str!("../../../../components/shared/src/sql/settle_changes.sql");
    let unreadable = |error: serde_json::Error| Error::Internal(format!("settling: {error}"));
    // Nothing is ever parked here, and nothing counted.
    let done = serde_json::json!({"outcomes": outcomes, "parked": []}).to_string();
    let rows = database.query(sql, &[&done, &true, &None::<Vec<i64>>]).await?;
    let settled: Settled = serde_json::from_str(Columns::of(only(&rows)?).next()?).map_err(unreadable)?;
    Ok(!settled.goes_on.is_empty())
}

/// Asks the database for nothing, to see whether it answers.
pub(crate) async fn ping(database: &Database) -> Result<(), Error> {
    database.query("select 1", &[]).await?;
    Ok(())
}
