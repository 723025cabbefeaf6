//! One thread starts every child. The kernel sends the parent-death signal when the *thread* that started a child ends,
//! so a child started by a test's own thread would die with that test; this thread lives as long as the process.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;

type Request = (Command, Sender<io::Result<Child>>);

/// Starts the command on the long-lived thread.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static REQUESTS: OnceLock<Sender<Request>> = OnceLock::new();
    let (reply, answer) = channel();
    let gone = |_| io::Error::other("the thread that starts child processes is gone");
    REQUESTS.get_or_init(start_thread).send((command, reply)).map_err(|error| gone(error.to_string()))?;
    answer.recv().map_err(|error| gone(error.to_string()))?
}

fn start_thread() -> Sender<Request> {
    let (requests, incoming) = channel::<Request>();
    thread::spawn(move || {
        for (mut command, reply) in incoming {
            // A caller that stopped waiting drops the child unseen; it still ends with this process.
            let _ = reply.send(command.spawn());
        }
    });
    requests
}
