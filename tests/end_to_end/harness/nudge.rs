//! What a request's own drain has left behind goes out when the sidecar's cron binding ticks for the relay. Here a test
//! ticks, when it wants to.

use reqwest::Method;
use uuid::Uuid;

use crate::harness::User;
use crate::harness::answer::Answer;
use crate::harness::collector::Dapr;
use crate::harness::event::Event;
use crate::harness::publish::Publish;
use crate::harness::stub::Stub;
use crate::harness::wait;

/// By which the apps know their sidecar.
pub(crate) const APP_TOKEN: &str = "the-token-of-the-sidecar";

/// Ticks on the host of `helper` again and again until `count` events of `user` have been accepted; returns them.
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

/// Ticks on the host of `helper` again and again until `count` events of `user` have been delivered; returns them.
pub(crate) async fn until_delivered(helper: &User, dapr: &Dapr, user: Uuid, count: usize) -> Vec<Event> {
    wait::until(wait::EVENTUALLY, &format!("{count} delivered events of {user}"), async || {
        drain(helper).await;
        let events = dapr.events_of(user);
        (events.len() >= count).then_some(events)
    })
    .await
}

async fn drain(helper: &User) {
    wait::pass(wait::A_MOMENT).await;
    tick(helper).await;
}

/// One tick on the host of `helper`.
pub(crate) async fn tick(helper: &User) {
    tick_with(helper, Some(APP_TOKEN)).await.ok(200);
}

/// A tick that may be refused.
pub(crate) async fn tick_with(helper: &User, token: Option<&str>) -> Answer {
    let request = helper.anonymous(Method::POST, "/internal/relay");
    Answer::to(token.iter().fold(request, |request, token| request.header("dapr-api-token", *token))).await
}
