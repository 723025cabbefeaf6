//! Standard error: what components print, line by line with their ids, and what the host has to say itself.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Prints a line of the host's own; unlike `eprintln!` it does not panic when nobody reads standard error any more.
pub(crate) fn say(line: &str) {
    print_line(format!("{line}\n").as_bytes());
}

/// Standard output or standard error of one component instance.
#[derive(Clone)]
pub(crate) struct GuestOutput(Arc<Mutex<LineBuffer>>);

impl GuestOutput {
    /// `quiet` throws everything away.
    pub(crate) fn new(component: &str, quiet: bool) -> Self {
        let print: fn(&[u8]) = if quiet { |_| {} } else { print_line };
        Self(Arc::new(Mutex::new(LineBuffer {
            prefix: format!("{component} | "),
            pending: Vec::new(),
            print,
        })))
    }

    fn append(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(bytes);
    }
}

struct LineBuffer {
    prefix: String,
    pending: Vec<u8>,
    print: fn(&[u8]),
}

impl LineBuffer {
    fn append(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.print_pending();
            }
        }
    }

    fn print_pending(&mut self) {
        (self.print)(&[self.prefix.as_bytes(), &self.pending].concat());
        self.pending.clear();
    }
}

/// A last line without its end is still worth reading: it may be a panic's.
impl Drop for LineBuffer {
    fn drop(&mut self) {
        if !self.pending.is_empty() {
            self.pending.push(b'\n');
            self.print_pending();
        }
    }
}

/// One write for a whole line, so that lines of several instances never mix.
fn print_line(line: &[u8]) {
    // There is nowhere left to report that standard error is closed.
    let _ = std::io::stderr().lock().write_all(line);
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// WASI 0.2, which Rust's standard library uses.
impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

#[async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

/// WASI 0.3.
impl AsyncWrite for GuestOutput {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static PRINTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    #[test]
    fn only_whole_lines_are_printed_and_the_rest_at_the_end() {
        let print = |line: &[u8]| {
            PRINTED.with_borrow_mut(|lines| lines.push(String::from_utf8_lossy(line).into_owned()));
        };
        let mut buffer = LineBuffer { prefix: "tasks | ".into(), pending: Vec::new(), print };
        buffer.append(b"one\ntwo ");
        buffer.append(b"more\nthree");
        assert_eq!(PRINTED.take(), ["tasks | one\n", "tasks | two more\n"]);
        drop(buffer);
        assert_eq!(PRINTED.take(), ["tasks | three\n"]);
    }
}
