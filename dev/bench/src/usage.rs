//! What a process and its children cost.

use std::collections::HashMap;
use std::fs;
use std::ops::Sub;
use std::time::Duration;

use anyhow::{Context, Result};

/// A process and everything below it, so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Time on the processor, children that have ended included.
    pub(crate) processor: Duration,
    /// Memory that is in use now, in bytes. What processes share is counted for each.
    pub(crate) memory: u64,
}

/// The time between two looks, and the memory at the later one.
impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { processor: self.processor.saturating_sub(before.processor), memory: self.memory }
    }
}

/// Of these processes together.
pub(crate) fn of(pids: &[u32]) -> Result<Usage> {
    let processes = read_all()?;
    Ok(pids.iter().map(|pid| sum(*pid, &processes)).fold(Usage::default(), Usage::and))
}

impl Usage {
    fn and(self, other: Self) -> Self {
        Self { processor: self.processor + other.processor, memory: self.memory + other.memory }
    }
}

struct Process {
    parent: u32,
    ticks: u64,
    pages: u64,
}

fn read_all() -> Result<HashMap<u32, Process>> {
    let entries = fs::read_dir("/proc").context("read /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // One that ended in between is not there any more.
    Ok(pids
        .filter_map(|pid: u32| Some((pid, read(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect())
}

/// proc_pid_stat(5); the fields after the name, which is in parentheses and may contain anything.
fn read(stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = number(14)? + number(15)? + number(16)? + number(17)?;
    Some(Process { parent: u32::try_from(number(4)?).ok()?, ticks, pages: number(24)? })
}

fn sum(pid: u32, processes: &HashMap<u32, Process>) -> Usage {
    let children = processes.iter().filter(|(_, process)| process.parent == pid).map(|(child, _)| *child);
    let below = children.map(|child| sum(child, processes));
    let own = processes.get(&pid).map(|process| Usage {
        processor: Duration::from_secs(process.ticks)
            / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100),
        memory: process.pages * u64::try_from(rustix::param::page_size()).unwrap_or_default(),
    });
    below.fold(own.unwrap_or_default(), Usage::and)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let numbers = (6..=24).map(|field| field.to_string()).collect::<Vec<_>>().join(" ");
        let process = read(&format!("7 (a ) b) S 3 5 {numbers}")).unwrap();
        assert_eq!((process.parent, process.ticks, process.pages), (3, 14 + 15 + 16 + 17, 24));
    }

    #[test]
    fn this_process_uses_something() {
        let usage = of(&[std::process::id()]).unwrap();
        assert!(usage.memory > 0);
    }
}
