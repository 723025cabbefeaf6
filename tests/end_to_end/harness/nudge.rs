//! Publishing is driven by requests: what was left behind goes out when another mutation drains the outbox.

use uuid::Uuid;

use crate::harness::User;
use crate::harness::collector::Dapr;
use crate::harness::event::Event;
use crate::harness::publish::Publish;
use crate::harness::stub::Stub;
use crate::harness::wait;

/// Lets `helper` change something again and again until `count` events of `user` have been accepted; returns them.
pub(crate) async fn until_accepted(helper: &User, stub: &Stub, user: Uuid, count: usize) -> Vec<Publish> {
    let user_text = user.to_string();
    wait::until(wait::EVENTUALLY, &format!("{count} accepted events of {user}"), async || {
        drain(helper).await;
        let own = stub.accepted().into_iter().filter(|publish| publish.user() == user_text);
        let own: Vec<_> = own.collect();
        (own.len() >= count).then_some(own)
    })
    .await
}

/// Lets `helper` change something again and again until `count` events of `user` have been delivered; returns them.
pub(crate) async fn until_delivered(helper: &User, dapr: &Dapr, user: Uuid, count: usize) -> Vec<Event> {
    wait::until(wait::EVENTUALLY, &format!("{count} delivered events of {user}"), async || {
        drain(helper).await;
        let events = dapr.events_of(user);
        (events.len() >= count).then_some(events)
    })
    .await
}

/// Waits a little and creates a task, which drains the outbox afterwards.
async fn drain(helper: &User) {
    wait::pass(wait::A_MOMENT).await;
    helper.create("Another mutation drains").await;
}
