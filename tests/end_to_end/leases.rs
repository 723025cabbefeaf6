//! Several hosts on one database: at any moment one publisher works for a user, and one that was overtaken changes nothing.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::event::{TASK_EVENTS, TASK_UPDATES};
use crate::harness::publish::Publish;
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{App, Setup, User, nudge, turn, wait};

/// Two hosts on one database, each with the sidecar at its URL.
fn two_hosts(first: &Stub, second: &Stub) -> (App, App) {
    let setup = || Setup::new().variable("publish_timeout_ms", "500");
    let one = setup().dapr_url(first.url()).launch();
    let other = setup().dapr_url(second.url()).database(one.database.clone()).launch();
    (one, other)
}

fn sequences(publishes: &[Publish], topic: &str) -> Vec<u64> {
    publishes.iter().filter(|publish| publish.topic == topic).map(Publish::sequence).collect()
}

#[tokio::test]
async fn two_hosts_publish_a_users_changes_once_and_in_order() {
    let _turn = turn::beside();
    let stub = Stub::start(Behaviour::accept().after(Duration::from_millis(20)));
    let (one, other) = two_hosts(&stub, &stub);
    let user = one.user();
    let hosts = [user.clone(), User::with_id(&other.url(), user.id)];
    let mut requests = JoinSet::new();
    for user in hosts.iter().cycle().take(30) {
        let user = user.clone();
        requests.spawn(async move { user.create("From one of two hosts").await });
    }
    requests.join_all().await;
    let accepted = stub.wait_accepted(60).await;
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        assert_eq!(sequences(&accepted, topic), (1..=30).collect::<Vec<_>>(), "{topic}");
    }
}

#[tokio::test]
async fn a_publisher_that_was_overtaken_changes_nothing() {
    let _turn = turn::beside();
    let (first_stub, second_stub) = (Stub::start(Behaviour::Hang), Stub::start(Behaviour::accept()));
    let (first, second) = two_hosts(&first_stub, &second_stub);
    let user = first.user();
    user.create("Claimed by the host that freezes").await;
    first_stub.wait_attempts(1).await;
    first.pause();
    let again = User::with_id(&second.url(), user.id);
    again.create("Made on the other host").await;
    nudge::until_accepted(&second.user(), &second_stub, user.id, 4).await;
    first.resume();
    wait::until(wait::SOON, "the frozen host's own failure", async || {
        first.log().text().contains("task.created").then_some(())
    })
    .await;
    again.create("Made after the frozen host woke up").await;
    let accepted = nudge::until_accepted(&second.user(), &second_stub, user.id, 6).await;
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        assert_eq!(sequences(&accepted, topic), [1, 2, 3], "{topic}: nothing twice, nothing missing");
    }
    wait::until(wait::SOON, "an empty outbox", async || {
        first.database.outbox_of(user.id).await.is_empty().then_some(())
    })
    .await;
}
