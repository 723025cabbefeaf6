//! What each route publishes: docs/contract.md §2, its table of what happened and what `data` holds.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::answer::{id, instant};
use crate::harness::collector::Heard;
use crate::harness::event::{Event, REMINDERS, TASK_EVENTS, TASK_UPDATES, task_data};
use crate::harness::route::unknown_id;
use crate::harness::{App, Route, User, shared};

const DUE: &str = "2027-05-01T08:30:00Z";
const LATER: &str = "2027-06-01T08:30:00Z";

/// `data` without its `timestamp`, which `Event` has compared with `time` already.
fn data_of(event: &Event) -> Value {
    let mut data = event.data().clone();
    data.as_object_mut().unwrap().remove("timestamp");
    data
}

fn sync_data(task: &Value, user: Uuid, action: &str) -> Value {
    json!({"task_id": task["id"], "user_id": user, "action": action})
}

/// The events of the change with this number, of which there is one on each topic at most.
fn of_change(heard: &Heard, sequence: u64) -> Vec<(&str, &Event)> {
    let events = heard.events.iter().filter(|event| event.sequence == sequence);
    let mut events: Vec<_> = events.map(|event| (event.topic.as_str(), event)).collect();
    events.sort_by_key(|(topic, _)| *topic);
    events
}

/// Checks both events that every change has.
#[track_caller]
fn assert_pair(events: &[(&str, &Event)], user: &User, task: &Value, action: &str, changes: Option<Value>) {
    let [.., (TASK_EVENTS, event), (TASK_UPDATES, sync)] = events else { panic!("{events:?}") };
    assert_eq!(event.kind, format!("task.{action}"));
    assert_eq!(data_of(event), task_data(task, user.id, action, changes));
    assert_eq!(sync.kind, "sync.task");
    assert_eq!(data_of(sync), sync_data(task, user.id, action));
    assert_eq!((event.time, event.sequence), (sync.time, sync.sequence));
    assert_ne!(event.id, sync.id);
}

/// Checks the reminder of a change that has one.
#[track_caller]
fn assert_reminder(events: &[(&str, &Event)], user: &User, task: &Value, action: &str) {
    let (topic, reminder) = events[0];
    assert_eq!((topic, events.len()), (REMINDERS, 3));
    assert_eq!(reminder.kind, format!("reminder.{action}"));
    let due_date = &task["due_date"];
    let expected = json!({"task_id": task["id"], "user_id": user.id, "due_date": due_date, "action": action});
    assert_eq!(data_of(reminder), expected);
}

#[tokio::test]
async fn a_new_task_gives_task_created_and_a_sync_event() {
    let app = shared();
    let user = app.user();
    let task = user.create("Buy milk").await;
    let heard = app.heard(&user).await;
    assert_eq!(heard.events.len(), 2);
    assert_pair(&of_change(&heard, 1), &user, &task, "created", None);
    assert_eq!(heard.only(TASK_EVENTS).time, instant(&task["created_at"]));
}

#[tokio::test]
async fn a_new_task_with_a_due_date_also_schedules_a_reminder() {
    let app = shared();
    let user = app.user();
    let task = user.create_due("Pay rent", DUE).await;
    let heard = app.heard(&user).await;
    let events = of_change(&heard, 1);
    assert_pair(&events, &user, &task, "created", None);
    assert_reminder(&events, &user, &task, "scheduled");
}

#[tokio::test]
async fn a_changed_title_gives_task_updated_with_the_new_title() {
    let (user, task, heard) = after_change(&json!({"title": "Before"}), &json!({"title": " After "})).await;
    assert_eq!(heard.events.len(), 4);
    assert_pair(&of_change(&heard, 2), &user, &task, "updated", Some(json!({"title": "After"})));
}

#[tokio::test]
async fn only_fields_whose_value_changed_are_listed() {
    let body = json!({"title": "Same", "completed": true, "due_date": "2027-05-01T10:30:00+02:00"});
    let (user, task, heard) = after_change(&json!({"title": "Same", "due_date": DUE}), &body).await;
    let events = of_change(&heard, 2);
    assert_eq!(events.len(), 2, "the due date is the same instant: no reminder");
    assert_pair(&events, &user, &task, "updated", Some(json!({"completed": true})));
}

#[tokio::test]
async fn a_change_of_nothing_is_published_without_changes() {
    for body in [json!({}), json!({"title": "Same", "completed": false}), json!({"title": null})] {
        let (user, task, heard) = after_change(&json!({"title": "Same", "due_date": DUE}), &body).await;
        let events = of_change(&heard, 2);
        assert_eq!(events.len(), 2, "{body}");
        assert_pair(&events, &user, &task, "updated", Some(json!({})));
    }
}

#[tokio::test]
async fn a_due_date_that_is_set_reschedules_the_reminder() {
    let (user, task, heard) = after_change(&json!({"title": "A"}), &json!({"due_date": DUE})).await;
    let events = of_change(&heard, 2);
    assert_pair(&events, &user, &task, "updated", Some(json!({"due_date": task["due_date"]})));
    assert_reminder(&events, &user, &task, "rescheduled");
}

#[tokio::test]
async fn a_due_date_that_is_moved_reschedules_the_reminder() {
    let body = json!({"title": "B", "due_date": LATER});
    let (user, task, heard) = after_change(&json!({"title": "A", "due_date": DUE}), &body).await;
    let events = of_change(&heard, 2);
    let changes = json!({"title": "B", "due_date": task["due_date"]});
    assert_pair(&events, &user, &task, "updated", Some(changes));
    assert_reminder(&events, &user, &task, "rescheduled");
}

#[tokio::test]
async fn a_due_date_that_is_cleared_is_null_in_the_changes_and_no_reminder() {
    let (user, task, heard) =
        after_change(&json!({"title": "A", "due_date": DUE}), &json!({"due_date": null})).await;
    let events = of_change(&heard, 2);
    assert_eq!(events.len(), 2);
    assert_pair(&events, &user, &task, "updated", Some(json!({"due_date": null})));
}

/// Creates a task, changes it, and hears what came of it.
async fn after_change(created: &Value, change: &Value) -> (User, Value, Heard) {
    let app = shared();
    let user = app.user();
    let task = user.post_task(created).await.task(201);
    let task = user.update(&id(&task), change).await;
    let heard = app.heard(&user).await;
    (user, task, heard)
}

#[tokio::test]
async fn completing_gives_task_completed_each_time() {
    assert_both_times(Route::Complete, "completed").await;
}

#[tokio::test]
async fn uncompleting_gives_task_uncompleted_each_time() {
    assert_both_times(Route::Uncomplete, "uncompleted").await;
}

async fn assert_both_times(route: Route, action: &str) {
    let app = shared();
    let user = app.user();
    let task = id(&user.create_due("Pay rent", DUE).await);
    let first = user.task_after(route, &task).await;
    let second = user.task_after(route, &task).await;
    let heard = app.heard(&user).await;
    for (sequence, task) in [(2, &first), (3, &second)] {
        let events = of_change(&heard, sequence);
        assert_eq!(events.len(), 2, "no reminder");
        assert_pair(&events, &user, task, action, None);
    }
    assert_ne!(of_change(&heard, 2)[0].1.id, of_change(&heard, 3)[0].1.id);
}

#[tokio::test]
async fn deleting_gives_task_deleted_with_the_last_values() {
    let app = shared();
    let user = app.user();
    let task = id(&user.create_due("Pay rent", DUE).await);
    let last = user.update(&task, &json!({"title": "Last", "completed": true})).await;
    user.call(Route::Delete, &task).await.ok(200);
    let heard = app.heard(&user).await;
    let events = of_change(&heard, 3);
    assert_eq!(events.len(), 2, "no reminder");
    assert_pair(&events, &user, &last, "deleted", None);
}

#[tokio::test]
async fn the_source_names_the_user_and_the_key_is_the_user() {
    let app = shared();
    let user = app.user();
    user.create_due("Pay rent", DUE).await;
    let heard = app.heard(&user).await;
    assert_eq!(heard.events.len(), 3);
    for event in heard.events {
        assert_eq!(event.attribute("source"), Some(format!("/taskcast/users/{}", user.id).as_str()));
        assert_eq!(event.attribute("partitionkey"), Some(user.id.to_string().as_str()));
        assert_eq!(event.attribute("pubsubname"), Some("pubsub-kafka"));
    }
}

/// The topic has changes 1 to `last` in order, and their times rise with them.
#[track_caller]
fn assert_numbered(heard: &Heard, topic: &str, last: u64) {
    let events = heard.on(topic);
    let sequences: Vec<_> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=last).collect::<Vec<_>>(), "{topic}");
    assert!(events.is_sorted_by_key(|event| event.time), "{topic}: times rise with the sequence");
}

#[tokio::test]
async fn a_users_changes_are_numbered_without_gaps_and_delivered_in_order() {
    let app = shared();
    let user = app.user();
    let task = user.new_task_id().await;
    for number in 0..20 {
        user.update(&task, &json!({"title": format!("Title {number}")})).await;
    }
    let heard = app.heard(&user).await;
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        assert_numbered(&heard, topic, 21);
    }
    assert_eq!(heard.sentinel, 22);
}

#[tokio::test]
async fn simultaneous_changes_of_one_user_are_numbered_without_gaps() {
    let app = shared();
    let user = app.user();
    let mut changes = tokio::task::JoinSet::new();
    for number in 0..32 {
        let user = user.clone();
        changes.spawn(async move { user.create(&format!("Task {number}")).await });
    }
    changes.join_all().await;
    let heard = app.heard(&user).await;
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        assert_numbered(&heard, topic, 32);
    }
}

#[tokio::test]
async fn the_last_event_of_a_task_that_is_changed_by_many_has_the_tasks_final_values() {
    let app = shared();
    let user = app.user();
    let task = user.new_task_id().await;
    let mut changes = tokio::task::JoinSet::new();
    for number in 0..24 {
        let (user, task) = (user.clone(), task.clone());
        let body = json!({"title": format!("Title {number}"), "completed": number % 2 == 0});
        changes.spawn(async move { user.update(&task, &body).await });
    }
    changes.join_all().await;
    let last = user.read(&task).await;
    let heard = app.heard(&user).await;
    let event = heard.on(TASK_EVENTS).pop().unwrap().clone();
    assert_eq!((event.sequence, event.data()["changes"]["title"].clone()), (25, last["title"].clone()));
    assert_eq!((&event.data()["title"], &event.data()["completed"]), (&last["title"], &last["completed"]));
    assert_eq!(event.time, instant(&last["updated_at"]));
}

#[tokio::test]
async fn each_user_has_a_numbering_of_their_own() {
    let app = shared();
    let (one, other) = (app.user(), app.user());
    one.create("A").await;
    one.create("B").await;
    other.create("C").await;
    assert_eq!(app.heard(&one).await.sentinel, 3);
    assert_eq!(app.heard(&other).await.sentinel, 2);
}

#[tokio::test]
async fn a_read_publishes_nothing() {
    let app = shared();
    let user = app.user();
    let task = user.new_task_id().await;
    user.read(&task).await;
    user.list().await;
    user.listed("?completed=true").await;
    let heard = app.heard(&user).await;
    assert_eq!((heard.events.len(), heard.sentinel), (2, 2));
}

#[tokio::test]
async fn a_request_that_fails_publishes_nothing() {
    let app = shared();
    let (user, owner) = (app.user(), app.user());
    let task = owner.new_task_id().await;
    let own = user.new_task_id().await;
    for route in Route::mutations().filter(|route| *route != Route::Create) {
        user.call(route, &unknown_id()).await.task_not_found();
        user.call(route, &task).await.access_denied();
        assert_eq!(user.call(route, "not-a-uuid").await.status, 400);
    }
    assert_eq!(user.post_task(&json!({"title": ""})).await.status, 400);
    assert_eq!(user.patch(&own, &json!({"due_date": "soon"})).await.status, 400);
    assert_nothing_but_one_change(&app, &user).await;
    assert_nothing_but_one_change(&app, &owner).await;
}

async fn assert_nothing_but_one_change(app: &App, user: &User) {
    let heard = app.heard(user).await;
    assert_eq!((heard.events.len(), heard.sentinel), (2, 2), "{:?}", heard.events);
}
