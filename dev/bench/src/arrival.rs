//! How long events take from the change to a consumer of Kafka, by a client that knows nothing of Dapr.

use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{OffsetAt, PartitionClient, UnknownTopicHandling};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::load::Seen;

/// Topics that every change reaches.
const TOPICS: [&str; 2] = ["task-events", "task-updates"];

const PARTITIONS: i32 = 3;

/// For how long Kafka waits for a record before it answers that there is none, in milliseconds.
const LONGEST_FETCH: i32 = 500;

#[derive(Deserialize)]
struct Event {
    /// When the change was made, by the database's clock: before it was committed.
    time: DateTime<Utc>,
}

/// Puts load on a service; the times are those that its events took. They are read until `pause` after the last answer.
pub(crate) async fn during(
    bootstrap: &str,
    load: impl Future<Output = Result<Seen>>,
    pause: Duration,
) -> Result<Seen> {
    let client = ClientBuilder::new(vec![bootstrap.to_owned()]).build().await.context("connect to Kafka")?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut readers = JoinSet::new();
    for topic in TOPICS {
        for partition in 0..PARTITIONS {
            let partition = client.partition_client(topic, partition, UnknownTopicHandling::Retry).await?;
            let offset = partition.get_offset(OffsetAt::Latest).await?;
            let stopped = stopped.clone();
            readers.spawn(async move {
                let mut seen = Seen::new()?;
                read(&partition, offset, &mut seen, || *stopped.borrow()).await?;
                anyhow::Ok(seen)
            });
        }
    }
    let load = load.await?;
    tokio::time::sleep(pause).await;
    stop.send_replace(true);
    let mut total = Seen::new()?;
    while let Some(seen) = readers.join_next().await {
        total += &seen.context("a reader failed")??;
    }
    total.elapsed = load.elapsed;
    total.failed = (2 * load.times.len()).saturating_sub(total.times.len());
    Ok(total)
}

async fn read(
    partition: &PartitionClient,
    mut offset: i64,
    seen: &mut Seen,
    stopped: impl Fn() -> bool,
) -> Result<()> {
    while !stopped() {
        let (records, _) = partition.fetch_records(offset, 1..4_000_000, LONGEST_FETCH).await?;
        let now = Utc::now();
        for record in records {
            offset = record.offset + 1;
            let event: Event =
                serde_json::from_slice(&record.record.value.context("a record without a value")?)?;
            seen.count((now - event.time).to_std().unwrap_or_default(), true);
        }
    }
    Ok(())
}
