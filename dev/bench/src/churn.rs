//! The outbox after millions of delivered changes: whether its tables have grown, and whether a mutation costs more.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
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
    let names: Vec<String> = users.iter().map(Uuid::to_string).collect();
    let mut claimed = Claimed::default();
    let mut recorded = 0;
    while recorded < changes {
        for _ in 0..CHANGES_PER_DELIVERY {
            client.query(&record, &[&users]).await?;
            recorded += users.len() as u64;
        }
        claimed = deliver(&client, &next_pass, &claimed, &names).await?;
        stack::interrupt::check()?;
    }
    deliver(&client, &next_pass, &claimed, &[]).await?;
    Ok(())
}

/// Settles as if everything that was claimed had been published, and claims these users, as routes do.
async fn deliver(
    client: &Client,
    next_pass: &Statement,
    claimed: &Claimed,
    names: &[String],
) -> Result<Claimed> {
    let Claimed { users, tokens, sequences } = claimed;
    let (zeros, nulls): (Vec<i32>, Vec<Option<i64>>) = users.iter().map(|_| (0, None)).unzip();
    let (no_texts, no_numbers): (&[&str], &[i64]) = (&[], &[]);
    let (others, waiting, changes, lease) = (0_i64, None::<i64>, 32_i64, 14_000_i64);
    let (drain_until, counts_for) = (0_i64, None::<i64>);
    let done = Some([1_i64; 22].as_slice()).filter(|_| !users.is_empty());
    let row = client
        .query_one(
            next_pass,
            &[
                users,
                tokens,
                sequences,
                sequences,
                sequences,
                &zeros,
                &nulls,
                &no_texts,
                &no_numbers,
                &no_texts,
                &no_texts,
                &zeros,
                &nulls,
                &names,
                &others,
                &waiting,
                &changes,
                &lease,
                &drain_until,
                &counts_for,
                &done,
            ],
        )
        .await?;
    let pass: Pass = serde_json::from_str(row.try_get(0)?)?;
    let mut claimed = Claimed::default();
    for claim in pass.claims {
        let last = claim.changes.last().context("a user was claimed without a change")?;
        claimed.users.push(claim.user_id);
        claimed.tokens.push(claim.lease_token);
        claimed.sequences.push(last.sequence);
    }
    Ok(claimed)
}

/// One entry per user in each list.
#[derive(Default)]
struct Claimed {
    users: Vec<String>,
    tokens: Vec<i64>,
    sequences: Vec<i64>,
}

/// What is read of the answer.
#[derive(Deserialize)]
struct Pass {
    claims: Vec<Claim>,
}

#[derive(Deserialize)]
struct Claim {
    user_id: String,
    lease_token: i64,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    sequence: i64,
}
