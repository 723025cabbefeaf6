//! Many requests: at a steady rate with their durations, or in a burst.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::harness::User;

/// How long each request took.
pub(crate) struct Durations(Vec<Duration>);

impl Durations {
    pub(crate) fn longest(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    /// The duration that 99 of 100 requests did not exceed.
    pub(crate) fn p99(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted[sorted.len() * 99 / 100 - 1]
    }
}

/// Creates `count` tasks at `rate` a second, whether or not earlier requests have been answered, users taking turns.
pub(crate) async fn steady(users: &[User], count: usize, rate: u32) -> Durations {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    for user in users.iter().cycle().take(count) {
        ticks.tick().await;
        let user = user.clone();
        requests.spawn(async move { create(&user).await });
    }
    Durations(requests.join_all().await)
}

/// Creates `count` tasks over so many connections, each sending its next as soon as the last was answered.
pub(crate) async fn burst(users: &[User], count: usize, connections: usize) -> Durations {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        clients.spawn(client(users.to_vec(), Arc::clone(&next), count));
    }
    Durations(clients.join_all().await.into_iter().flatten().collect())
}

async fn client(users: Vec<User>, next: Arc<AtomicUsize>, count: usize) -> Vec<Duration> {
    let mut durations = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return durations;
        }
        durations.push(create(&users[number % users.len()]).await);
    }
}

async fn create(user: &User) -> Duration {
    let started = Instant::now();
    user.post_task(&json!({"title": "One of many"})).await.task(201);
    started.elapsed()
}
