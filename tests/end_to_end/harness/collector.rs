//! A real sidecar and what it delivered.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use stack::resources::Deliver;
use stack::subscriber::Subscriber;
use stack::{Broker, Sidecar, SidecarOptions, free_port, write_resources};
use uuid::Uuid;

use crate::harness::User;
use crate::harness::answer::id;
use crate::harness::environment;
use crate::harness::event::{Event, TASK_EVENTS, TASK_UPDATES, TOPICS};
use crate::harness::wait;

type Deliveries = Arc<Mutex<Vec<(String, Value)>>>;

/// `daprd` with the in-memory broker and a subscriber that keeps everything.
pub(crate) struct Dapr {
    pub(crate) port: u16,
    deliveries: Deliveries,
    // Ends before its subscriber.
    _sidecar: Sidecar,
    _subscriber: Subscriber,
}

/// What a user's changes gave, up to a last change that reaches every topic.
pub(crate) struct Heard {
    /// In the order of delivery on each topic, without those of the last change.
    pub(crate) events: Vec<Event>,
    /// The sequence number of the last change.
    pub(crate) sentinel: u64,
}

impl Heard {
    pub(crate) fn on(&self, topic: &str) -> Vec<&Event> {
        self.events.iter().filter(|event| event.topic == topic).collect()
    }

    /// The only event on this topic.
    #[track_caller]
    pub(crate) fn only(&self, topic: &str) -> &Event {
        let events = self.on(topic);
        assert_eq!(events.len(), 1, "events on {topic}: {events:?}");
        events[0]
    }

    /// So many changes were there, and each was heard once, in order, on both topics that every change reaches.
    #[track_caller]
    pub(crate) fn assert_each_once(&self, changes: u64) {
        assert_eq!(self.sentinel, changes + 1, "changes, with the last one");
        for topic in [TASK_EVENTS, TASK_UPDATES] {
            let sequences: Vec<_> = self.on(topic).iter().map(|event| event.sequence).collect();
            assert_eq!(sequences, (1..=changes).collect::<Vec<_>>(), "{topic}");
        }
    }
}

impl Dapr {
    pub(crate) fn start() -> Self {
        Self::start_on(free_port().unwrap())
    }

    /// On the port where the app looks for its sidecar.
    pub(crate) fn start_on(port: u16) -> Self {
        let deliveries = Deliveries::default();
        let sink = Arc::clone(&deliveries);
        let subscriber = Subscriber::start(move |topic, event| {
            sink.lock().unwrap().push((topic.to_owned(), event));
        })
        .expect("start a subscriber");
        let sidecar = sidecar(port, &Broker::InMemory, Some(subscriber.port()));
        Self { port, deliveries, _sidecar: sidecar, _subscriber: subscriber }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The user's events so far, in the order of delivery on each topic.
    pub(crate) fn events_of(&self, user: Uuid) -> Vec<Event> {
        let user = Value::from(user.to_string());
        // Copied first: a broken event fails this test, and must not poison the list for the others.
        let mut own = self.deliveries.lock().unwrap().clone();
        own.retain(|(_, event)| event["partitionkey"] == user);
        own.iter().map(|(topic, event)| Event::verified(topic, event)).collect()
    }

    /// Waits until so many of the user's events have come; returns them.
    pub(crate) async fn wait_for(&self, user: Uuid, count: usize) -> Vec<Event> {
        wait::until(wait::SOON, &format!("{count} events of {user}"), async || {
            let events = self.events_of(user);
            (events.len() >= count).then_some(events)
        })
        .await
    }

    /// Makes a last change that reaches every topic and waits for it: since a topic has a user's events in order, no
    /// event of an earlier change can come any more.
    pub(crate) async fn heard(&self, user: &User) -> Heard {
        let last = id(&user.create_due("The last change", "2030-01-01T00:00:00Z").await);
        let is_last = |event: &Event| event.attribute("subject") == Some(last.as_str());
        let events = wait::until(wait::SOON, "the last change on every topic", async || {
            let events = self.events_of(user.id);
            (events.iter().filter(|event| is_last(event)).count() == TOPICS.len()).then_some(events)
        })
        .await;
        let (last, events): (Vec<_>, Vec<_>) = events.into_iter().partition(is_last);
        Heard { events, sentinel: last[0].sequence }
    }
}

/// Starts the real sidecar; with an app port it also delivers.
pub(crate) fn sidecar(port: u16, broker: &Broker, app_port: Option<u16>) -> Sidecar {
    let deliver = if app_port.is_some() { Deliver::Events } else { Deliver::Nothing };
    start(port, broker, app_port, deliver, None, None)
}

/// The same with this Configuration.
pub(crate) fn sidecar_configured(
    port: u16,
    broker: &Broker,
    app_port: Option<u16>,
    configuration: &str,
) -> Sidecar {
    let deliver = if app_port.is_some() { Deliver::Events } else { Deliver::Nothing };
    start(port, broker, app_port, deliver, None, Some(configuration))
}

/// Starts a real sidecar on any port that calls the app as told, with the token that the app expects of it.
pub(crate) fn sidecar_with(
    broker: &Broker,
    app_port: Option<u16>,
    deliver: Deliver,
    app_token: Option<&str>,
) -> Sidecar {
    start(free_port().unwrap(), broker, app_port, deliver, app_token, None)
}

fn start(
    port: u16,
    broker: &Broker,
    app_port: Option<u16>,
    deliver: Deliver,
    app_token: Option<&str>,
    configuration: Option<&str>,
) -> Sidecar {
    let directory = environment::directory("daprd");
    let (resources, configuration_file) = (directory.join("resources"), directory.join("configuration.yaml"));
    if let Some(configuration) = configuration {
        std::fs::write(&configuration_file, configuration).unwrap();
    }
    write_resources(&resources, broker, deliver).expect("write the sidecar's resources");
    Sidecar::start(SidecarOptions {
        daprd: environment::daprd(),
        app_id: format!("end-to-end-{port}"),
        http_port: port,
        resources: &resources,
        configuration: configuration.map(|_| configuration_file.as_path()),
        app_port,
        api_token: None,
        app_token: app_token.map(str::to_owned),
        metrics_port: None,
        log: directory.join("daprd.log"),
        on_log: None,
        yielding: false,
    })
    .expect("start daprd")
}
