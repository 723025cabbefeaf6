//! Servers of the harness run on a thread of their own, so that a test that blocks does not stop them.

use std::future::Future;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// A server running beside the test; it ends when this is dropped.
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Runs `server` until the value is dropped.
    pub(crate) fn run(server: impl Future<Output = ()> + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = server => {}
                    _ = stopped => {}
                }
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been printed already; a second one here would abort the process.
            let _ = thread.join();
        }
    }
}
