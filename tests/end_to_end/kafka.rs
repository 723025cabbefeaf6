//! What arrives in real Kafka, read by a client of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rskafka::client::ClientBuilder;
use rskafka::client::partition::{OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::record::{Record, RecordAndOffset};
use serde_json::Value;
use stack::{Broker, free_port};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::answer::id;
use crate::harness::collector::sidecar;
use crate::harness::environment;
use crate::harness::event::{Event, TASK_EVENTS, TASK_UPDATES};
use crate::harness::{Route, Setup, User, wait};

const MUTATIONS: usize = 500;
const CLIENTS: usize = 16;
const PARTITIONS: i32 = 3;

#[tokio::test]
async fn five_hundred_mutations_arrive_keyed_by_user_and_in_order() {
    let port = free_port().unwrap();
    let _sidecar = sidecar(port, &Broker::Kafka { bootstrap: environment::kafka() }, None);
    let app = Setup::new().dapr_url(format!("http://127.0.0.1:{port}")).start();
    let users = app.users(5);
    mutate(&users).await;
    for topic in [TASK_EVENTS, TASK_UPDATES] {
        let records = wait_for_all(topic, &users).await;
        assert_eq!(records.len(), users.len(), "{topic}");
        let distinct: usize = records.values().map(|events| assert_numbered(events)).sum();
        assert_eq!(distinct, MUTATIONS, "{topic}");
    }
}

/// 16 clients at once, each with tasks of the user whose turn it is.
async fn mutate(users: &[User]) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (users, next) = (users.to_vec(), Arc::clone(&next));
        clients.spawn(async move {
            let mut tasks = BTreeMap::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= MUTATIONS {
                    return;
                }
                change_something(&users[number % users.len()], &mut tasks).await;
            }
        });
    }
    clients.join_all().await;
}

/// Creates, changes, completes, reopens and deletes a task of the user, one call at a time.
async fn change_something(user: &User, tasks: &mut BTreeMap<Uuid, (String, usize)>) {
    const LIFE: [Route; 4] = [Route::Update, Route::Complete, Route::Uncomplete, Route::Delete];
    let Some((task, age)) = tasks.remove(&user.id) else {
        tasks.insert(user.id, (id(&user.create("In Kafka").await), 0));
        return;
    };
    let route = LIFE[age];
    user.call(route, &task).await.ok(200);
    if route != Route::Delete {
        tasks.insert(user.id, (task, age + 1));
    }
}

/// Reads the topic until it holds a distinct event for every mutation; returns each user's in the order of the log.
async fn wait_for_all(topic: &str, users: &[User]) -> BTreeMap<Uuid, Vec<Event>> {
    wait::until(wait::EVENTUALLY, &format!("{MUTATIONS} events on {topic} in Kafka"), async || {
        let records = read(&environment::kafka(), topic, users).await;
        let mut ids: Vec<_> = records.values().flatten().map(|event| event.id).collect();
        ids.sort_unstable();
        ids.dedup();
        (ids.len() >= MUTATIONS).then_some(records)
    })
    .await
}

/// The users' events in the topic. All of a user's records have one key, so they are in one partition.
pub(crate) async fn read(bootstrap: &str, topic: &str, users: &[User]) -> BTreeMap<Uuid, Vec<Event>> {
    let mut events: BTreeMap<Uuid, Vec<Event>> = BTreeMap::new();
    for record in records(bootstrap, topic).await {
        let key = String::from_utf8(record.key.expect("a record key")).unwrap();
        if !users.iter().any(|user| user.id.to_string() == key) {
            continue;
        }
        let value: Value = serde_json::from_slice(&record.value.expect("a record value")).unwrap();
        let event = Event::verified(topic, &value);
        assert_eq!(key, event.user.to_string(), "the key is the user");
        events.entry(event.user).or_default().push(event);
    }
    events
}

/// Everything in the topic, one partition after the other.
pub(crate) async fn records(bootstrap: &str, topic: &str) -> Vec<Record> {
    let client = ClientBuilder::new(vec![bootstrap.to_owned()]).build().await.expect("connect to Kafka");
    let mut records = Vec::new();
    for partition in 0..PARTITIONS {
        let partition = client.partition_client(topic, partition, UnknownTopicHandling::Retry).await.unwrap();
        records.extend(whole(&partition).await.into_iter().map(|entry| entry.record));
    }
    records
}

async fn whole(partition: &PartitionClient) -> Vec<RecordAndOffset> {
    let mut offset = partition.get_offset(OffsetAt::Earliest).await.unwrap();
    let end = partition.get_offset(OffsetAt::Latest).await.unwrap();
    let mut records = Vec::new();
    while offset < end {
        let wait_ms = i32::try_from(Duration::from_secs(1).as_millis()).unwrap();
        let (batch, _) = partition.fetch_records(offset, 1..4_000_000, wait_ms).await.unwrap();
        let Some(last) = batch.last() else { break };
        offset = last.offset + 1;
        records.extend(batch);
    }
    records
}

/// The events are those of changes 1 to n in order; a repeated one repeats an id. Returns n.
fn assert_numbered(events: &[Event]) -> usize {
    let mut seen: Vec<&Event> = Vec::new();
    for event in events {
        let repeated = seen.iter().find(|earlier| earlier.sequence == event.sequence);
        match repeated {
            Some(earlier) => assert_eq!(earlier.id, event.id, "a repeated event repeats its id"),
            None => seen.push(event),
        }
    }
    let sequences: Vec<_> = seen.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    sequences.len()
}
