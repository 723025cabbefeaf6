//! What is broken, one thing after the other with calm in between, and beside it what lasts longer.

mod breaking;
mod kind;
mod lasting;
mod pace;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use stack::System;

use crate::clients::Clients;
use crate::mutation::Mutation;
use crate::random::Random;
use crate::timeline::Timeline;
use breaking::Breaking;
pub(crate) use kind::{Fault, Kind};
use lasting::LastingFaults;
use pace::Pace;

/// What was done.
pub(crate) struct Broken {
    pub(crate) timeline: Timeline,
    /// Changes that were made by a session of the database and not by a client.
    pub(crate) changes: Vec<Mutation>,
}

/// Breaks and mends until the time is over and each kind has come; all is mended at the end. Each kind comes once before
/// any comes again.
pub(crate) fn run(system: &mut System, clients: &Clients, seed: u64, duration: Duration) -> Result<Broken> {
    let (mut random, pace) = (Random::new(seed, 0), Pace::of(duration));
    let (mut timeline, mut changes) = (Timeline::default(), Vec::new());
    rest(pace.warm_up)?;
    let began = Instant::now();
    calm(&mut timeline, pace.baseline)?;
    let (mut kinds, mut rounds, mut lasting) = (Vec::new(), 0, LastingFaults::default());
    while began.elapsed() < duration || rounds == 1 && !kinds.is_empty() {
        if kinds.is_empty() {
            kinds.extend(Kind::ALL);
            random.shuffle(&mut kinds);
            rounds += 1;
        }
        lasting.settle(&mut timeline);
        let Some(position) = kinds.iter().rposition(|kind| !lasting.forbid(*kind)) else {
            calm(&mut timeline, Duration::from_millis(100))?;
            continue;
        };
        let fault = Fault { kind: kinds.remove(position), replica: random.index(system.replicas()) };
        let started = Instant::now();
        println!("{} {} ({} mutations so far)", clock(began), fault.kind, clients.count());
        let mut breaking = Breaking {
            system,
            clients,
            random: &mut random,
            pace: &pace,
            replica: fault.replica,
            relay_failures: &mut timeline.relay_failures,
            changes: &mut changes,
        };
        let session = breaking.run(fault.kind)?;
        if fault.kind.lasts() {
            lasting.add(fault, started, session);
            continue;
        }
        timeline.add(Some(fault), started);
        calm(&mut timeline, random.millis(pace.calm.0, pace.calm.1))?;
    }
    while !lasting.settle(&mut timeline) {
        calm(&mut timeline, Duration::from_millis(100))?;
    }
    println!("{} all is mended ({} mutations)", clock(began), clients.count());
    Ok(Broken { timeline, changes })
}

fn calm(timeline: &mut Timeline, duration: Duration) -> Result<()> {
    let started = Instant::now();
    rest(duration)?;
    timeline.add(None, started);
    Ok(())
}

/// Sleeps, unless interrupted.
fn rest(duration: Duration) -> Result<()> {
    let until = Instant::now() + duration;
    while Instant::now() < until {
        stack::interrupt::check()?;
        thread::sleep(Duration::from_millis(10).min(duration));
    }
    Ok(())
}

fn clock(began: Instant) -> String {
    let seconds = began.elapsed().as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
