//! A sidecar whose resources are applied again while it runs, as `kubectl apply` does: Dapr's hot reload is on by default.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use stack::resources::Reapply;
use stack::{Broker, Deliver, Sidecar, SidecarOptions, free_port, probe, write_resources};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::interval;
use uuid::Uuid;

use crate::harness::environment::{daprd, directory, kafka};
use crate::harness::event::{TASK_EVENTS, TASK_UPDATES};
use crate::harness::load::steady;
use crate::harness::{Own, Setup, nudge, wait};
use crate::kafka::read;

/// Changes a second, and how many there are: for so long, the component is applied again and again.
const RATE: u32 = 50;
const CHANGES: usize = 750;

/// Pause between two writes of a resource.
const APPLY_EVERY: Duration = Duration::from_millis(200);

/// A real sidecar on the real Kafka, with its resources at hand.
struct Reloaded {
    sidecar: Sidecar,
    port: u16,
    resources: PathBuf,
    log: PathBuf,
}

impl Reloaded {
    fn start() -> Self {
        let (directory, port) = (directory("reloaded"), free_port().unwrap());
        let (resources, log) = (directory.join("resources"), directory.join("daprd.log"));
        write_resources(&resources, &Broker::Kafka { bootstrap: kafka() }, Deliver::Nothing).unwrap();
        let sidecar = Sidecar::start(SidecarOptions {
            daprd: daprd(),
            app_id: format!("reloaded-{port}"),
            http_port: port,
            resources: &resources,
            configuration: None,
            app_port: None,
            api_token: None,
            app_token: None,
            metrics_port: None,
            log: log.clone(),
            on_log: None,
            yielding: false,
        });
        Self { sidecar: sidecar.unwrap(), port, resources, log }
    }

    fn app(&self) -> Own {
        Setup::new().dapr_url(format!("http://127.0.0.1:{}", self.port)).start()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until a line of its log has been written so many times.
    async fn wait_for_log(&self, text: &str, times: usize) {
        wait::until(wait::EVENTUALLY, &format!("`{text}` {times} times in daprd's log"), async || {
            (self.log().matches(text).count() >= times).then_some(())
        })
        .await;
    }
}

/// Each user's events on a topic of the real Kafka, without repeats, are those of all their changes in order.
async fn assert_all_in_kafka(users: &[crate::harness::User], changes: usize) {
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        let events = read(&kafka(), topic, users).await;
        for user in users {
            let mut sequences: Vec<_> =
                events.get(&user.id).into_iter().flatten().map(|event| event.sequence).collect();
            sequences.dedup();
            assert_eq!(sequences, (1..=changes as u64).collect::<Vec<_>>(), "{topic}");
        }
    }
}

#[tokio::test]
async fn a_component_that_is_applied_again_under_load_parks_nothing() {
    let reloaded = Reloaded::start();
    let app = reloaded.app();
    let users = app.users(10);
    let apply = async {
        let component = Reapply::pubsub(&reloaded.resources).unwrap();
        let mut ticks = interval(APPLY_EVERY);
        for number in 1.. {
            ticks.tick().await;
            component.apply(number).unwrap();
        }
    };
    tokio::select! {
        _ = steady(&users, CHANGES, RATE) => {}
        () = apply => unreachable!("it applies the component until the load ends"),
    }
    let refused = app.log().text().matches("ERR_PUBSUB_NOT_FOUND").count();
    assert!(refused > 0, "no publish met a component that was being loaded");
    let parked = app.database.parked().await;
    assert!(parked.is_empty(), "{} of {refused} refused events are parked: {parked:?}", parked.len());
    let helper = app.user();
    for user in &users {
        wait::until(wait::EVENTUALLY, "the delivery of what was refused", async || {
            nudge::tick(&helper).await;
            app.database.outbox_of(user.id).await.is_empty().then_some(())
        })
        .await;
    }
    assert!(app.database.parked().await.is_empty());
    assert_all_in_kafka(&users, CHANGES / users.len()).await;
}

/// Which answer the component's absence gives is decided between the head of a publish and its body: 404 before the head, but 400
/// after it. Both have the same code.
#[tokio::test]
async fn a_component_that_goes_during_a_publish_gives_400_and_the_code_of_a_missing_component() {
    let reloaded = Reloaded::start();
    let body = r#"{"specversion":"1.0","id":"1","source":"test","type":"test"}"#;
    // With a key, as every record in these topics has one.
    let path = format!("/v1.0/publish/pubsub-kafka/{TASK_EVENTS}?metadata.partitionKey={}", Uuid::new_v4());
    let mut publish = TcpStream::connect(("127.0.0.1", reloaded.port)).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/cloudevents+json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    publish.write_all(head.as_bytes()).await.unwrap();
    fs::remove_file(reloaded.resources.join("pubsub.yaml")).unwrap();
    wait::until(wait::SOON, "404 for a component that is gone", async || {
        let header = ("content-type", "application/json");
        (probe::post(reloaded.port, &path, header, wait::SOON) == Some(404)).then_some(())
    })
    .await;
    publish.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    publish.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("\"errorCode\":\"ERR_PUBSUB_NOT_FOUND\""), "{answer}");
}

#[tokio::test]
async fn a_changed_resiliency_starts_the_sidecar_anew_in_its_process() {
    let reloaded = Reloaded::start();
    let app = reloaded.app();
    let user = app.user();
    user.create("Before").await;
    app.database.wait_delivered(user.id, wait::SOON).await;
    let resiliency = Reapply::resiliency(&reloaded.resources).unwrap();
    resiliency.apply(1).unwrap();
    reloaded.wait_for_log("triggering SIGHUP reload", 1).await;
    reloaded.wait_for_log("HTTP server listening on TCP address", 2).await;
    assert!(reloaded.sidecar.process().is_running(), "{}", reloaded.log());
    user.create("After").await;
    nudge::tick(&user).await;
    app.database.wait_delivered(user.id, wait::EVENTUALLY).await;
    assert_all_in_kafka(&[user], 2).await;
}
