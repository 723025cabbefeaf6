//! What the user sees of the steps: one line each when done, and while they take longer than 2 s, what is going on.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use stack::OnLine;

const SHOW_AFTER: Duration = Duration::from_secs(2);
/// Between lines that say that a step still runs, where there is no terminal to redraw.
const REMIND_EVERY: Duration = Duration::from_secs(30);
const FRAME: Duration = Duration::from_millis(100);
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// The list of steps on the terminal. Steps may run side by side.
pub(crate) struct Progress {
    terminal: bool,
    /// Whether it goes to the error stream, because the output is for something else.
    aside: bool,
    done: AtomicBool,
    running: Mutex<Vec<Running>>,
}

struct Running {
    name: &'static str,
    since: Instant,
    reminded: Duration,
    detail: String,
}

impl Progress {
    /// Runs `work`, which announces its steps, with the display alive.
    pub(crate) fn show<T>(work: impl FnOnce(&Arc<Self>) -> Result<T>) -> Result<T> {
        Self::show_on(false, work)
    }

    /// The same on the error stream.
    pub(crate) fn show_aside<T>(work: impl FnOnce(&Arc<Self>) -> Result<T>) -> Result<T> {
        Self::show_on(true, work)
    }

    fn show_on<T>(aside: bool, work: impl FnOnce(&Arc<Self>) -> Result<T>) -> Result<T> {
        let terminal = if aside { stderr().is_terminal() } else { stdout().is_terminal() };
        let done = AtomicBool::new(false);
        let progress = Arc::new(Self { terminal, aside, done, running: Mutex::default() });
        thread::scope(|scope| {
            scope.spawn(|| progress.keep_drawing());
            let result = work(&progress);
            progress.done.store(true, Ordering::Relaxed);
            result
        })
    }

    /// Runs one step and then prints its line: a tick, what is now there, and how long that took.
    pub(crate) fn step<T>(&self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let since = Instant::now();
        self.running().push(Running { name, since, reminded: Duration::ZERO, detail: String::new() });
        let result = work();
        let mark = if result.is_ok() { '✓' } else { '✗' };
        let mut running = self.running();
        running.retain(|step| step.name != name);
        self.erase();
        if result.is_err() && stack::interrupt::requested() {
            // Not this step's failure: the user stopped it, or another step failed.
            return result;
        }
        self.print(&format!("{mark} {name:<28}{:>7.1} s\n", since.elapsed().as_secs_f64()));
        result
    }

    /// For the output of a step's program: shows its last line beside the step.
    pub(crate) fn follow(self: &Arc<Self>, name: &'static str) -> Option<OnLine> {
        let progress = self.clone();
        Some(Box::new(move |line| {
            if let Some(step) = progress.running().iter_mut().find(|step| step.name == name) {
                step.detail = line.trim().chars().take(50).collect();
            }
        }))
    }

    /// Prints a line between those of the steps.
    pub(crate) fn say(&self, line: &str) {
        let _running = self.running();
        self.erase();
        self.print(&format!("  {line}\n"));
    }

    fn keep_drawing(&self) {
        let mut frames = FRAMES.iter().cycle();
        while !self.done.load(Ordering::Relaxed) {
            thread::sleep(FRAME);
            let mut running = self.running();
            match (self.terminal, frames.next()) {
                (true, Some(frame)) => self.draw(*frame, &running),
                _ => self.remind(&mut running),
            }
        }
    }

    /// One line for all steps that take long: redrawn in place, so it must not wrap.
    fn draw(&self, frame: char, running: &[Running]) {
        let long: Vec<&Running> = running.iter().filter(|step| step.since.elapsed() > SHOW_AFTER).collect();
        let texts: Vec<String> =
            long.iter().map(|step| format!("{} {} s", step.name, step.since.elapsed().as_secs())).collect();
        let detail = match long.as_slice() {
            [step] => step.detail.as_str(),
            _ => "",
        };
        self.erase();
        if !texts.is_empty() {
            self.print(&format!("{frame} {}  {detail}", texts.join(" · ")));
        }
    }

    fn erase(&self) {
        if self.terminal {
            self.print("\r\x1b[2K");
        }
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remind(&self, running: &mut [Running]) {
        for step in running {
            let elapsed = step.since.elapsed();
            let due = if step.reminded.is_zero() { SHOW_AFTER } else { step.reminded + REMIND_EVERY };
            if elapsed > due {
                self.print(&format!("… {} ({} s so far)\n", step.name, elapsed.as_secs()));
                step.reminded = elapsed;
            }
        }
    }

    fn print(&self, text: &str) {
        let mut stream: Box<dyn Write> = if self.aside { Box::new(stderr()) } else { Box::new(stdout()) };
        // What cannot be shown is no reason to stop the work.
        let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
    }
}
