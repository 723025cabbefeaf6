//! Under load several events go out in one call to the sidecar.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::event::{Event, TASK_EVENTS, TASK_UPDATES};
use crate::harness::publish::Publish;
use crate::harness::stub::{Behaviour, Stub, refusal};
use crate::harness::{Setup, User, nudge, wait};

const USERS: usize = 20;

/// How many of them a sidecar refuses: several, since one of them can happen to be alone in its calls.
const REFUSED: usize = 5;

/// Long enough for the changes of many users to pile up behind a call.
const SLOW: Duration = Duration::from_millis(100);

/// Every user creates two tasks, all at once.
async fn pile_up(users: &[User]) {
    let mut requests = JoinSet::new();
    for user in users.iter().chain(users) {
        let user = user.clone();
        requests.spawn(async move { user.create("One of many").await });
    }
    requests.join_all().await;
}

/// The events of each bulk call.
fn bulk_calls(publishes: Vec<Publish>) -> Vec<Vec<Publish>> {
    let mut calls: BTreeMap<usize, Vec<Publish>> = BTreeMap::new();
    for publish in publishes.into_iter().filter(|publish| publish.bulk) {
        calls.entry(publish.call).or_default().push(publish);
    }
    calls.into_values().collect()
}

#[tokio::test]
async fn a_bulk_call_holds_events_as_single_calls_do_and_one_a_user() {
    let stub = Stub::start(Behaviour::accept().after(SLOW));
    let app = Setup::new().dapr_url(stub.url()).start();
    pile_up(&app.users(USERS)).await;
    let calls = bulk_calls(stub.wait_accepted(2 * 2 * USERS).await);
    assert!(!calls.is_empty(), "no bulk call was made");
    calls.iter().for_each(|events| assert_bulk_call(events));
}

fn assert_bulk_call(events: &[Publish]) {
    let users: BTreeSet<_> = events.iter().map(Publish::user).collect();
    let entries: BTreeSet<_> = events.iter().map(|publish| &publish.entry).collect();
    assert_eq!(
        (users.len(), entries.len()),
        (events.len(), events.len()),
        "one event a user, one entry an event"
    );
    for publish in events {
        Event::verified(&publish.topic, &publish.event);
        assert_eq!(publish.content_type, "application/cloudevents+json");
        assert_eq!(publish.partition_key, publish.user());
        assert_eq!(publish.topic, events[0].topic);
    }
}

#[tokio::test]
async fn an_event_refused_in_a_bulk_call_stops_only_its_user() {
    let stub = Stub::start(Behaviour::accept());
    let app = Setup::new().dapr_url(stub.url()).start();
    let users = app.users(USERS);
    // Not those who come first, whom a drain takes while they are alone.
    let (others, refused) = users.split_at(USERS - REFUSED);
    let refused_ids: Vec<_> = refused.iter().map(|user| user.id.to_string()).collect();
    let verdict =
        move |publish: &Publish| if refused_ids.iter().any(|id| id == publish.user()) { 500 } else { 204 };
    stub.behave(Behaviour::judge(verdict).after(SLOW));
    pile_up(&users).await;
    for user in others {
        assert_once_and_in_order(&nudge::until_accepted(&app.user(), &stub, user.id, 4).await);
    }
    let mixed =
        |events: &Vec<Publish>| events.iter().any(Publish::accepted) && !events.iter().all(Publish::accepted);
    assert!(bulk_calls(stub.attempts()).iter().any(mixed), "no bulk call was accepted in part");
    for user in refused {
        assert_eq!(app.database.outbox_of(user.id).await, [1, 2]);
    }
    stub.behave(Behaviour::accept());
    for user in refused {
        assert_once_and_in_order(&nudge::until_accepted(&app.user(), &stub, user.id, 4).await);
    }
}

fn assert_once_and_in_order(accepted: &[Publish]) {
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        let own = accepted.iter().filter(|publish| publish.topic == topic);
        assert_eq!(own.map(Publish::sequence).collect::<Vec<_>>(), [1, 2], "{topic}");
    }
}

/// One event that Dapr cannot read as a CloudEvent has it refuse the whole call.
#[tokio::test]
async fn an_event_that_dapr_cannot_read_is_parked_and_the_rest_of_its_bulk_call_is_published() {
    let stub = Stub::start(Behaviour::accept().after(SLOW));
    let app = Setup::new().dapr_url(stub.url()).start();
    let users = app.users(USERS);
    let refused = users[USERS - 1].clone();
    let refused_id = refused.id.to_string();
    let verdict = move |publish: &Publish| if publish.user() == refused_id { 400 } else { 204 };
    stub.behave(Behaviour::RefuseBulk(500, refusal("ERR_PUBSUB_CLOUD_EVENTS_SER"), Arc::new(verdict)));
    pile_up(&users).await;
    for user in &users[..USERS - 1] {
        assert_once_and_in_order(&nudge::until_accepted(&app.user(), &stub, user.id, 4).await);
    }
    assert!(!bulk_calls(stub.attempts()).is_empty(), "no bulk call was made");
    app.database.wait_delivered(refused.id, wait::EVENTUALLY).await;
    let parked = app.database.parked().await;
    assert_eq!(parked.len(), 4, "{parked:?}");
    assert!(parked.iter().all(|(user, _)| *user == refused.id), "{parked:?}");
    // Otherwise the others of the call have waited for their back-off.
    assert_eq!(app.log().saying("event not published"), Vec::<Value>::new());
}

/// An answer that names an event that was not in the call says nothing certain about those that were.
#[tokio::test]
async fn a_bulk_answer_that_names_a_strange_event_counts_nothing_as_published() {
    let stub = Stub::start(Behaviour::accept().after(SLOW));
    let app = Setup::new().dapr_url(stub.url()).start();
    let users = app.users(USERS);
    let strange =
        json!({"errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE", "failedEntries": [{"entryId": "strange"}]});
    stub.behave(Behaviour::RefuseBulk(500, strange.to_string(), Arc::new(|_: &Publish| 204)));
    pile_up(&users).await;
    let bulk_attempts = wait::until(wait::SOON, "a bulk call that was refused", async || {
        let calls = bulk_calls(stub.attempts());
        (!calls.is_empty()).then_some(calls)
    });
    let named: BTreeSet<_> =
        bulk_attempts.await.iter().flatten().map(|publish| publish.entry.clone()).collect();
    stub.behave(Behaviour::accept());
    for user in &users {
        let accepted = nudge::until_accepted(&app.user(), &stub, user.id, 4).await;
        assert_once_and_in_order(&accepted);
    }
    let accepted: BTreeSet<_> = stub.accepted().iter().map(|publish| publish.id().to_owned()).collect();
    assert!(named.is_subset(&accepted), "events of a refused call that were never published");
}
