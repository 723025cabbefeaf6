//! A sample consumer of taskcast's events. The Dapr sidecar delivers them at least once and in order; this program
//! stores each once and says when one is missing. README.md beside it shows how to run it.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use serde_json::Value;
use tiny_http::{Method, Request, Response, Server};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

const TABLES: &str = include_str!("events.sql");
const STORE: &str = include_str!("store.sql");

/// The topics that have an event for every change. `reminders` has one only when a due date changes.
const EVERY_CHANGE: [&str; 2] = ["task-events", "task-updates"];

/// Stores taskcast's events once each, and says when one is missing.
#[derive(Parser)]
struct Options {
    /// postgres://user:password@host:port/name; the tables are created when missing
    #[arg(long)]
    database_url: String,
    /// Where the sidecar delivers, on 127.0.0.1: its --app-port
    #[arg(long, default_value_t = 7000)]
    port: u16,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut store = Store::open(&options.database_url)?;
    let server = Server::http((Ipv4Addr::LOCALHOST, options.port))
        .map_err(|error| anyhow!("listen on port {}: {error}", options.port))?;
    println!("listening on 127.0.0.1:{}", options.port);
    // One at a time: order is what this is about.
    for mut request in server.incoming_requests() {
        let status = receive(&mut request, &mut store);
        // The sidecar left before its answer: it delivers again, and the event is then a repeat.
        let _ = request.respond(Response::empty(status));
    }
    Ok(())
}

/// The sidecar delivers again what is answered with 500, and gives up on 404. So an event is acknowledged only when it
/// is stored, and one that cannot be read is dropped rather than delivered for ever.
fn receive(request: &mut Request, store: &mut Store) -> u16 {
    let Some(topic) = request.url().strip_prefix("/events/").map(str::to_owned) else { return 404 };
    if *request.method() != Method::Post {
        return 404;
    }
    let mut body = Vec::new();
    if request.as_reader().read_to_end(&mut body).is_err() {
        return 500;
    }
    let event = match Event::parse(&body) {
        Ok(event) => event,
        Err(error) => {
            eprintln!("{topic}: an event that can't be read is dropped: {error:#}");
            return 404;
        }
    };
    match store.keep(&topic, &event) {
        Ok(before) => {
            report(&topic, &event, before);
            200
        }
        Err(error) => {
            eprintln!("{topic}: not stored, so it will be delivered again: {error:#}");
            500
        }
    }
}

/// `before` is the sequence number of the topic's event before this one; `None` when this one is a repeat.
fn report(topic: &str, event: &Event, before: Option<i64>) {
    let Event { source, sequence, id, .. } = event;
    match before {
        None => println!("{topic} {source} {sequence}: repeated, {id}"),
        Some(before) if *sequence <= before => {
            println!("{topic} {source} {sequence}: LATE, came after {before}");
        }
        Some(before) if EVERY_CHANGE.contains(&topic) && *sequence != before + 1 => {
            println!("{topic} {source} {sequence}: GAP, came after {before}");
        }
        Some(_) => println!("{topic} {source} {sequence}"),
    }
}

/// What a consumer needs of an event besides its data.
struct Event {
    source: String,
    id: String,
    sequence: i64,
    all: Value,
}

impl Event {
    fn parse(body: &[u8]) -> Result<Self> {
        let all: Value = serde_json::from_slice(body)?;
        let text = |name: &str| {
            all.get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("it has no {name}"))
        };
        let sequence = text("sequence")?.parse().context("its sequence is no number")?;
        Ok(Self { source: text("source")?, id: text("id")?, sequence, all })
    }
}

/// The database, connected again when the connection broke.
struct Store {
    url: String,
    runtime: Runtime,
    client: Client,
}

impl Store {
    fn open(url: &str) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = connect(&runtime, url).context("connect to the database")?;
        runtime.block_on(client.batch_execute(TABLES)).context("create the tables")?;
        Ok(Self { url: url.to_owned(), runtime, client })
    }

    /// Returns the sequence number of the topic's event before this one; `None` when this one is stored already.
    fn keep(&mut self, topic: &str, event: &Event) -> Result<Option<i64>> {
        if self.client.is_closed() {
            self.client = connect(&self.runtime, &self.url)?;
        }
        let Event { source, id, sequence, all } = event;
        let stored = async { self.client.query_opt(STORE, &[source, id, &topic, sequence, all]).await };
        let row = self.runtime.block_on(stored)?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}

fn connect(runtime: &Runtime, url: &str) -> Result<Client> {
    let mut config: tokio_postgres::Config = url.parse().context("read the database's address")?;
    config.connect_timeout(Duration::from_secs(5));
    let (client, connection) = runtime.block_on(config.connect(NoTls))?;
    // It ends with its client; why it ended shows at the next query.
    runtime.spawn(async move { connection.await.ok() });
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_and_its_sequence_is_a_number() {
        let event = Event::parse(br#"{"source":"/s","id":"i","sequence":"00000000000000000012"}"#).unwrap();
        assert_eq!((event.source.as_str(), event.id.as_str(), event.sequence), ("/s", "i", 12));
        assert!(Event::parse(br#"{"source":"/s","id":"i"}"#).is_err());
    }
}
