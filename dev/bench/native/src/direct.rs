//! The usual service: changes the task, then publishes its events one after the other, then answers. There is no outbox:
//! an event that fails, or whose process dies, is lost, and nothing numbers a user's changes.

use shared::error::Error;
use shared::event::Topic;
use shared::task::{Action, Change, NewTask, Task, TaskPatch, Timestamp, Title};
use shared::trace::Trace;
use uuid::Uuid;

use crate::database::{Columns, Database};
use crate::sidecar::Sidecar;
use crate::{event, store};

/// Stands where taskcast has the position among the user's changes.
const NO_SEQUENCE: i64 = 0;

/// Publishes what the change means to each topic. What fails is logged, and that is all.
pub(crate) async fn publish(sidecar: &Sidecar, change: &Change) {
    for topic in Topic::ALL {
        match event::envelope(change, topic) {
            Ok(Some(envelope)) => {
                let result = sidecar.publish_one(topic, &event::message(change, &envelope)).await;
                if let Err(error) = result {
                    event::log_failure(change, topic, envelope.event_type, &error);
                }
            }
            Ok(None) => {}
            Err(error) => event::log_failure(change, topic, change.action.as_str(), &error.to_string()),
        }
    }
}

/// Creates a task. Errors: as [`store::create_task`].
pub(crate) async fn create_task(
    database: &Database,
    user: Uuid,
    new: &NewTask,
    trace: &Trace,
) -> Result<(Task, Change), Error> {
    let (id, title, due_date) = (Uuid::new_v4(), new.title.as_str(), new.due_date.map(Timestamp::micros));
    let rows = database
        .query(include_str!("sql/create_task.sql"), &[&id, &user, &title, &due_date])
        .await
        .map_err(store::creation_refused)?;
    let row = rows.first().ok_or_else(|| Error::Internal("an insert returned no row".into()))?;
    let task = Columns::of(row).task()?;
    let change = Change {
        user_id: user,
        sequence: NO_SEQUENCE,
        task_id: id,
        action: Action::Created,
        title: task.title.clone(),
        completed: false,
        due_date: task.due_date,
        title_changed: true,
        completed_changed: true,
        due_date_changed: task.due_date.is_some(),
        changed_at: task.created_at,
        trace: trace.clone(),
    };
    Ok((task, change))
}

/// Patches a task. Errors: as [`store::update_task`].
pub(crate) async fn update_task(
    database: &Database,
    user: Uuid,
    id: Uuid,
    action: Action,
    patch: &TaskPatch,
    trace: &Trace,
) -> Result<(Task, Change), Error> {
    let title = patch.title.as_ref().map(Title::as_str);
    let (has_due_date, due_date) =
        (patch.due_date.is_some(), patch.due_date.flatten().map(Timestamp::micros));
    let sql = include_str!("sql/update_task.sql");
    let rows = database.query(sql, &[&id, &user, &title, &patch.completed, &has_due_date, &due_date]).await?;
    let Some(row) = rows.first() else { return Err(store::why_not_changed(database, user, id).await) };
    let mut columns = Columns::of(row);
    let task = columns.task()?;
    let change = Change {
        user_id: user,
        sequence: NO_SEQUENCE,
        task_id: id,
        action,
        title: task.title.clone(),
        completed: task.completed,
        due_date: task.due_date,
        title_changed: columns.next()?,
        completed_changed: columns.next()?,
        due_date_changed: columns.next()?,
        changed_at: columns.instant()?,
        trace: trace.clone(),
    };
    Ok((task, change))
}

/// Deletes a task. Errors: as [`store::delete_task`].
pub(crate) async fn delete_task(
    database: &Database,
    user: Uuid,
    id: Uuid,
    trace: &Trace,
) -> Result<Change, Error> {
    let rows = database.query(include_str!("sql/delete_task.sql"), &[&id, &user]).await?;
    let Some(row) = rows.first() else { return Err(store::why_not_changed(database, user, id).await) };
    let mut columns = Columns::of(row);
    Ok(Change {
        user_id: user,
        sequence: NO_SEQUENCE,
        task_id: id,
        action: Action::Deleted,
        title: columns.next()?,
        completed: columns.next()?,
        due_date: columns.optional_instant()?,
        title_changed: false,
        completed_changed: false,
        due_date_changed: false,
        changed_at: columns.instant()?,
        trace: trace.clone(),
    })
}
