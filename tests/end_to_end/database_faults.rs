//! A database that cannot be reached.

use crate::harness::{Route, Setup, wait};

#[tokio::test]
async fn without_a_database_every_route_says_so_and_recovers() {
    let app = Setup::new().behind_proxy().start();
    let user = app.user();
    let id = user.new_task_id().await;
    app.proxy().cut();
    for route in Route::ALL {
        user.call(route, &id).await.database_unavailable();
    }
    app.proxy().mend();
    wait::until(wait::SOON, "the API after the database is back", async || {
        (user.call(Route::Read, &id).await.status == 200).then_some(())
    })
    .await;
    for route in Route::ALL {
        assert_eq!(user.call(route, &id).await.status, route.success(), "{route:?}");
    }
}

#[tokio::test]
async fn a_cut_between_two_requests_is_noticed_by_the_first_one_at_most() {
    let app = Setup::new().behind_proxy().start();
    let user = app.user();
    let id = user.new_task_id().await;
    for route in Route::ALL {
        user.call(route, &user.new_task_id().await).await;
    }
    app.proxy().cut();
    app.proxy().mend();
    wait::until(wait::SOON, "an answer from the database", async || {
        (user.call(Route::Read, &id).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(user.call(Route::Read, &id).await.status, 200);
}

#[tokio::test]
async fn a_database_that_was_away_loses_no_events() {
    let app = Setup::new().with_dapr().behind_proxy().start();
    let user = app.user();
    user.create("Before").await;
    app.dapr().wait_for(user.id, 2).await;
    app.proxy().cut();
    assert_eq!(user.call(Route::Create, "").await.status, 503);
    app.proxy().mend();
    wait::until(wait::SOON, "the API after the database is back", async || {
        (user.call(Route::List, "").await.status == 200).then_some(())
    })
    .await;
    user.create("After").await;
    assert_eq!(app.heard(&user).await.sentinel, 3, "the failed request took no number");
}
