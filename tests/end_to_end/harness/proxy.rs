//! A road to the database that can be cut.

use std::net::TcpListener as StdListener;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::background::Background;

/// Passes connections on to `target` until it is cut.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    open: watch::Sender<bool>,
    _server: Background,
}

impl Proxy {
    /// `target` is `host:port`.
    pub(crate) fn to(target: String) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let (open, state) = watch::channel(true);
        Self { port, open, _server: Background::run(serve(port, target, state)) }
    }

    /// Ends every connection and refuses new ones.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Takes connections again.
    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn serve(port: u16, target: String, mut open: watch::Receiver<bool>) {
    loop {
        open.wait_for(|open| *open).await.unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        accept_while_open(&listener, &target, &open).await;
    }
}

async fn accept_while_open(listener: &TcpListener, target: &str, open: &watch::Receiver<bool>) {
    let mut cut = open.clone();
    loop {
        tokio::select! {
            _ = cut.wait_for(|open| !*open) => return,
            accepted = listener.accept() => {
                tokio::spawn(pass_on(accepted.unwrap().0, target.to_owned(), open.clone()));
            }
        }
    }
}

async fn pass_on(mut client: TcpStream, target: String, mut open: watch::Receiver<bool>) {
    let mut server = TcpStream::connect(target).await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    tokio::select! {
        _ = open.wait_for(|open| !*open) => {}
        _ = copy_bidirectional(&mut client, &mut server) => {}
    }
}
