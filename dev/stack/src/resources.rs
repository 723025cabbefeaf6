//! The files that tell the sidecar which broker to use and where to deliver.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::topics::TOPICS;

mod reapply;

pub use reapply::Reapply;

/// The name that the app publishes to (docs/contract.md §2).
pub const PUBSUB: &str = "pubsub-kafka";

/// What stands behind `pubsub-kafka`.
pub enum Broker {
    /// Inside the sidecar: enough for one machine; drops what its subscriber refuses.
    InMemory,
    /// Apache Kafka at `host:port`.
    Kafka {
        /// Where its clients start.
        bootstrap: String,
    },
}

/// What the sidecar delivers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Deliver {
    /// Each topic to `POST /events/<topic>` of the application.
    Events,
    /// A tick to `POST /internal/relay` of the application, every 2 s.
    Ticks,
    /// Both.
    EventsAndTicks,
    /// Nothing: the sidecar only publishes.
    Nothing,
}

/// Writes the resource files into an own directory, for the sidecar's `--resources-path`.
pub fn write_resources(directory: &Path, broker: &Broker, deliver: Deliver) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    write(&directory.join("pubsub.yaml"), &component(broker))?;
    write(&directory.join("resiliency.yaml"), &resiliency())?;
    if matches!(deliver, Deliver::Ticks | Deliver::EventsAndTicks) {
        write(&directory.join("relay.yaml"), TICKS)?;
    }
    if matches!(deliver, Deliver::Events | Deliver::EventsAndTicks) {
        for topic in TOPICS {
            write(&directory.join(format!("{topic}.yaml")), &subscription(topic))?;
        }
    }
    Ok(())
}

/// Calls the relay, which delivers what crashes and outages have left.
const TICKS: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: relay
spec:
  type: bindings.cron
  version: v1
  metadata:
    - name: schedule
      value: \"@every 2s\"
    - name: route
      value: /internal/relay
    - name: direction
      value: input
";

/// Without a time-out, a broker that hangs blocks a publish for 301 s; with the circuit broken, the answer comes at once.
fn resiliency() -> String {
    format!(
        "\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: publishing
spec:
  policies:
    timeouts:
      publish: 2s
    circuitBreakers:
      broker:
        maxRequests: 1
        timeout: 2s
        trip: consecutiveFailures >= 5
  targets:
    components:
      {PUBSUB}:
        outbound:
          timeout: publish
          circuitBreaker: broker
"
    )
}

fn component(broker: &Broker) -> String {
    let head = format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: {PUBSUB}\nspec:\n  version: v1\n"
    );
    match broker {
        Broker::InMemory => format!("{head}  type: pubsub.in-memory\n  metadata: []\n"),
        Broker::Kafka { bootstrap } => {
            let settings = [
                ("brokers", bootstrap.as_str()),
                ("authType", "none"),
                ("consumerGroup", "taskcast-development"),
                ("initialOffset", "oldest"),
            ];
            let metadata: String = settings
                .iter()
                .map(|(name, value)| format!("    - name: {name}\n      value: \"{value}\"\n"))
                .collect();
            format!("{head}  type: pubsub.kafka\n  metadata:\n{metadata}")
        }
    }
}

fn subscription(topic: &str) -> String {
    format!(
        "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata:\n  name: {topic}\nspec:\n  pubsubname: {PUBSUB}\n  \
         topic: {topic}\n  routes:\n    default: /events/{topic}\n"
    )
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("write {}", file.display()))
}
