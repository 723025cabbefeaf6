//! A road to the database that can be cut, or fall silent.

use std::net::TcpListener as StdListener;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::background::Background;
use crate::harness::wait;

/// What becomes of connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Road {
    Open,
    /// Those that there are end, and new ones are refused.
    Cut,
    /// They stay, and new ones are taken, but nothing comes through.
    Silent,
}

/// Passes connections on to `target` until it is cut.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    road: watch::Sender<Road>,
    _server: Background,
}

impl Proxy {
    /// `target` is `host:port`.
    pub(crate) fn to(target: String) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (road, state) = watch::channel(Road::Open);
        Self { port, road, _server: Background::run(serve(listener, target, state)) }
    }

    /// Ends every connection and refuses new ones.
    pub(crate) fn cut(&self) {
        self.road.send_replace(Road::Cut);
    }

    /// Takes connections and lets nothing through, until it is mended; then those of before end.
    pub(crate) fn silence(&self) {
        self.road.send_replace(Road::Silent);
    }

    /// Takes connections again.
    pub(crate) fn mend(&self) {
        self.road.send_replace(Road::Open);
    }
}

async fn serve(listener: StdListener, target: String, mut road: watch::Receiver<Road>) {
    let mut listener = TcpListener::from_std(listener).unwrap();
    let address = listener.local_addr().unwrap();
    loop {
        accept_until_cut(&listener, &target, &road).await;
        drop(listener);
        road.wait_for(|road| *road != Road::Cut).await.unwrap();
        listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                // A client of another test may have the port for a moment.
                Err(_) => wait::pass(Duration::from_millis(20)).await,
            }
        };
    }
}

async fn accept_until_cut(listener: &TcpListener, target: &str, road: &watch::Receiver<Road>) {
    let mut cut = road.clone();
    loop {
        tokio::select! {
            _ = cut.wait_for(|road| *road == Road::Cut) => return,
            accepted = listener.accept() => {
                tokio::spawn(pass_on(accepted.unwrap().0, target.to_owned(), road.clone()));
            }
        }
    }
}

async fn pass_on(mut client: TcpStream, target: String, mut road: watch::Receiver<Road>) {
    let mut server = TcpStream::connect(target).await.unwrap();
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    tokio::select! {
        _ = road.wait_for(|road| *road != Road::Open) => {}
        _ = copy_bidirectional(&mut client, &mut server) => return,
    }
    // A peer that is gone without a word: both sides keep their connection.
    let _ = road.wait_for(|road| *road != Road::Silent).await;
}
