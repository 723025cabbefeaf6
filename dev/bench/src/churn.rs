//! The outbox after millions of delivered changes: whether its tables have grown, and whether a mutation costs more.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use stack::{System, database, system};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::Programs;
use crate::calls::Users;
use crate::load::{self, Make, Seen, as_f64};
use crate::report::Report;

const NEXT_PASS: &str = include_str!("../../../components/shared/src/sql/next_pass.sql");

/// As a mutation records it, for every user once: one transaction.
const RECORD: &str =
    "select count(record_change(number, gen_random_uuid(), 'created', 'A task of the churn', false,
    null, true, true, false, gen_random_uuid()::text, null, null)) from unnest($1::uuid[]) as number";

const PAGES: &str = "select relname, pg_relation_size(oid) / 8192 from pg_class
    where relname in ('task_changes', 'task_changes_pkey', 'user_streams', 'user_streams_pkey',
        'user_streams_claimable') order by relname";

/// Sessions that churn at once, each with users of its own.
const WORKERS: u64 = 2;

/// How often every user changes something before all is delivered.
const CHANGES_PER_DELIVERY: usize = 2;

/// Mutations per second, and for how long, that are timed before and after.
const RATE: u32 = 100;
const TIMED: Duration = Duration::from_secs(20);

/// How long what callers have done may take to be delivered.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// The arguments of `bench churn`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many changes are recorded and delivered
    #[arg(long, default_value_t = 10_000_000)]
    changes: u64,
    /// Of how many users
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(2..))]
    users: u64,
}

struct Bench {
    system: System,
    runtime: Runtime,
    port: u16,
    create: Make,
    report: Report,
}

pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Report> {
    let system = System::start(programs.system("churn", 1)?)?;
    let mut bench = Bench {
        runtime: crate::runtime()?,
        port: system.host_port(0)?,
        create: Users::new("caller", 200, 0).create(),
        report: Report::new("churn", json!({"changes": options.changes, "users": options.users})),
        system,
    };
    // Everything is loaded, and the tables have the pages that they need for a start.
    bench.time()?;
    bench.churn(options, options.changes / 1_000)?;
    bench.measure("before")?;
    for tenth in [1, 9] {
        bench.churn(options, options.changes / 10 * tenth)?;
        bench.measure(if tenth == 1 { "after a tenth" } else { "after all" })?;
    }
    Ok(bench.report)
}

impl Bench {
    fn time(&self) -> Result<Seen> {
        system::write_out();
        self.runtime.block_on(load::open(&[self.port], RATE, TIMED, &self.create))
    }

    fn measure(&mut self, when: &str) -> Result<()> {
        let seen = self.time()?;
        self.report.latency(format!("{when}: create"), &seen);
        let pages = database::run(self.system.database_url(), PAGES)?;
        for (name, pages) in pages.lines().filter_map(|line| line.split_once('|')) {
            self.report.figure(format!("{when}: {name}"), "pages", as_f64(pages.parse()?));
        }
        Ok(())
    }

    /// Without a sidecar, and so without a relay that would have a share in it.
    fn churn(&mut self, options: &Options, changes: u64) -> Result<()> {
        println!("recording and delivering {changes} changes");
        self.system.drain(DRAIN_LIMIT)?.context("the outbox did not drain before the churn")?;
        self.system.kill_sidecar(0)?;
        let started = Instant::now();
        let url = self.system.database_url().to_owned();
        self.runtime
            .block_on(async {
                let mut workers = JoinSet::new();
                for number in 0..WORKERS {
                    let users =
                        (0..options.users).filter(|user| user % WORKERS == number).map(user).collect();
                    workers.spawn(work(url.clone(), users, changes / WORKERS));
                }
                while let Some(worker) = workers.join_next().await {
                    worker.context("a session failed")??;
                }
                anyhow::Ok(())
            })
            .inspect(|()| {
                println!("  {:.0} per second", as_f64(changes) / started.elapsed().as_secs_f64())
            })?;
        self.system.start_sidecar(0)
    }
}

fn user(number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("churn {number}").as_bytes())
}

async fn work(url: String, users: Vec<Uuid>, changes: u64) -> Result<()> {
    let client = crate::connect(&url).await?;
    let (record, next_pass) = (client.prepare(RECORD).await?, client.prepare(NEXT_PASS).await?);
    let mut claimed = Vec::new();
    let mut recorded = 0;
    while recorded < changes {
        for _ in 0..CHANGES_PER_DELIVERY {
            client.query(&record, &[&users]).await?;
            recorded += users.len() as u64;
        }
        claimed = deliver(&client, &next_pass, &claimed, &users).await?;
        stack::interrupt::check()?;
    }
    deliver(&client, &next_pass, &claimed, &[]).await?;
    Ok(())
}

/// Settles as if everything that was claimed had been published, and claims these users, as routes do.
async fn deliver(
    client: &Client,
    next_pass: &Statement,
    outcomes: &[Value],
    users: &[Uuid],
) -> Result<Vec<Value>> {
    let counts = Some([1; 22]).filter(|_| !outcomes.is_empty());
    let pass = json!({
        "outcomes": outcomes, "parked": [], "counts": counts, "users": users, "limit": users.len(), "others": false,
        "waiting_at_most_ms": null, "changes": 32, "lease_ms": 14_000,
        "promises": false, "promised_until": null, "running": [],
    });
    let row = client.query_one(next_pass, &[&pass.to_string()]).await?;
    let pass: Pass = serde_json::from_str(row.try_get(0)?)?;
    pass.claims.iter().map(Claim::outcome).collect()
}

/// What is read of the answer.
#[derive(Deserialize)]
struct Pass {
    claims: Vec<Claim>,
}

#[derive(Deserialize)]
struct Claim {
    user_id: Uuid,
    lease_token: i64,
    last_sequence: i64,
    windows: Vec<Window>,
}

#[derive(Deserialize)]
struct Window {
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    sequence: i64,
}

impl Claim {
    fn outcome(&self) -> Result<Value> {
        let last = self.windows.iter().flat_map(|window| &window.changes).next_back();
        let sequence = last.context("a user was claimed without a change")?.sequence;
        Ok(json!({
            "user_id": self.user_id, "lease_token": self.lease_token, "last_sequence": self.last_sequence,
            "goes_on": false, "delivered": [sequence, sequence, sequence], "retry_after_ms": [null, null, null],
            "waiting_topics": 0,
        }))
    }
}
