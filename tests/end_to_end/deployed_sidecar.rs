//! The sidecar as `deploy` sets it up: the real daprd with the configuration of the base and the resources of an overlay, of
//! which only the brokers are others and, in production, where its secrets are.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use chrono::Utc;
use reqwest::{Client, Method};
use rskafka::client::error::{Error as KafkaError, ProtocolError};
use rskafka::client::partition::{Compression, UnknownTopicHandling};
use rskafka::client::{Client as KafkaClient, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use serde_json::{Value, json};
use stack::kafka::certificate;
use stack::{Acl, Kafka, KafkaOptions, Secured, Sidecar, SidecarOptions, free_port};
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
const KAFKA_USER_MANIFEST: &str = "deploy/kafka/production/user.yaml";
const API_TOKEN: &str = "what-the-apps-show-their-sidecar";

/// What a sidecar reads, in a directory of its own.
struct Files {
    directory: PathBuf,
    configuration: PathBuf,
    resources: PathBuf,
}

impl Files {
    /// The configuration of the base, its resources, and this component.
    fn write(pubsub: &str) -> Self {
        let directory = directory("deployed-sidecar");
        let (configuration, resources) = (directory.join("configuration.yaml"), directory.join("resources"));
        fs::create_dir(&resources).unwrap();
        fs::write(resources.join("pubsub.yaml"), pubsub).unwrap();
        let (document, others) = parts(&fs::read_to_string(root().join(BASE)).unwrap());
        fs::write(&configuration, document).unwrap();
        fs::write(resources.join("base.yaml"), others.join("\n---\n")).unwrap();
        Self { directory, configuration, resources }
    }

    /// Of the sidecar of one of the two SpinApps, which listens on that port.
    fn options(&self, app: &str, port: u16, app_port: u16) -> SidecarOptions<'_> {
        SidecarOptions {
            daprd: daprd(),
            app_id: app.to_owned(),
            http_port: port,
            resources: &self.resources,
            configuration: Some(&self.configuration),
            app_port: Some(app_port),
            api_token: Some(API_TOKEN.to_owned()),
            app_token: Some(APP_TOKEN.to_owned()),
            metrics_port: None,
            log: self.log(),
            on_log: None,
            yielding: false,
        }
    }

    fn log(&self) -> PathBuf {
        self.directory.join("daprd.log")
    }
}

/// The local overlay's.
fn sidecar(app: &str, port: u16, app_port: u16) -> Sidecar {
    let files = Files::write(&pubsub(LOCAL, LOCAL_BROKERS, &kafka()));
    Sidecar::start(files.options(app, port, app_port)).unwrap()
}

/// An overlay's component, with other brokers.
fn pubsub(file: &str, brokers: &str, others: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap();
    assert!(text.contains(brokers), "{file} names other brokers");
    text.replace(brokers, others)
}

/// On a cluster the operator tells them apart; by itself, daprd takes the configuration as a file of its own.
fn parts(text: &str) -> (String, Vec<String>) {
    let documents = text.split("\n---\n").map(str::to_owned);
    let (mut configurations, others): (Vec<_>, Vec<_>) =
        documents.partition(|document| document.contains("kind: Configuration\n"));
    assert_eq!((configurations.len(), others.len()), (1, 2), "{BASE} has other objects than this test knows");
    (configurations.remove(0), others)
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
    app.database.wait_delivered(user.id, wait::EVENTUALLY).await;
}

/// A broker of its own that listens as in production.
struct SecuredKafka {
    kafka: Kafka,
    port: u16,
    port_without_tls: u16,
    certificate: String,
}

const KAFKA_USER: &str = "taskcast";
const KAFKA_PASSWORD: &str = "what-kafka-knows-the-user-by";

impl SecuredKafka {
    fn start() -> Self {
        let directory = directory("secured-kafka");
        let (plain, port, port_without_tls) =
            (free_port().unwrap(), free_port().unwrap(), free_port().unwrap());
        let options = KafkaOptions { libraries: kafka_libraries(), directory: &directory, port: plain };
        let acls = &acls();
        let secured = Secured { port, port_without_tls, user: KAFKA_USER, password: KAFKA_PASSWORD, acls };
        let kafka = Kafka::start_secured(&options, &secured).unwrap();
        let certificate = fs::read_to_string(certificate(&directory)).unwrap();
        Self { kafka, port, port_without_tls, certificate }
    }

    /// What a sidecar of the production overlay reads, with the Secret `taskcast-kafka` in a file, for want of a cluster.
    fn files(&self, password: &str) -> Files {
        let pubsub = pubsub(PRODUCTION, PRODUCTION_BROKERS, &format!("127.0.0.1:{}", self.port));
        let files = Files::write(&format!("{pubsub}auth:\n  secretStore: secrets\n"));
        let secrets = files.directory.join("secrets.json");
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
        fs::write(files.resources.join("secrets.yaml"), store.to_string()).unwrap();
        files
    }
}

/// What the manifest of production's KafkaUser grants.
fn acls() -> Vec<Acl> {
    let text = fs::read_to_string(root().join(KAFKA_USER_MANIFEST)).unwrap();
    let user: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(user["metadata"]["name"], KAFKA_USER);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let acls = user["spec"]["authorization"]["acls"].as_array().unwrap();
    let rights = acls.iter().flat_map(|acl| {
        let resource = &acl["resource"];
        acl["operations"].as_array().unwrap().iter().map(move |operation| Acl {
            kind: word(&resource["type"]),
            name: word(&resource["name"]),
            // Strimzi's default.
            pattern: resource.get("patternType").map_or("literal".to_owned(), word),
            operation: word(operation),
        })
    });
    rights.collect()
}

async fn produce(client: &KafkaClient, topic: &str) -> Result<(), KafkaError> {
    let partition = client.partition_client(topic, 0, UnknownTopicHandling::Error).await?;
    let record = Record { key: None, value: None, headers: BTreeMap::new(), timestamp: Utc::now() };
    partition.produce(vec![record], Compression::NoCompression).await.map(drop)
}

async fn fetch(client: &KafkaClient, topic: &str) -> Result<(), KafkaError> {
    let partition = client.partition_client(topic, 0, UnknownTopicHandling::Error).await?;
    partition.fetch_records(0, 1..1_000_000, 100).await.map(drop)
}

#[track_caller]
fn assert_refused(result: Result<(), KafkaError>, what: &str) {
    let refused = matches!(
        result,
        Err(KafkaError::ServerError { protocol_error: ProtocolError::TopicAuthorizationFailed, .. })
    );
    assert!(refused, "{what}: {result:?}");
}

#[tokio::test]
async fn in_production_its_user_writes_three_topics_and_may_do_nothing_else_in_kafka() {
    let secured = SecuredKafka::start();
    let anybody = ClientBuilder::new(vec![secured.kafka.bootstrap()]).build().await.unwrap();
    anybody.controller_client().unwrap().create_topic("others", 1, 1, 5_000).await.unwrap();
    let credentials = Credentials::new(KAFKA_USER.to_owned(), KAFKA_PASSWORD.to_owned());
    let user = ClientBuilder::new(vec![format!("127.0.0.1:{}", secured.port_without_tls)])
        .sasl_config(SaslConfig::ScramSha512(credentials))
        .build()
        .await
        .unwrap();
    for topic in TOPICS {
        let what = "the manifest's rights in Kafka";
        wait::until(wait::EVENTUALLY, what, async || produce(&user, topic).await.ok()).await;
        assert_refused(fetch(&user, topic).await, "reads");
    }
    // Everybody else may, so that these are refused for who asks.
    produce(&anybody, "others").await.unwrap();
    fetch(&anybody, TASK_EVENTS).await.unwrap();
    assert_refused(produce(&user, "others").await, "writes a topic of others");
    assert_refused(fetch(&user, "others").await, "reads a topic of others");
    let created = user.controller_client().unwrap().create_topic("mine", 1, 1, 5_000).await;
    assert_refused(created, "creates a topic");
}

#[tokio::test]
async fn in_production_it_logs_in_to_kafka_and_a_wrong_password_loses_nothing() {
    let secured = SecuredKafka::start();
    let port = free_port().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let app = Setup::new().dapr_url(url).variable("dapr_api_token", API_TOKEN).start();
    let user = app.user();
    {
        let files = secured.files("a-password-that-was-changed");
        let options = files.options("taskcast-relay", port, app.port());
        let refused = stack::sidecar::launch(options).unwrap().start().unwrap();
        user.create_due("Made while the password is wrong", "2030-01-01T00:00:00Z").await;
        wait::until(wait::EVENTUALLY, "the end of a sidecar that Kafka refuses", async || {
            (!refused.is_running()).then_some(())
        })
        .await;
        let log = fs::read_to_string(files.log()).unwrap();
        let says = |line: &str| {
            ["level=fatal", "pubsub-kafka", "SASL Authentication failed"]
                .iter()
                .all(|part| line.contains(part))
        };
        assert!(log.lines().any(says), "no line says why: {log}");
        assert!(!log.contains("a-password-that-was-changed"), "the log shows the password");
    }
    assert_eq!(app.database.outbox_of(user.id).await, [1]);
    let files = secured.files(KAFKA_PASSWORD);
    let _sidecar = Sidecar::start(files.options("taskcast-relay", port, app.port())).unwrap();
    user.create("Made afterwards").await;
    app.database.wait_delivered(user.id, wait::EVENTUALLY).await;
    let (bootstrap, users) = (secured.kafka.bootstrap(), [user]);
    for (topic, expected) in [(TASK_EVENTS, vec![1, 2]), (TASK_UPDATES, vec![1, 2]), (REMINDERS, vec![1])] {
        let mut events = read(&bootstrap, topic, &users).await.remove(&users[0].id).unwrap_or_default();
        events.dedup_by_key(|event| event.sequence);
        let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, expected, "{topic}");
    }
}
