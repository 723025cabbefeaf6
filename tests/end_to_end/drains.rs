//! One drain serves everybody who counts on it, and leaves none of them behind. No relay is called here.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::database::{APP, MONITOR};
use crate::harness::publish::Publish;
use crate::harness::setup::two_hosts;
use crate::harness::stub::{Behaviour, Stub};
use crate::harness::{App, Setup, User, nudge, turn, wait};

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

/// Users whose changes pile up behind a slow sidecar.
const MANY: usize = 100;

/// A user who changes something while the own claim is published goes on in the next pass, and others come on top.
#[tokio::test]
async fn a_pass_is_bounded_whatever_piles_up() {
    const LARGEST: u64 = 32;
    let _turn = turn::beside();
    let stub = Stub::start(Behaviour::accept().after(Duration::from_millis(300)));
    let app = Setup::new().dapr_url(stub.url()).variable("log_level", "debug").launch();
    let mut requests = JoinSet::new();
    for user in app.users(MANY) {
        requests.spawn(async move {
            for _ in 0..6 {
                user.create("One of many").await;
                wait::pass(Duration::from_millis(250)).await;
            }
        });
    }
    requests.join_all().await;
    let sizes: Vec<_> =
        app.log().saying("pass ended").iter().map(|line| line["users"].as_u64().unwrap()).collect();
    assert!(sizes.iter().any(|users| *users >= LARGEST / 2), "nothing has piled up: {sizes:?}");
    assert!(sizes.iter().all(|users| *users <= LARGEST), "{sizes:?}");
    wait::until(wait::EVENTUALLY, "an empty outbox", async || {
        nudge::tick(&app.user()).await;
        (app.database.outbox_size().await == 0).then_some(())
    })
    .await;
}

/// A pass that takes longer than the moment for which a drain cares about others' requests.
#[tokio::test]
async fn a_change_that_relies_on_a_drain_is_delivered_by_it_however_long_its_pass_takes() {
    let _turn = turn::beside();
    let [first, second] =
        [(), ()].map(|()| Stub::start(Behaviour::accept().after(Duration::from_millis(1_500))));
    let (one, other) = two_hosts(Setup::new, &first, &second);
    let mut pairs = JoinSet::new();
    for _ in 0..3 {
        let (user, neighbor) = (one.user(), other.user());
        pairs.spawn(async move {
            user.create("Begins a drain").await;
            wait::pass(Duration::from_millis(50)).await;
            neighbor.create("Relies on it").await;
        });
    }
    pairs.join_all().await;
    wait_delivered(&one).await;
}

/// It has read the drain's promise, and the drain withdraws it and looks once more before the change is there to be seen.
#[tokio::test]
async fn a_change_that_commits_after_the_promise_was_withdrawn_is_delivered_by_the_drain() {
    let _turn = turn::beside();
    let stub = Stub::start(Behaviour::accept().after(Duration::from_millis(100)));
    let app = Setup::new().dapr_url(stub.url()).launch();
    let session = app.database.client_of(APP).await;
    let create =
        "SELECT create_task(gen_random_uuid(), gen_random_uuid(), 'Commits late', NULL, 'c', NULL, NULL),
        left_to_drain()";
    wait::until(wait::SOON, "a change that relies on a drain", async || {
        let user = app.user();
        user.create("Begins a drain").await;
        session.batch_execute("BEGIN").await.unwrap();
        let relies: bool = session.query_one(create, &[]).await.unwrap().get(1);
        if !relies {
            session.batch_execute("ROLLBACK").await.unwrap();
            return None;
        }
        wait::until(wait::SOON, "the withdrawal", async || {
            let sql = "SELECT last_value = 1 FROM drain_until";
            session.query_one(sql, &[]).await.unwrap().get::<_, bool>(0).then_some(())
        })
        .await;
        session.batch_execute("COMMIT").await.unwrap();
        Some(())
    })
    .await;
    wait_delivered(&app).await;
}

/// Passes that have ended within a second.
async fn passes_in_a_second(app: &App) -> usize {
    let before = app.log().saying("pass ended").len();
    wait::pass(Duration::from_secs(1)).await;
    app.log().saying("pass ended").len() - before
}

#[tokio::test]
async fn passes_stop_whatever_other_sessions_keep_open() {
    let _turn = turn::beside();
    let stub = Stub::start(Behaviour::accept());
    let app = Setup::new().dapr_url(stub.url()).variable("log_level", "debug").launch();
    let (writing, locking) = (app.database.client_of(APP).await, app.database.client_of(MONITOR).await);
    let create = "BEGIN; SELECT create_task(gen_random_uuid(), gen_random_uuid(), 'Never committed', NULL, 'c', NULL, NULL),
        left_to_drain()";
    writing.batch_execute(create).await.unwrap();
    // The lock by which drains once knew that mutations were running.
    locking.batch_execute("SELECT pg_advisory_lock(8386110886206600052)").await.unwrap();
    let user = app.user();
    user.create("Meanwhile").await;
    app.database.wait_delivered(user.id, wait::SOON).await;
    wait::until(Duration::from_secs(6), "the end of the drains", async || {
        (passes_in_a_second(&app).await == 0).then_some(())
    })
    .await;
}
