//! Everything that is in Kafka, by a client of its own and from the beginning.

use anyhow::{Context, Result};
use rskafka::client::partition::{OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};
use serde_json::Value;
use stack::topics::TOPICS;

const PARTITIONS: i32 = 3;

/// A record of a topic. A user's are all in one partition, so within a topic they stand in the order of the log.
pub(crate) struct Event {
    pub(crate) topic: &'static str,
    /// The record's key.
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) sequence: u64,
    pub(crate) correlation: String,
    /// Empty when the event has none.
    pub(crate) traceparent: String,
    /// The instant of the change.
    pub(crate) time: String,
    pub(crate) data: Value,
    /// By the clock of the sidecar that wrote it: milliseconds since 1970.
    pub(crate) published: i64,
    /// The record's value.
    pub(crate) bytes: Vec<u8>,
}

impl Event {
    /// How messages call it.
    pub(crate) fn name(&self) -> String {
        format!("{} {} sequence {} correlation {}", self.topic, self.source, self.sequence, self.correlation)
    }
}

/// Errors: also a record that is no event of ours.
pub(crate) async fn read(bootstrap: &str) -> Result<Vec<Event>> {
    let client = ClientBuilder::new(vec![bootstrap.to_owned()]).build().await.context("connect to Kafka")?;
    let mut events = Vec::new();
    for topic in TOPICS {
        for partition in 0..PARTITIONS {
            read_partition(&client, topic, partition, &mut events).await?;
        }
    }
    Ok(events)
}

async fn read_partition(
    client: &Client,
    topic: &'static str,
    partition: i32,
    events: &mut Vec<Event>,
) -> Result<()> {
    let partition = client.partition_client(topic, partition, UnknownTopicHandling::Retry).await?;
    let mut offset = partition.get_offset(OffsetAt::Earliest).await?;
    let end = partition.get_offset(OffsetAt::Latest).await?;
    while offset < end {
        let batch = fetch(&partition, offset).await?;
        let last = batch.last().context("Kafka has fewer records than it says")?;
        offset = last.offset + 1;
        for RecordAndOffset { record, offset } in batch {
            events.push(event(topic, record).with_context(|| format!("record {offset} of {topic}"))?);
        }
    }
    Ok(())
}

async fn fetch(partition: &PartitionClient, offset: i64) -> Result<Vec<RecordAndOffset>> {
    let (batch, _) = partition.fetch_records(offset, 1..4_000_000, 5_000).await?;
    Ok(batch)
}

fn event(topic: &'static str, record: Record) -> Result<Event> {
    let published = record.timestamp.timestamp_millis();
    let key = String::from_utf8(record.key.context("it has no key")?)?;
    let bytes = record.value.context("it has no value")?;
    let mut envelope: Value = serde_json::from_slice(&bytes)?;
    let text = |name: &str| {
        let value = envelope.get(name).and_then(Value::as_str);
        value.map(str::to_owned).with_context(|| format!("it has no {name}"))
    };
    let (id, source, correlation, time) =
        (text("id")?, text("source")?, text("correlationid")?, text("time")?);
    let traceparent = text("traceparent").unwrap_or_default();
    let sequence = text("sequence")?.parse().context("its sequence is no number")?;
    let data = envelope.get_mut("data").map(Value::take).context("it has no data")?;
    Ok(Event { topic, key, id, source, sequence, correlation, traceparent, time, data, published, bytes })
}
