//! The oldest PostgreSQL that docs/configuration.md promises: 14. The other tests run on the machine's, which is newer.

use serde_json::json;

use crate::harness::answer::id;
use crate::harness::database::Database;
use crate::harness::environment::oldest_postgresql;
use crate::harness::event::{REMINDERS, TASK_EVENTS};
use crate::harness::server::Server;
use crate::harness::{Route, Setup, nudge};

#[tokio::test]
async fn on_postgresql_14_tasks_change_and_their_events_arrive() {
    let server = Server::of_version(&oldest_postgresql());
    let database = Database::migrated_on(&server);
    let version = database.client().await.query_one("SHOW server_version_num", &[]).await.unwrap();
    assert!(version.get::<_, &str>(0).starts_with("14"), "{version:?}");

    let app = Setup::new().with_dapr().database(database).start();
    let user = app.user();
    let task = id(&user.create_due("On 14", "2030-01-01T00:00:00Z").await);
    user.update(&task, &json!({"title": "Still on 14", "due_date": "2031-01-01T00:00:00Z"})).await;
    for route in [Route::List, Route::Read, Route::Complete, Route::Uncomplete, Route::Delete] {
        assert_eq!(user.call(route, &task).await.status, route.success(), "{route:?}");
    }
    nudge::tick(&user).await;
    let heard = app.heard(&user).await;
    heard.assert_each_once(5);
    let types = |topic| heard.on(topic).iter().map(|event| event.kind.clone()).collect::<Vec<_>>();
    let changes = ["task.created", "task.updated", "task.completed", "task.uncompleted", "task.deleted"];
    assert_eq!(types(TASK_EVENTS), changes);
    assert_eq!(types(REMINDERS), ["reminder.scheduled", "reminder.rescheduled"]);
}
