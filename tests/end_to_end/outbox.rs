//! The invariants of the outbox: one publisher a user, order, independence of users and topics, nothing lost.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::answer::id;
use crate::harness::event::{REMINDERS, TASK_EVENTS, TASK_UPDATES};
use crate::harness::publish::Publish;
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{Route, Setup, nudge, wait};

const DUE: &str = "2027-05-01T08:30:00Z";

fn sequences<'a>(publishes: impl IntoIterator<Item = &'a Publish>, topic: &str) -> Vec<u64> {
    let on_topic = publishes.into_iter().filter(|publish| publish.topic == topic);
    on_topic.map(Publish::sequence).collect()
}

#[tokio::test]
async fn a_delivered_change_leaves_the_outbox() {
    let stub = Stub::start(Behaviour::accept());
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    user.create_due("Pay rent", DUE).await;
    stub.wait_accepted(3).await;
    app.database.wait_delivered(user.id, wait::SOON).await;
}

#[tokio::test]
async fn a_change_is_in_the_outbox_as_soon_as_it_is_answered() {
    let app = Setup::new().start();
    let user = app.user();
    for count in 1..=5 {
        user.create("Waits for a sidecar").await;
        assert_eq!(app.database.outbox_of(user.id).await, (1..=count).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_user_has_one_publisher_at_a_time_and_keeps_the_order() {
    let stub = Stub::start(Behaviour::accept().after(Duration::from_millis(40)));
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    let task = user.new_task_id().await;
    let mut requests = JoinSet::new();
    for route in
        [Route::Create, Route::Update, Route::Complete, Route::Uncomplete].into_iter().cycle().take(40)
    {
        let (user, task) = (user.clone(), task.clone());
        requests.spawn(async move { assert_eq!(user.call(route, &task).await.status, route.success()) });
    }
    requests.join_all().await;
    let accepted = stub.wait_accepted(2 * 41).await;
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        assert_eq!(sequences(&accepted, topic), (1..=41).collect::<Vec<_>>(), "{topic}");
    }
    app.database.wait_delivered(user.id, wait::SOON).await;
    assert_eq!(stub.attempts().len(), 2 * 41, "nothing was published twice");
}

#[tokio::test]
async fn a_topic_that_fails_does_not_hold_up_the_others() {
    let stub = Stub::start(Behaviour::judge(|publish| if publish.topic == TASK_UPDATES { 500 } else { 204 }));
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    for _ in 0..3 {
        user.create_due("Pay rent", DUE).await;
    }
    let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 6).await;
    for topic in [TASK_EVENTS, REMINDERS] {
        assert_eq!(sequences(&accepted, topic), [1, 2, 3], "{topic}");
    }
    assert_eq!(app.database.outbox_of(user.id).await, [1, 2, 3]);
    stub.behave(Behaviour::accept());
    let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 9).await;
    assert_eq!(sequences(&accepted, TASK_UPDATES), [1, 2, 3]);
    assert_eq!(accepted.len(), 9, "the other topics got nothing twice");
}

#[tokio::test]
async fn a_request_delivers_its_own_users_changes_and_leaves_a_backlog_to_the_relay() {
    let stub = Stub::start(Behaviour::status(500));
    let app = Setup::new().dapr_url(stub.url()).start();
    let waiting = app.users(5);
    for user in &waiting {
        user.create("Left by an outage").await;
    }
    stub.wait_attempts(2 * waiting.len()).await;
    stub.behave(Behaviour::accept());
    app.database
        .execute("UPDATE user_streams SET claimable_at = now() - interval '5 s', topic_retry_at = NULL, topic_attempts = NULL")
        .await;
    let user = app.user();
    user.create("Goes out at once").await;
    let accepted = stub.wait_accepted(2).await;
    app.database.wait_delivered(user.id, wait::SOON).await;
    let own = user.id.to_string();
    assert!(accepted.iter().chain(&stub.accepted()).all(|publish| publish.user() == own));
    nudge::until_accepted(&user, &stub, waiting[0].id, 2).await;
}

#[tokio::test]
async fn a_user_whose_events_fail_does_not_hold_up_others() {
    let stub = Stub::start(Behaviour::accept());
    let app = Setup::new().dapr_url(stub.url()).start();
    let (refused, other) = (app.user(), app.user());
    let name = refused.id.to_string();
    stub.behave(Behaviour::judge(move |publish| if publish.user() == name { 500 } else { 204 }));
    for _ in 0..3 {
        refused.create("Refused").await;
        other.create("Accepted").await;
    }
    let accepted = nudge::until_accepted(&app.user(), &stub, other.id, 6).await;
    assert_eq!(sequences(&accepted, TASK_EVENTS), [1, 2, 3]);
    assert_eq!(app.database.outbox_of(refused.id).await, [1, 2, 3]);
}

#[tokio::test]
async fn after_a_failure_the_later_events_of_that_topic_wait() {
    let stub = Stub::start(Behaviour::judge(|publish| {
        if publish.topic == TASK_EVENTS && publish.sequence() == 2 { 500 } else { 204 }
    }));
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    for _ in 0..4 {
        user.create("A").await;
    }
    let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 5).await;
    assert_eq!(sequences(&accepted, TASK_EVENTS), [1]);
    assert_eq!(sequences(&accepted, TASK_UPDATES), [1, 2, 3, 4]);
    stub.behave(Behaviour::accept());
    let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 8).await;
    assert_eq!(sequences(&accepted, TASK_EVENTS), [1, 2, 3, 4]);
}

/// With pauses that stay as long as the first one there would be dozens of attempts in this time.
#[tokio::test]
async fn a_failed_event_is_tried_again_ever_more_slowly() {
    let stub = Stub::start(Behaviour::status(500));
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    user.create("Refused").await;
    let (started, mut drains) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(6) {
        nudge::tick(&user).await;
        drains += 1;
    }
    let name = user.id.to_string();
    let of_user = |attempt: &&Publish| attempt.user() == name && attempt.topic == TASK_EVENTS;
    let attempts = stub.attempts().iter().filter(of_user).count();
    assert!(drains > 60, "only {drains} drains");
    assert!((3..=12).contains(&attempts), "{attempts} attempts in {drains} drains");
}

#[tokio::test]
async fn a_change_survives_the_crash_of_the_host() {
    let stub = Stub::start(Behaviour::Hang);
    let mut app = Setup::new().dapr_url(stub.url()).variable("publish_timeout_ms", "500").start();
    let user = app.user();
    let task = id(&user.create("Survives").await);
    user.update(&task, &json!({"completed": true})).await;
    stub.wait_attempts(1).await;
    app.crash_and_restart();
    stub.behave(Behaviour::accept());
    let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 4).await;
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        assert_eq!(sequences(&accepted, topic), [1, 2], "{topic}");
    }
    assert_eq!(user.read(&task).await["completed"], true);
}
