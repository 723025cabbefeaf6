//! Load on an API: at a fixed rate, for latencies, or from a fixed number of connections that never pause, for throughput.

use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::client::{Call, Connection};

/// Connections for load at a fixed rate: more than are ever busy at once, unless the server falls behind.
const OPEN_CONNECTIONS: usize = 128;

/// Longer is counted as this, in microseconds.
const LONGEST: u64 = 60_000_000;

/// Makes the request of that number.
pub(crate) type Make = Arc<dyn Fn(u64) -> Call + Send + Sync>;

/// What was seen.
#[derive(Clone)]
pub(crate) struct Seen {
    /// Of the requests that succeeded, in microseconds.
    pub(crate) times: Histogram<u64>,
    /// Requests without an answer, or with one that is not 2xx.
    pub(crate) failed: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
}

impl Seen {
    pub(crate) fn new() -> Result<Self> {
        let times = Histogram::new_with_max(LONGEST, 3).context("make a histogram")?;
        Ok(Self { times, failed: 0, elapsed: Duration::ZERO })
    }

    /// Milliseconds within which this share of the requests was answered.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        millis(self.times.value_at_quantile(share))
    }

    /// Requests answered per second.
    pub(crate) fn rate(&self) -> f64 {
        as_f64(self.times.len()) / self.elapsed.as_secs_f64()
    }

    /// One more request.
    pub(crate) fn count(&mut self, took: Duration, succeeded: bool) {
        match succeeded {
            true => self.times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST)),
            false => self.failed += 1,
        }
    }
}

impl AddAssign<&Self> for Seen {
    fn add_assign(&mut self, other: &Self) {
        // Both have the same bounds.
        _ = self.times.add(&other.times);
        self.failed += other.failed;
    }
}

#[allow(clippy::cast_precision_loss, reason = "figures for a table")]
pub(crate) fn as_f64(number: u64) -> f64 {
    number as f64
}

fn millis(micros: u64) -> f64 {
    as_f64(micros) / 1_000.0
}

/// From so many connections, shared among the ports of 127.0.0.1; each sends its next request when it has its answer.
pub(crate) async fn closed(ports: &[u16], connections: usize, time: Duration, make: &Make) -> Result<Seen> {
    let mut workers = JoinSet::new();
    let started = Instant::now();
    for (number, port) in (0..connections as u64).zip(ports.iter().copied().cycle()) {
        let (make, step) = (make.clone(), connections as u64);
        workers.spawn(async move {
            let mut connection = Connection::open(port).await?;
            let mut seen = Seen::new()?;
            for call in (number..).step_by(usize::try_from(step)?) {
                let sent = Instant::now();
                if sent.duration_since(started) > time {
                    break;
                }
                let succeeded = answer(&mut connection, make(call)).await;
                seen.count(sent.elapsed(), succeeded);
            }
            anyhow::Ok(seen)
        });
    }
    sum(workers, started).await
}

/// So many requests a second for this time.
pub(crate) async fn open(ports: &[u16], rate: u32, time: Duration, make: &Make) -> Result<Seen> {
    let waiting = async {
        tokio::time::sleep(time).await;
        Ok(())
    };
    Ok(open_during(ports, rate, make, waiting).await?.0)
}

/// So many requests a second until the work is done, whatever becomes of them: a time includes the wait for a connection
/// when the server falls behind, so that no stall hides the requests that it held up (coordinated omission). All connections are
/// open before the work begins.
pub(crate) async fn open_during<T>(
    ports: &[u16],
    rate: u32,
    make: &Make,
    work: impl Future<Output = Result<T>>,
) -> Result<(Seen, T)> {
    let (sender, due) = mpsc::unbounded_channel::<(u64, Instant)>();
    let due = Arc::new(Mutex::new(due));
    let mut workers = JoinSet::new();
    for port in ports.iter().copied().cycle().take(OPEN_CONNECTIONS) {
        let mut connection = Connection::open(port).await?;
        let (due, make) = (due.clone(), make.clone());
        workers.spawn(async move {
            let mut seen = Seen::new()?;
            while let Some((call, since)) = next(&due).await {
                let succeeded = answer(&mut connection, make(call)).await;
                seen.count(since.elapsed(), succeeded);
            }
            anyhow::Ok(seen)
        });
    }
    let (started, stopped) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let stop = stopped.clone();
    // A thread of its own, because the runtime's timers are only good to a millisecond.
    thread::spawn(move || {
        for call in 0.. {
            let at = started + Duration::from_secs_f64(as_f64(call) / f64::from(rate));
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if stop.load(Ordering::Relaxed) || sender.send((call, Instant::now())).is_err() {
                return;
            }
        }
    });
    let done = work.await;
    stopped.store(true, Ordering::Relaxed);
    Ok((sum(workers, started).await?, done?))
}

async fn next(due: &Mutex<mpsc::UnboundedReceiver<(u64, Instant)>>) -> Option<(u64, Instant)> {
    due.lock().await.recv().await
}

async fn answer(connection: &mut Connection, call: Call) -> bool {
    connection.send(call).await.is_ok_and(|(status, _)| status.is_success())
}

async fn sum(mut workers: JoinSet<Result<Seen>>, started: Instant) -> Result<Seen> {
    let mut total = Seen::new()?;
    while let Some(seen) = workers.join_next().await {
        total += &seen.context("a client failed")??;
    }
    stack::interrupt::check()?;
    total.elapsed = started.elapsed();
    Ok(total)
}
