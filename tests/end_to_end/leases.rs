//! Several hosts on one database: at any moment one publisher works for a user, and one that was overtaken changes nothing.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::database::{Database, waiting_for_locks};
use crate::harness::event::{TASK_EVENTS, TASK_UPDATES};
use crate::harness::publish::Publish;
use crate::harness::setup::two_hosts;
use crate::harness::stub::{Behaviour, NO_ANSWER, Stub};
use crate::harness::{Setup, User, nudge, turn, wait};

/// How long a host waits for its sidecar.
const TIMEOUT: Duration = Duration::from_secs(4);

fn setup() -> Setup {
    Setup::new().variable("publish_timeout_ms", TIMEOUT.as_millis().to_string())
}

fn sequences(publishes: &[Publish], topic: &str) -> Vec<u64> {
    publishes.iter().filter(|publish| publish.topic == topic).map(Publish::sequence).collect()
}

#[tokio::test]
async fn two_hosts_publish_a_users_changes_once_and_in_order() {
    let _turn = turn::beside();
    let stub = Stub::start(Behaviour::accept().after(Duration::from_millis(20)));
    let (one, other) = two_hosts(setup, &stub, &stub);
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

/// The first host freezes while it publishes change 1. Its lease runs out; the second host takes over, delivers change 1
/// and is publishing change 2 when the first one wakes up and settles what it believes.
#[tokio::test]
async fn a_publisher_that_was_overtaken_changes_nothing() {
    let _turn = turn::beside();
    let (first_stub, second_stub) = (Stub::start(Behaviour::Hang), Stub::start(Behaviour::accept()));
    let (first, second) = two_hosts(setup, &first_stub, &second_stub);
    let user = first.user();
    user.create("Claimed by the host that freezes").await;
    first_stub.wait_attempts(2).await;
    first.pause();
    let second_only = |publish: &Publish| if publish.sequence() == 2 { NO_ANSWER } else { 204 };
    second_stub.behave(Behaviour::judge(second_only));
    User::with_id(&second.url(), user.id).create("Made on the other host").await;
    let own = user.id.to_string();
    let taken_over = wait::until(wait::EVENTUALLY, "the second host to publish change 2", async || {
        let ticking = second.user();
        // Not waited for: its publish of change 2 hangs.
        tokio::spawn(async move { nudge::tick(&ticking).await });
        second_stub.attempts().into_iter().find(|publish| publish.user() == own && publish.sequence() == 2)
    })
    .await;

    first_stub.behave(Behaviour::accept());
    first.resume();
    while taken_over.began.elapsed() < TIMEOUT / 2 {
        wait::pass(wait::A_MOMENT).await;
        nudge::tick(&first.user()).await;
    }
    let wrongly_sent = first_stub.accepted().into_iter().filter(|publish| publish.user() == own).count();
    assert!(
        taken_over.began.elapsed() < TIMEOUT,
        "the second host's publish was over before anything was seen"
    );
    assert_eq!(wrongly_sent, 0, "the second host still had the lease");

    second_stub.behave(Behaviour::accept());
    let delivered = wait::until(wait::EVENTUALLY, "both changes on both topics", async || {
        nudge::tick(&second.user()).await;
        let mut delivered: Vec<_> = [second_stub.accepted(), first_stub.accepted()].concat();
        delivered.retain(|publish| publish.user() == own);
        (delivered.len() >= 4).then_some(delivered)
    })
    .await;
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        assert_eq!(sequences(&delivered, topic), [1, 2], "{topic}");
    }
}

/// Settling that waits for a mutation, which holds its user's row, goes on with everything that the mutation has committed.
#[tokio::test]
async fn a_change_that_commits_while_its_user_is_being_settled_can_be_claimed() {
    const USER: &str = "'0b5cbb9c-6f0e-4f4e-8f5e-3f8f6a9a2d11'";
    const OUTCOME: &str = r#"{"user_id": "0b5cbb9c-6f0e-4f4e-8f5e-3f8f6a9a2d11", "lease_token": 1,
        "delivered": [1, 1, 1], "retry_after_ms": [null, null, null], "waiting_topics": 0, "goes_on": true,
        "last_sequence": 1}"#;
    let database = Database::migrated();
    let record = format!(
        "select record_change({USER}, {USER}, 'created', 'x', false, null, true, true, false, 'c', null, null)"
    );
    let claim = format!(
        "select claim from claim_changes(array[{USER}]::uuid[], 0, '-infinity', 'infinity', 8, 60000)"
    );
    database.execute(&record).await;
    database.execute(&claim).await;
    let mutation = database.client().await;
    mutation.batch_execute(&format!("begin; {record}")).await.unwrap();
    let settling = database.client().await;
    let settling = tokio::spawn(async move {
        let settle = format!("select is_settled and goes_on from settle_changes('[{OUTCOME}]', '[]', true)");
        settling.query_one(&settle, &[]).await.unwrap().get::<_, bool>(0)
    });
    wait::until(wait::SOON, "settling to wait for the mutation", async || {
        (waiting_for_locks(&mutation).await > 0).then_some(())
    })
    .await;
    mutation.batch_execute("commit").await.unwrap();
    assert!(settling.await.unwrap(), "the user can be claimed at once");
    let claimed: String = mutation.query_one(&claim, &[]).await.unwrap().get(0);
    assert!(claimed.contains("\"last_sequence\":2") && claimed.contains("\"sequence\":2"), "{claimed}");
}
