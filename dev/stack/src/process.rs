//! A child process that we started and that we end, by its own pid.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::interrupt;

const POLL: Duration = Duration::from_millis(10);

/// A running child. Dropping it ends it: its stop signal, then SIGKILL after a grace period. If we are killed
/// ourselves, the kernel ends it (see `Launch::death_signal`).
pub struct Process {
    name: String,
    pid: Pid,
    state: Mutex<State>,
    log: Option<PathBuf>,
    stop_signal: Signal,
    grace: Duration,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

/// What a launch hands over.
pub(crate) struct Started {
    pub(crate) name: String,
    pub(crate) child: Child,
    pub(crate) log: Option<PathBuf>,
    pub(crate) stop_signal: Signal,
    pub(crate) grace: Duration,
    /// They copy the child's output to the log and end with it.
    pub(crate) readers: Vec<JoinHandle<()>>,
}

struct State {
    child: Child,
    /// Set once the child is reaped; from then on its pid may be another's.
    ended: Option<ExitStatus>,
}

impl Process {
    pub(crate) fn new(started: Started) -> Self {
        let Started { name, child, log, stop_signal, grace, readers } = started;
        let pid = Pid::from_child(&child);
        let state = Mutex::new(State { child, ended: None });
        Self { name, pid, state, log, stop_signal, grace, readers: Mutex::new(readers) }
    }

    /// The process id; its process group has the same.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has not ended yet. A paused process is running.
    pub fn is_running(&self) -> bool {
        !self.has_ended(&self.state())
    }

    /// Asks it to end, waits for the grace period, then kills it. Does nothing when it has ended.
    pub fn stop(&self) -> Result<()> {
        let mut state = self.state();
        if !self.has_ended(&state) {
            self.signal(self.stop_signal)?;
            // A paused process sees its signal only when it goes on.
            self.signal(Signal::CONT)?;
            let deadline = Instant::now() + self.grace;
            while !self.has_ended(&state) && Instant::now() < deadline {
                thread::sleep(POLL);
            }
        }
        self.finish(&mut state).map(drop)
    }

    /// Ends it at once with SIGKILL, as a crash would.
    pub fn kill(&self) -> Result<()> {
        self.finish(&mut self.state()).map(drop)
    }

    /// Freezes it: it keeps its sockets and answers nothing.
    pub fn pause(&self) -> Result<()> {
        self.signal_if_running(Signal::STOP)
    }

    /// Lets a paused process go on.
    pub fn resume(&self) -> Result<()> {
        self.signal_if_running(Signal::CONT)
    }

    /// Waits until it ended by itself; anything but success is an error with the end of its log.
    pub fn wait_for_success(&self) -> Result<()> {
        let status = self.wait()?;
        if status.success() { Ok(()) } else { Err(self.failure(status)) }
    }

    /// Waits until it ended by itself and until all that it wrote went through `Launch::on_line`.
    pub fn wait(&self) -> Result<ExitStatus> {
        while self.is_running() {
            interrupt::check()?;
            thread::sleep(POLL);
        }
        let status = self.finish(&mut self.state())?;
        for reader in self.readers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A callback that panicked has said so already.
            let _ = reader.join();
        }
        Ok(status)
    }

    /// Polls until `ready` says so. Errors: the process ended meanwhile, or `limit` passed; with the end of its log.
    pub fn wait_until(&self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !ready() {
            interrupt::check()?;
            if !self.is_running() {
                return Err(self.death());
            }
            if Instant::now() > deadline {
                bail!("{} was not ready after {} s{}", self.name, limit.as_secs(), self.log_tail());
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// What to tell when it ended although nobody asked it to: status, the end of its log, and where the log is.
    pub fn death(&self) -> anyhow::Error {
        match self.finish(&mut self.state()) {
            Ok(status) => self.failure(status),
            Err(error) => anyhow!("{} ended: {error}{}", self.name, self.log_tail()),
        }
    }

    fn failure(&self, status: ExitStatus) -> anyhow::Error {
        anyhow!("{} ended with {status}{}", self.name, self.log_tail())
    }

    fn log_tail(&self) -> String {
        self.log.as_deref().map(|log| log_tail(log, 15)).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks without reaping: until the child is reaped, its pid and its group's cannot be given to another.
    fn has_ended(&self, state: &State) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        state.ended.is_some() || !matches!(waitid(WaitId::Pid(self.pid), look), Ok(None))
    }

    fn signal_if_running(&self, signal: Signal) -> Result<()> {
        let state = self.state();
        if self.has_ended(&state) {
            bail!("{} is not running", self.name);
        }
        self.signal(signal)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process_group(self.pid, signal).with_context(|| format!("signal {}", self.name))
    }

    /// Kills what is left of the process group, then reaps the child.
    fn finish(&self, state: &mut State) -> Result<ExitStatus> {
        if let Some(status) = state.ended {
            return Ok(status);
        }
        self.signal(Signal::KILL)?;
        let status = state.child.wait().with_context(|| format!("wait for {}", self.name))?;
        state.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done here about a child that cannot be signalled.
        let _ = self.stop();
    }
}

/// The last lines of a log file, indented, with its path; empty when there is nothing to show.
fn log_tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let tail: String =
        all.iter().skip(all.len().saturating_sub(lines)).map(|line| format!("\n    {line}")).collect();
    format!("; the end of its log {}:{tail}", log.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Launch;

    fn sleeper() -> Process {
        Launch::new("sleep", "sleep").arg("60").start().unwrap()
    }

    #[test]
    fn a_stopped_child_is_gone() {
        let process = sleeper();
        assert!(process.is_running());
        process.stop().unwrap();
        assert!(!process.is_running());
        process.stop().unwrap();
    }

    #[test]
    fn a_paused_child_can_be_stopped_without_waiting_for_the_grace_period() {
        let process = sleeper();
        process.pause().unwrap();
        let since = Instant::now();
        process.stop().unwrap();
        assert!(since.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let process = thread::spawn(sleeper).join().unwrap();
        thread::sleep(Duration::from_millis(100));
        assert!(process.is_running());
    }

    #[test]
    fn what_a_child_left_running_ends_with_it() {
        let log = std::env::temp_dir().join(format!("stack-process-{}", std::process::id()));
        let shell = Launch::new("sh", "sh").args(["-c", "sleep 60 & echo $!"]).log(&log);
        shell.start().unwrap().wait().unwrap();
        let grandchild = fs::read_to_string(&log).unwrap();
        let left = Path::new("/proc").join(grandchild.trim()).join("cmdline");
        let deadline = Instant::now() + Duration::from_secs(5);
        while fs::read(&left).is_ok_and(|command| !command.is_empty()) {
            assert!(Instant::now() < deadline, "the grandchild still runs");
            thread::sleep(POLL);
        }
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log() {
        let log = std::env::temp_dir().join(format!("stack-failure-{}", std::process::id()));
        let shell = Launch::new("sh", "sh").args(["-c", "echo it broke; exit 3"]).log(&log);
        let error = shell.run().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("it broke"), "{error}");
        fs::remove_file(log).unwrap();
    }
}
