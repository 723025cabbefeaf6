//! The sidecar as `deploy` sets it up: the real daprd with the configuration of the base and the resources of an overlay, of
//! which only the brokers are others and, in production, where its secrets are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::json;
use stack::kafka::certificate;
use stack::{Kafka, KafkaOptions, Launch, Process, Secured, free_port, probe};
use uuid::Uuid;

use crate::harness::environment::{daprd, directory, kafka, kafka_libraries, root};
use crate::harness::event::{REMINDERS, TASK_EVENTS, TASK_UPDATES, TOPICS};
use crate::harness::nudge::APP_TOKEN;
use crate::harness::{Setup, wait};
use crate::kafka::read;

const BASE: &str = "deploy/base/dapr.yaml";
const LOCAL: &str = "deploy/overlays/local/pubsub.yaml";
const LOCAL_BROKERS: &str = "kafka-kafka-bootstrap.kafka.svc:9092";
const PRODUCTION: &str = "deploy/overlays/production/pubsub.yaml";
const PRODUCTION_BROKERS: &str = "kafka-kafka-bootstrap.kafka.svc:9093";
const API_TOKEN: &str = "what-the-apps-show-their-sidecar";

/// Runs it for one of the two SpinApps, which listens on that port.
fn sidecar(app: &str, port: u16, app_port: u16) -> Process {
    let directory = prepare(&pubsub(LOCAL, LOCAL_BROKERS, &kafka()));
    start(launch(app, port, app_port, &directory), port)
}

fn start(launch: Launch, port: u16) -> Process {
    let process = launch.start().unwrap();
    let ready = || probe::status(port, "/v1.0/healthz") == Some(204);
    process.wait_until(Duration::from_secs(60), ready).unwrap();
    process
}

/// An overlay's component, with other brokers.
fn pubsub(file: &str, brokers: &str, others: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap();
    assert!(text.contains(brokers), "{file} names other brokers");
    text.replace(brokers, others)
}

/// A directory with the configuration of the base, its resources, and this component.
fn prepare(pubsub: &str) -> PathBuf {
    let directory = directory("deployed-sidecar");
    let resources = directory.join("resources");
    fs::create_dir(&resources).unwrap();
    fs::write(resources.join("pubsub.yaml"), pubsub).unwrap();
    let (configuration, others) = parts(&fs::read_to_string(root().join(BASE)).unwrap());
    fs::write(directory.join("configuration.yaml"), configuration).unwrap();
    fs::write(resources.join("base.yaml"), others.join("\n---\n")).unwrap();
    directory
}

/// On a cluster the operator tells them apart; by itself, daprd takes the configuration as a file of its own.
fn parts(text: &str) -> (String, Vec<String>) {
    let documents = text.split("\n---\n").map(str::to_owned);
    let (mut configurations, others): (Vec<_>, Vec<_>) =
        documents.partition(|document| document.contains("kind: Configuration\n"));
    assert_eq!((configurations.len(), others.len()), (1, 2), "{BASE} has other objects than this test knows");
    (configurations.remove(0), others)
}

fn launch(app: &str, port: u16, app_port: u16, directory: &Path) -> Launch {
    let flags = [
        ("--app-id", app.to_owned()),
        ("--app-protocol", "http".to_owned()),
        ("--app-port", app_port.to_string()),
        ("--dapr-http-port", port.to_string()),
        ("--dapr-grpc-port", free_port().unwrap().to_string()),
        ("--dapr-internal-grpc-port", free_port().unwrap().to_string()),
        ("--dapr-listen-addresses", "127.0.0.1".to_owned()),
        ("--dapr-internal-grpc-listen-address", "127.0.0.1".to_owned()),
        ("--dapr-graceful-shutdown-seconds", "1".to_owned()),
    ];
    let launch = Launch::new("daprd", daprd()).args(["--enable-metrics=false"]);
    let launch = flags.iter().fold(launch, |launch, (name, value)| launch.args([name, value.as_str()]));
    launch
        .arg("--config")
        .arg(directory.join("configuration.yaml"))
        .arg("--resources-path")
        .arg(directory.join("resources"))
        .env("DAPR_API_TOKEN", API_TOKEN)
        .env("APP_API_TOKEN", APP_TOKEN)
        .log(directory.join("daprd.log"))
}

async fn call(port: u16, method: Method, path: &str, token: Option<&str>) -> u16 {
    let request = Client::new().request(method, format!("http://127.0.0.1:{port}{path}"));
    let request = token.iter().fold(request, |request, token| request.header("dapr-api-token", *token));
    request.json(&"a body").send().await.unwrap().status().as_u16()
}

/// With a key, as every record in these topics has one.
fn publish(topic: &str) -> String {
    format!("/v1.0/publish/pubsub-kafka/{topic}?metadata.partitionKey={}", Uuid::new_v4())
}

#[tokio::test]
async fn it_publishes_to_the_three_topics_and_does_nothing_else() {
    let app = Setup::new().start();
    for id in ["taskcast", "taskcast-relay"] {
        let port = free_port().unwrap();
        let _sidecar = sidecar(id, port, app.port());
        for topic in TOPICS {
            assert_eq!(call(port, Method::POST, &publish(topic), Some(API_TOKEN)).await, 204, "{id} {topic}");
        }
        assert_eq!(call(port, Method::POST, &publish("others"), Some(API_TOKEN)).await, 403, "{id}");
        assert_eq!(call(port, Method::POST, &publish(TASK_EVENTS), Some("a guess")).await, 401, "{id}");
        assert_eq!(call(port, Method::POST, &publish(TASK_EVENTS), None).await, 401, "{id}");
        for (method, path) in [
            (Method::GET, "/v1.0/metadata"),
            (Method::POST, "/v1.0/shutdown"),
            (Method::POST, "/v1.0/bindings/relay"),
            (Method::GET, "/v1.0/secrets/kubernetes/taskcast-jwt"),
            (Method::POST, "/v1.0/invoke/taskcast-relay/method/internal/relay"),
        ] {
            assert_eq!(call(port, method, path, Some(API_TOKEN)).await, 404, "{id} {path}");
        }
    }
}

#[tokio::test]
async fn its_ticks_have_the_relay_deliver_what_an_outage_left() {
    let port = free_port().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let app = Setup::new().dapr_url(url).variable("dapr_api_token", API_TOKEN).start();
    let user = app.user();
    user.create_due("Nobody publishes this yet", "2030-01-01T00:00:00Z").await;
    assert_eq!(app.database.outbox_of(user.id).await, [1]);
    let _sidecar = sidecar("taskcast-relay", port, app.port());
    wait::until(wait::EVENTUALLY, "an empty outbox", async || {
        app.database.outbox_of(user.id).await.is_empty().then_some(())
    })
    .await;
}

/// A broker of its own that listens as in production.
struct SecuredKafka {
    kafka: Kafka,
    port: u16,
    certificate: String,
}

const KAFKA_USER: &str = "taskcast";
const KAFKA_PASSWORD: &str = "what-kafka-knows-the-user-by";

impl SecuredKafka {
    fn start() -> Self {
        let directory = directory("secured-kafka");
        let (plain, port) = (free_port().unwrap(), free_port().unwrap());
        let options = KafkaOptions { libraries: kafka_libraries(), directory: &directory, port: plain };
        let secured = Secured { port, user: KAFKA_USER, password: KAFKA_PASSWORD };
        let kafka = Kafka::start_secured(&options, &secured).unwrap();
        let certificate = fs::read_to_string(certificate(&directory)).unwrap();
        Self { kafka, port, certificate }
    }

    /// What a sidecar of the production overlay reads, with the Secret `taskcast-kafka` in a file, for want of a cluster.
    fn prepare(&self, password: &str) -> PathBuf {
        let pubsub = pubsub(PRODUCTION, PRODUCTION_BROKERS, &format!("127.0.0.1:{}", self.port));
        let directory = prepare(&format!("{pubsub}auth:\n  secretStore: secrets\n"));
        let secrets = directory.join("secrets.json");
        let contents = json!({"taskcast-kafka": {"password": password, "ca.crt": self.certificate}});
        fs::write(&secrets, contents.to_string()).unwrap();
        let store = json!({
            "apiVersion": "dapr.io/v1alpha1",
            "kind": "Component",
            "metadata": {"name": "secrets"},
            "spec": {"type": "secretstores.local.file", "version": "v1", "metadata": [
                {"name": "secretsFile", "value": secrets},
                {"name": "multiValued", "value": "true"},
            ]},
        });
        fs::write(directory.join("resources/secrets.yaml"), store.to_string()).unwrap();
        directory
    }
}

#[tokio::test]
async fn in_production_it_logs_in_to_kafka_and_a_wrong_password_loses_nothing() {
    let secured = SecuredKafka::start();
    let port = free_port().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let app = Setup::new().dapr_url(url).variable("dapr_api_token", API_TOKEN).start();
    let user = app.user();
    {
        let directory = secured.prepare("a-password-that-was-changed");
        let refused = launch("taskcast-relay", port, app.port(), &directory).start().unwrap();
        user.create_due("Made while the password is wrong", "2030-01-01T00:00:00Z").await;
        wait::until(wait::EVENTUALLY, "the end of a sidecar that Kafka refuses", async || {
            (!refused.is_running()).then_some(())
        })
        .await;
        let log = fs::read_to_string(directory.join("daprd.log")).unwrap();
        let says = |line: &str| {
            ["level=fatal", "pubsub-kafka", "SASL Authentication failed"]
                .iter()
                .all(|part| line.contains(part))
        };
        assert!(log.lines().any(says), "no line says why: {log}");
        assert!(!log.contains("a-password-that-was-changed"), "the log shows the password");
    }
    assert_eq!(app.database.outbox_of(user.id).await, [1]);
    let _sidecar = start(launch("taskcast-relay", port, app.port(), &secured.prepare(KAFKA_PASSWORD)), port);
    user.create("Made afterwards").await;
    wait::until(wait::EVENTUALLY, "an empty outbox", async || {
        app.database.outbox_of(user.id).await.is_empty().then_some(())
    })
    .await;
    let (bootstrap, users) = (secured.kafka.bootstrap(), [user]);
    for (topic, expected) in [(TASK_EVENTS, vec![1, 2]), (TASK_UPDATES, vec![1, 2]), (REMINDERS, vec![1])] {
        let mut events = read(&bootstrap, topic, &users).await.remove(&users[0].id).unwrap_or_default();
        events.dedup_by_key(|event| event.sequence);
        let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, expected, "{topic}");
    }
}
