//! Nothing that is wrong with one user, one row or one moment stalls the deliveries of others, or loses what they have done.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::answer::id;
use crate::harness::event::{REMINDERS, TASK_EVENTS};
use crate::harness::publish::Publish;
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{Own, Setup, User, nudge, wait};

const DUE: &str = "2027-05-01T08:30:00Z";

/// Longer than a test needs to do something while a pass publishes.
const SLOWLY: Duration = Duration::from_millis(1_500);

/// Starts a pass that publishes the changes of both users: while it is at the sidecar, they are leased.
async fn lease(app: &Own, users: &[&User]) {
    app.user().create("Has the others wait for the next pass").await;
    futures::future::join_all(users.iter().map(|user| user.create("Claimed together"))).await;
    app.database.wait_leased(&users.iter().map(|user| user.id).collect::<Vec<_>>()).await;
}

fn of<'a>(publishes: &'a [Publish], user: &User) -> Vec<&'a Publish> {
    let own = user.id.to_string();
    publishes.iter().filter(|publish| publish.user() == own).collect()
}

/// An operator's transaction, or a deletion of a whole account, holds one user's row.
#[tokio::test]
async fn a_locked_row_holds_up_no_other_user() {
    let stub = Stub::start(Behaviour::accept().after(SLOWLY));
    let app = Setup::new().dapr_url(stub.url()).start();
    let (locked, neighbor) = (app.user(), app.user());
    lease(&app, &[&locked, &neighbor]).await;
    let operator = app.database.client().await;
    let lock = format!("BEGIN; SELECT FROM user_streams WHERE user_id = '{}' FOR UPDATE", locked.id);
    operator.batch_execute(&lock).await.unwrap();
    app.database.wait_delivered(neighbor.id, Duration::from_secs(4)).await;
    stub.behave(Behaviour::accept());
    neighbor.create("Goes on").await;
    app.database.wait_delivered(neighbor.id, Duration::from_secs(2)).await;
    operator.batch_execute("COMMIT").await.unwrap();
    app.database.wait_delivered(locked.id, Duration::from_secs(6)).await;
    assert_eq!(of(&stub.attempts(), &locked).len(), 2, "settled by who had published it");
}

/// What was published is settled when the database is back, as long as its lease lasts, and not published again.
#[tokio::test]
async fn what_was_published_while_the_database_went_away_is_not_repeated() {
    let stub = Stub::start(Behaviour::accept().after(SLOWLY));
    let app = Setup::new().dapr_url(stub.url()).behind_proxy().start();
    let users = [app.user(), app.user()];
    lease(&app, &[&users[0], &users[1]]).await;
    app.proxy().cut();
    stub.wait_accepted(6).await;
    // Until the first attempt to settle has failed.
    wait::until(wait::SOON, "a drain that has lost its database", async || {
        (!app.log().saying("drain stopped").is_empty()).then_some(())
    })
    .await;
    app.proxy().mend();
    for user in &users {
        app.database.wait_delivered(user.id, Duration::from_secs(5)).await;
    }
    assert_eq!(stub.attempts().len(), 6, "nothing was published twice");
}

/// A newer version, since rolled back, has written an action that this one doesn't know.
#[tokio::test]
async fn a_change_that_this_version_can_not_read_stops_its_user_alone() {
    let app = Setup::new().start();
    let (user, neighbor) = (app.user(), app.user());
    let task = user.new_task_id().await;
    user.update(&task, &json!({"title": "Unreadable"})).await;
    neighbor.create("Behind it").await;
    let set = |action: &str| {
        format!(
            "ALTER TABLE task_changes DROP CONSTRAINT IF EXISTS task_changes_action_check;
            UPDATE task_changes SET action = '{action}' WHERE user_id = '{}' AND sequence = 2",
            user.id
        )
    };
    app.database.execute(&set("archived")).await;
    let stub = Stub::start_at(app.dapr_port(), Behaviour::accept());
    let accepted = nudge::until_accepted(&app.user(), &stub, neighbor.id, 2).await;
    assert_eq!(accepted.len(), 2);
    let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 2).await;
    assert!(accepted.iter().all(|publish| publish.sequence() == 1), "{accepted:?}");
    let failures = wait::until(wait::SOON, "a line about the change", async || {
        let failures: Vec<_> = app.log().failures_of(&task);
        let unreadable = failures.into_iter().filter(|line| line["event_type"] == "archived");
        unreadable.max_by_key(|line| line["attempt"].as_i64())
    })
    .await;
    assert!(failures["error"].as_str().unwrap().contains("\"archived\" is not an action"), "{failures}");
    app.database.execute(&set("updated")).await;
    let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 4).await;
    assert_eq!(accepted.iter().filter(|publish| publish.sequence() == 2).count(), 2);
}

#[tokio::test]
async fn a_parked_event_that_this_version_can_not_read_stops_no_other() {
    let stub = Stub::start(Behaviour::status(400));
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    user.create("Parked").await;
    app.database.wait_delivered(user.id, wait::SOON).await;
    stub.behave(Behaviour::accept());
    app.database
        .execute(
            "UPDATE parked_events SET topic = 'task-archive' WHERE topic = 'task-updates';
            UPDATE parked_events SET requeued_at = now()",
        )
        .await;
    let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 1).await;
    assert_eq!(accepted[0].topic, TASK_EVENTS);
    let sql = "SELECT error FROM parked_events WHERE requeued_at IS NULL";
    let client = app.database.client().await;
    let error: String = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(error.contains("\"task-archive\" is not a topic"), "{error}");
}

/// Each topic has a back-off of its own: one that has failed often does not slow down another.
#[tokio::test]
async fn a_topics_first_failure_is_retried_soon_whatever_another_topic_has_been_through() {
    let stub = Stub::start(Behaviour::judge(|publish| if publish.topic == TASK_EVENTS { 500 } else { 204 }));
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    user.create("Fails on one topic").await;
    stub.wait_attempts(2).await;
    let blocked = "SELECT count(*) FROM user_streams WHERE topic_attempts[1] > 0 AND lease_until IS NULL";
    let client = app.database.client().await;
    wait::until(wait::SOON, "a topic that waits for its retry", async || {
        (client.query_one(blocked, &[]).await.unwrap().get::<_, i64>(0) == 1).then_some(())
    })
    .await;
    app.database
        .execute(
            "UPDATE user_streams SET topic_attempts[1] = 10, topic_retry_at[1] = now() + interval '60 s',
                claimable_at = now() + interval '60 s'",
        )
        .await;
    for _ in 0..3 {
        stub.behave(Behaviour::judge(|publish| if publish.topic == REMINDERS { 500 } else { 204 }));
        let before = stub.attempts().len();
        user.create_due("Its reminder fails once", DUE).await;
        wait::until(wait::SOON, "a reminder that fails", async || {
            let attempts = stub.attempts();
            attempts[before..].iter().any(|publish| publish.topic == REMINDERS).then_some(())
        })
        .await;
        stub.behave(Behaviour::accept());
        let failed = stub.attempts().iter().filter(|publish| publish.topic == REMINDERS).count();
        wait::until(Duration::from_secs(3), "the reminder", async || {
            nudge::tick(&app.user()).await;
            let reminders = stub.attempts().into_iter().filter(|publish| publish.topic == REMINDERS);
            (reminders.count() > failed).then_some(())
        })
        .await;
    }
}

/// A topic that catches up with a backlog does not hold back the user's other topics.
#[tokio::test]
async fn a_topic_that_lags_behind_holds_up_no_other() {
    let stub = Stub::start(Behaviour::judge(|publish| if publish.topic == TASK_EVENTS { 500 } else { 204 }));
    let app = Setup::new().dapr_url(stub.url()).start();
    let user = app.user();
    for _ in 0..40 {
        user.create("Waits on one topic").await;
    }
    let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 40).await;
    assert!(accepted.iter().all(|publish| publish.topic != TASK_EVENTS));
    // From here on, every event of the topic takes a moment: it needs several passes.
    stub.behave(Behaviour::accept().after(Duration::from_millis(40)));
    app.database.execute("UPDATE user_streams SET topic_retry_at[1] = now(), claimable_at = now()").await;
    let last = user.create("While the topic catches up").await;
    let accepted = wait::until(wait::SOON, "the last change on the other topic", async || {
        let accepted = stub.accepted();
        let is_last =
            |publish: &Publish| publish.event["subject"] == last["id"] && publish.topic != TASK_EVENTS;
        accepted.iter().any(is_last).then_some(accepted)
    })
    .await;
    let caught_up = accepted.iter().filter(|publish| publish.topic == TASK_EVENTS).count();
    assert!(caught_up < 30, "{caught_up} events of the other topic came first");
    nudge::until_accepted(&app.user(), &stub, user.id, 82).await;
}

/// PostgreSQL's clock was set back by a minute: what it has written lies ahead of it now.
#[tokio::test]
async fn after_the_clock_was_set_back_nothing_waits_for_it() {
    let stub = Stub::start(Behaviour::status(500));
    let app = Setup::new().dapr_url(stub.url()).start();
    let (pending, leased, blocked) = (app.user(), app.user(), app.user());
    let tasks = futures::future::join_all([&pending, &leased, &blocked].map(User::new_task_id)).await;
    stub.wait_attempts(6).await;
    app.database
        .execute(&format!(
            "SELECT setval('drain_until', to_micros(now() + interval '58 s'));
            SELECT setval('relay_called_at', to_micros(now() + interval '60 s'));
            UPDATE tasks SET created_at = now() + interval '60 s', updated_at = now() + interval '60 s';
            UPDATE user_streams SET claimable_at = now() + interval '60 s', last_change_at = now() + interval '60 s',
                topic_attempts = NULL, topic_retry_at = NULL, lease_until = NULL;
            UPDATE user_streams SET lease_until = now() + interval '61 s', lease_ms = 1000 WHERE user_id = '{}';
            UPDATE user_streams SET topic_attempts = '{{1,1,0}}',
                topic_retry_at = ARRAY[now() + interval '60 s', now() + interval '60 s', NULL] WHERE user_id = '{}'",
            leased.id, blocked.id
        ))
        .await;
    stub.behave(Behaviour::accept());
    let new = app.user();
    new.create("Relies on no promise that lies ahead").await;
    app.database.wait_delivered(new.id, Duration::from_secs(1)).await;
    for user in [&pending, &leased, &blocked] {
        wait::until(Duration::from_secs(5), "a delivery", async || {
            nudge::tick(&app.user()).await;
            app.database.outbox_of(user.id).await.is_empty().then_some(())
        })
        .await;
    }
    let patched = pending.update(&tasks[0], &json!({"completed": true})).await;
    assert!(patched["updated_at"].as_str() >= patched["created_at"].as_str(), "{patched}");
    let events = stub.wait_accepted(2 * 5).await;
    let times: Vec<_> =
        of(&events, &pending).iter().map(|publish| publish.event["time"].to_string()).collect();
    assert!(times.iter().max() == times.last(), "times never fall while sequences rise: {times:?}");
}

/// Spin's pools keep the connections that a component once had, and the server has no more to give.
#[tokio::test]
async fn after_connections_ran_out_every_component_gets_some_again() {
    let app = Setup::new().with_dapr().start();
    let user = app.user();
    let task = user.new_task_id().await;
    app.database.limit_connections(20).await;
    let mut clients = JoinSet::new();
    for user in app.users(64) {
        clients.spawn(async move {
            for _ in 0..20 {
                // Some are answered with 503.
                user.post_task(&json!({"title": "One of very many"})).await;
            }
        });
    }
    clients.join_all().await;
    wait::until(Duration::from_secs(15), "every component to work", async || {
        let relay = nudge::tick_with(&user, Some(nudge::APP_TOKEN)).await.status;
        let (complete, uncomplete, read) = (
            user.call(crate::harness::Route::Complete, &task).await.status,
            user.call(crate::harness::Route::Uncomplete, &task).await.status,
            user.call(crate::harness::Route::Read, &task).await.status,
        );
        [relay, complete, uncomplete, read].iter().all(|status| *status == 200).then_some(())
    })
    .await;
    wait::until(wait::SOON, "an empty outbox", async || {
        nudge::tick_with(&user, Some(nudge::APP_TOKEN)).await;
        (app.database.outbox_size().await == 0).then_some(())
    })
    .await;
    assert_eq!(id(&user.read(&task).await), task);
}
