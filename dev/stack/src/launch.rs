//! How a child is started: which program, as whom, where its output goes and how it is asked to stop.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::process::{Process, Started};
use crate::programs;
use crate::service_user::ServiceUser;

/// Called with each line of output, without its line ending.
pub type OnLine = Box<dyn FnMut(&str) + Send>;

/// A child that is yet to be started.
pub struct Launch {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    directory: Option<PathBuf>,
    user: Option<ServiceUser>,
    log: Option<PathBuf>,
    on_line: Option<OnLine>,
    on_output: Option<OnLine>,
    stop_signal: Signal,
    death_signal: &'static str,
    grace: Duration,
    yielding: bool,
}

impl Launch {
    /// A program by path or by its name on the PATH; `name` is what messages call it.
    pub fn new(name: impl Into<String>, program: impl AsRef<Path>) -> Self {
        Self {
            name: name.into(),
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            user: None,
            log: None,
            on_line: None,
            on_output: None,
            stop_signal: Signal::TERM,
            // Not TERM: a child that is paused would never see it.
            death_signal: "KILL",
            grace: Duration::from_secs(5),
            yielding: false,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Keeps an environment variable of ours from the child.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), None));
        self
    }

    /// The working directory; ours by default.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Runs the child as another user; only root can.
    pub fn user(mut self, user: Option<ServiceUser>) -> Self {
        self.user = user;
        self
    }

    /// Appends both output streams to this file instead of writing them to the terminal.
    pub fn log(mut self, file: impl AsRef<Path>) -> Self {
        self.log = Some(file.as_ref().to_owned());
        self
    }

    /// Also hands each line to this callback; needs [`Launch::log`].
    pub fn on_line(mut self, callback: Option<OnLine>) -> Self {
        self.on_line = callback;
        self
    }

    /// Hands each line of its output stream to this callback instead, and waits for it before it reads the next; the error
    /// stream goes where it would go otherwise.
    pub fn on_output(mut self, callback: OnLine) -> Self {
        self.on_output = Some(callback);
        self
    }

    /// What asks the child to end (SIGTERM by default), and how long it then has before SIGKILL (5 s by default).
    pub fn stop_signal(mut self, signal: Signal, grace: Duration) -> Self {
        (self.stop_signal, self.grace) = (signal, grace);
        self
    }

    /// What the kernel sends when we die without stopping the child, as `setpriv` spells it; `KILL` by default.
    pub fn death_signal(mut self, signal: &'static str) -> Self {
        self.death_signal = signal;
        self
    }

    /// Lets others go first where the processor is short: for what in production has a machine of its own, so
    /// that its start does not slow down what is measured beside it.
    pub fn yielding(mut self) -> Self {
        self.yielding = true;
        self
    }

    /// Starts the child.
    pub fn start(mut self) -> Result<Process> {
        let program = programs::find(&self.program)
            .with_context(|| format!("{}: there is no program {}", self.name, self.program.display()))?;
        let mut command = self.command(&program);
        let log = self.log.as_deref().map(open_log).transpose()?;
        if let Some(log) = &log {
            let piped = self.on_line.is_some();
            let target =
                || Ok::<_, anyhow::Error>(if piped { Stdio::piped() } else { log.try_clone()?.into() });
            command.stdout(target()?).stderr(target()?);
        }
        if self.on_output.is_some() {
            command.stdout(Stdio::piped());
        }
        let mut child = crate::spawner::spawn(command).with_context(|| format!("start {}", self.name))?;
        let mut readers = Vec::new();
        if let Some(mut on_output) = self.on_output.take() {
            let output = child.stdout.take();
            readers.extend(
                output.map(|stream| on_each_line(stream, move |line| on_output(text(line).trim_end()))),
            );
        }
        if let (Some(log), Some(on_line)) = (log, self.on_line.take()) {
            let sink = Arc::new(Mutex::new(Sink { log, on_line }));
            readers.extend(child.stdout.take().map(|stream| follow(stream, sink.clone())));
            readers.extend(child.stderr.take().map(|stream| follow(stream, sink)));
        }
        let Self { name, log, stop_signal, grace, .. } = self;
        Ok(Process::new(Started { name, child, log, stop_signal, grace, readers }))
    }

    /// Starts the child and waits until it ended; anything but success is an error with the end of its log.
    pub fn run(self) -> Result<()> {
        self.start()?.wait_for_success()
    }

    /// `setpriv` sets the parent-death signal (and the user) and then becomes the program: the child keeps one pid.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", self.death_signal]);
        if let Some(user) = &self.user {
            command.args([
                "--reuid",
                &user.uid.to_string(),
                "--regid",
                &user.gid.to_string(),
                "--clear-groups",
            ]);
        }
        command.arg("--");
        if self.yielding {
            command.args(["nice", "--adjustment=10"]);
        }
        command.arg(program).args(&self.arguments).stdin(Stdio::null()).process_group(0);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

fn open_log(file: &Path) -> Result<File> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .with_context(|| format!("open {}", file.display()))
}

struct Sink {
    log: File,
    on_line: OnLine,
}

fn follow(stream: impl Read + Send + 'static, sink: Arc<Mutex<Sink>>) -> JoinHandle<()> {
    on_each_line(stream, move |line| {
        let Ok(mut sink) = sink.lock() else { return };
        // A full disk must not stop the child: it would block on its pipe.
        let _ = sink.log.write_all(line);
        (sink.on_line)(text(line).trim_end());
    })
}

fn on_each_line(
    stream: impl Read + Send + 'static,
    mut handle: impl FnMut(&[u8]) + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        // The stream ends when the child and whoever inherited the stream ended.
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            handle(&line);
            line.clear();
        }
    })
}

fn text(line: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(line)
}
