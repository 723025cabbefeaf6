//! Events as they are in Kafka, read by the consumer that Kafka brings.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use stack::{KafkaConsumer, Process};

use super::output::Output;
use super::{Options, POLL};
use crate::progress::Progress;
use crate::project::Project;
use crate::steps;

/// How long the broker may be away: for a restart, say.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks whether it is there.
const LOOK_EVERY: Duration = Duration::from_secs(2);

pub(super) fn follow(
    project: &Project,
    bootstrap: &str,
    options: &Options,
    mut output: Output<'_>,
) -> Result<()> {
    if !answers(bootstrap) {
        bail!(
            "no Kafka answers at {bootstrap}: --kafka takes the HOST:PORT of a broker; `cargo xtask up --broker kafka` prints \
             that of its own"
        );
    }
    // Not among the events, which another program may be reading.
    let libraries = Progress::show_aside(|progress| steps::kafka::prepare(project, progress))?;
    // Nothing is taken from the consumer before it can be shown.
    let (sender, lines) = sync_channel(0);
    let consumer = KafkaConsumer {
        libraries: &libraries,
        bootstrap,
        topics: &options.selection.topics(),
        group: options.group.as_deref(),
        from_beginning: options.from_beginning,
    };
    let on_output = Box::new(move |line: &str| {
        // Nobody listens once we are done.
        let _ = sender.send(line.to_owned());
    });
    let consumer = consumer.launch().log(project.fresh_log("tail.log")).on_output(on_output).start()?;
    output.begin()?;
    let shown = show_until_over(&consumer, &lines, bootstrap, &mut output);
    if shown.is_err() || output.is_closed() {
        // Not everything that it has printed was shown: the next one of the group must get that again.
        consumer.kill()?;
        return shown;
    }
    show_the_rest(&consumer, &lines, &mut output)
}

fn show_until_over(
    consumer: &Process,
    lines: &Receiver<String>,
    bootstrap: &str,
    output: &mut Output<'_>,
) -> Result<()> {
    let mut answered = Instant::now();
    let mut looked = Instant::now();
    while !output.is_over() {
        match lines.recv_timeout(POLL) {
            Ok(line) => {
                answered = Instant::now();
                show(&line, output)?;
            }
            Err(RecvTimeoutError::Disconnected) => return Err(consumer.death()),
            Err(RecvTimeoutError::Timeout) if looked.elapsed() > LOOK_EVERY => {
                looked = Instant::now();
                if answers(bootstrap) {
                    answered = looked;
                } else if answered.elapsed() > PATIENCE {
                    bail!("Kafka at {bootstrap} has not answered for {} s", PATIENCE.as_secs());
                }
            }
            Err(RecvTimeoutError::Timeout) => (),
        }
    }
    Ok(())
}

/// Ends the consumer, and shows what it had printed by then: the next one of its group begins after that.
fn show_the_rest(consumer: &Process, lines: &Receiver<String>, output: &mut Output<'_>) -> Result<()> {
    thread::scope(|scope| {
        let stopping = scope.spawn(|| consumer.stop());
        lines.iter().try_for_each(|line| show(&line, output))?;
        stopping.join().map_err(|_| anyhow!("the consumer was not ended"))?
    })
}

fn show(line: &str, output: &mut Output<'_>) -> Result<()> {
    let event = serde_json::from_str(line).context("a record is not JSON: is this taskcast's Kafka?")?;
    output.show(&event)
}

fn answers(address: &str) -> bool {
    let connects = |address| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok();
    address.to_socket_addrs().is_ok_and(|mut addresses| addresses.any(connects))
}
