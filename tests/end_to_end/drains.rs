//! One drain serves everybody who counts on it, and leaves none of them behind. No relay is called here.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::publish::Publish;
use crate::harness::setup::two_hosts;
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{App, Setup, User, turn, wait};

/// Bursts of mutations, each of which ends with somebody who is the last to count on a drain.
const BURSTS: usize = 60;

async fn wait_delivered(app: &App) {
    wait::until(wait::SOON, "an empty outbox", async || {
        (app.database.outbox_size().await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_drain_delivers_what_is_committed_meanwhile_on_another_host() {
    let _turn = turn::beside();
    // Slow enough that a drain is found under way, and fast enough that it is counted on until its end.
    let [first, second] =
        [(), ()].map(|()| Stub::start(Behaviour::accept().after(Duration::from_millis(30))));
    let (one, other) = two_hosts(Setup::new, &first, &second);
    let (user, neighbour) = (one.user(), other.user());
    wait::until(wait::EVENTUALLY, "a neighbour's change on the first host's sidecar", async || {
        user.create("Begins a drain").await;
        wait::pass(Duration::from_millis(10)).await;
        neighbour.create("Finds it under way").await;
        wait_delivered(&one).await;
        let own = neighbour.id.to_string();
        first.accepted().iter().any(|publish| publish.user() == own).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nobody_who_counts_on_a_drain_is_left_behind() {
    let _turn = turn::beside();
    let stub = Stub::start(Behaviour::accept());
    let (one, other) = two_hosts(Setup::new, &stub, &stub);
    let users: Vec<User> = one.users(4).into_iter().chain(other.users(4)).collect();
    for _ in 0..BURSTS {
        let mut requests = JoinSet::new();
        for user in &users {
            let user = user.clone();
            requests.spawn(async move { user.create("One of a burst").await });
        }
        requests.join_all().await;
        wait_delivered(&one).await;
    }
    assert_eq!(stub.attempts().len(), 2 * BURSTS * users.len(), "nothing was published twice");
}

#[tokio::test]
async fn nobody_counts_for_long_on_a_drain_whose_sidecar_hangs() {
    let _turn = turn::beside();
    let (hanging, accepting) = (Stub::start(Behaviour::Hang), Stub::start(Behaviour::accept()));
    let (one, other) = two_hosts(Setup::new, &hanging, &accepting);
    let waiting = one.user();
    waiting.create("Its drain hangs").await;
    hanging.wait_attempts(1).await;
    let users = other.users(5);
    for user in &users {
        user.create("Found the drain under way, or not").await;
        wait::pass(Duration::from_millis(100)).await;
    }
    let accepted = accepting.wait_accepted(2 * users.len()).await;
    let own = waiting.id.to_string();
    assert!(accepted.iter().map(Publish::user).all(|user| user != own), "the first host had the lease");
}
