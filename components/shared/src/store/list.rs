//! A user's tasks as the JSON that answers a call, read page by page: neither the database nor the host ever has a long list as a whole.

use spin_sdk::pg::ParameterValue;
use uuid::Uuid;

use super::{int, only_row, optional, query, turn, uuid};
use crate::error::Error;
use crate::turns::{Line, Turn};

/// How many tasks are read at a time. They take the database 3 ms, and with the longest titles are 3.3 MB.
const PAGE: i64 = 1024;

/// A list, newest first. A page of it is of one moment.
pub struct TaskList {
    /// The JSON, a page in each.
    pub pieces: Vec<String>,
    /// One list at a time for each user in an instance: many at once would take all connections, and much of the memory.
    pub turn: Turn,
}

/// The user's tasks; with `completed`, only those that are, or are not. Waits for the user's other lists in this instance.
///
/// Errors: `DatabaseUnavailable`, also when those take too long.
pub async fn list_tasks(user: Uuid, completed: Option<bool>) -> Result<TaskList, Error> {
    let turn = turn(Line::Lists(user), "lists").await?;
    let mut pieces = Vec::new();
    let (mut total, mut last) = (0, None);
    loop {
        let page = Page::after(last, user, completed).await?;
        total += page.count;
        last = page.last;
        let start = match (pieces.len(), page.count) {
            (0, _) => r#"{"tasks":["#,
            (_, 0) => "",
            (_, _) => ",",
        };
        let is_last = page.count < PAGE;
        let end = if is_last { format!(r#"],"count":{total}}}"#) } else { String::new() };
        pieces.push([start, &page.tasks, &end].concat());
        if is_last {
            return Ok(TaskList { pieces, turn });
        }
    }
}

/// The instant, in microseconds, and the id of a task.
type Place = (i64, Uuid);

struct Page {
    /// In JSON, separated by commas.
    tasks: String,
    count: i64,
    last: Option<Place>,
}

impl Page {
    async fn after(last: Option<Place>, user: Uuid, completed: Option<bool>) -> Result<Page, Error> {
        let (created_at, id) = last.unzip();
        let parameters = vec![
            uuid(user),
            optional(completed),
            optional(created_at),
            id.map_or(ParameterValue::DbNull, uuid),
            int(PAGE),
        ];
        let mut row = only_row(query(include_str!("../sql/task_page.sql"), parameters).await?)?;
        let tasks: Option<String> = row.next()?;
        Ok(Page {
            tasks: tasks.unwrap_or_default(),
            count: row.next()?,
            last: row.next::<Option<i64>>()?.zip(row.next()?),
        })
    }
}
