//! Whether a request costs more the more there is: tasks in the table, users, or changes that wait in the outbox. Each size
//! is a service of its own with a database of its own, and all are measured in turn.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use stack::{database, system};

use crate::Programs;
use crate::calls::Users;
use crate::load::{self, as_f64};
use crate::peers::{Events, Kind, Parts, Spec};
use crate::report::{Report, Spread};
use crate::usage;

/// Requests a second: few enough that they don't wait for each other.
const RATE: u32 = 100;

/// Users whose requests are measured, and their tasks. They are among those of each size.
const USERS: u64 = 10;
const TASKS: u64 = 20;

/// Up to this much is flat.
const FLAT: f64 = 1.1;

/// The arguments of `bench growth`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// How long each measurement takes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// A size: its name, and the SQL that makes it.
const SIZES: [(&str, &str); 7] = [
    (SMALLEST, ""),
    (
        "10,000 tasks",
        "insert into tasks (id, user_id, title) select gen_random_uuid(), md5('t' || number / 20)::uuid, 'A task'
         from generate_series(1, 10000) number",
    ),
    (
        "1,000,000 tasks",
        "insert into tasks (id, user_id, title) select gen_random_uuid(), md5('t' || number / 20)::uuid, 'A task'
         from generate_series(1, 1000000) number",
    ),
    (
        "1,000 users",
        "insert into user_streams (user_id, last_sequence, task_events, task_updates, reminders)
         select gen_random_uuid(), 1, 1, 1, 1 from generate_series(1, 1000)",
    ),
    (
        "100,000 users",
        "insert into user_streams (user_id, last_sequence, task_events, task_updates, reminders)
         select gen_random_uuid(), 1, 1, 1, 1 from generate_series(1, 100000)",
    ),
    ("10,000 changes waiting", "call fill(10)"),
    ("1,000,000 changes waiting", "call fill(1000)"),
];
const SMALLEST: &str = "next to nothing";

/// So many changes of each of 1,000 users that nobody has delivered yet.
const FILL: &str = "create procedure fill(changes integer) language plpgsql as $$
begin
    for change in 1..changes loop
        perform record_change(md5('waiting ' || number)::uuid, gen_random_uuid(), 'created', 'A task that waits', false,
            null, true, true, false, gen_random_uuid()::text, null, null)
        from generate_series(1, 1000) number;
        commit;
    end loop;
end
$$";

pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Report> {
    let directory = programs.directory.join("growth");
    let runtime = crate::runtime()?;
    let parts = Parts::start(programs, &directory)?;
    let users = Users::new("caller", USERS, TASKS);
    let calls = [
        ("create", Users::new("creator", USERS, 0).create()),
        ("patch", users.update()),
        ("get", users.read()),
        ("list", users.list()),
    ];
    let mut peers = Vec::new();
    for (name, sql) in SIZES {
        println!("filling: {name}");
        let url = parts.database(name)?;
        database::run(&url, FILL)?;
        database::run(&url, sql)?;
        runtime.block_on(users.seed(&url))?;
        database::run(&url, "vacuum analyze")?;
        // The relay would deliver what is to wait.
        peers.push(parts.peer(Spec { name, kind: Kind::Taskcast, events: Events::Kafka, relay: false })?);
    }
    system::write_out();
    let mut measured = vec![[const { Measured::new() }; 4]; peers.len()];
    for round in 0..=options.rounds {
        match round {
            0 => println!("warming up"),
            _ => println!("round {round} of {}", options.rounds),
        }
        for which in 0..calls.len() {
            let mut turn: Vec<_> = peers.iter().zip(&mut measured).collect();
            // Whoever comes first has no advantage in the long run.
            if round % 2 == 1 {
                turn.reverse();
            }
            for (peer, measured) in turn {
                let (Some((_, make)), Some(measured)) = (calls.get(which), measured.get_mut(which)) else {
                    continue;
                };
                let postgres = [parts.postgres.process().pid()];
                let before = usage::of(&postgres)?;
                let time = Duration::from_secs(options.seconds);
                let seen = runtime.block_on(load::open(&[peer.port], RATE, time, make))?;
                let used = usage::of(&postgres)? - before;
                if round > 0 {
                    measured.p50.push(seen.quantile(0.5));
                    measured
                        .cost
                        .push(used.processor.as_secs_f64() * 1_000.0 / as_f64(seen.times.len().max(1)));
                    measured.failed += seen.failed;
                }
            }
        }
    }
    let settings = json!({"rate": RATE, "rounds": options.rounds, "seconds": options.seconds});
    let mut report = Report::new("growth", settings);
    for (which, (call, _)) in calls.iter().enumerate() {
        let smallest = measured.first().and_then(|size| size.get(which));
        for ((size, _), measured) in SIZES.iter().zip(&measured) {
            if let (Some(measured), Some(smallest)) = (measured.get(which), smallest) {
                measured.report(&mut report, &format!("{call}: {size}"), smallest);
            }
        }
    }
    Ok(report)
}

/// One call at one size, over the rounds.
#[derive(Clone)]
struct Measured {
    p50: Vec<f64>,
    /// Milliseconds of PostgreSQL's processors for a request.
    cost: Vec<f64>,
    failed: u64,
}

impl Measured {
    const fn new() -> Self {
        Self { p50: Vec::new(), cost: Vec::new(), failed: 0 }
    }

    fn report(&self, report: &mut Report, what: &str, smallest: &Self) {
        let median = |values: &[f64]| Spread::of(values.to_vec()).median();
        let (p50, cost) = (median(&self.p50), median(&self.cost));
        // Within a round, because the machine is not the same in each.
        let ratios = self.p50.iter().zip(&smallest.p50).map(|(p50, smallest)| p50 / smallest);
        let ratio = Spread::of(ratios.collect()).median();
        let flat = if ratio <= FLAT { "flat" } else { "GROWS" };
        let failed = if self.failed == 0 { String::new() } else { format!(", {} FAILED", self.failed) };
        let shown = format!(
            "p50 {p50:>5.2} ms ({ratio:.2} of the smallest: {flat}), PostgreSQL {cost:.2} ms{failed}"
        );
        let value = json!({"p50_ms": self.p50, "p50_to_smallest": ratio, "postgres_ms": self.cost, "failed": self.failed});
        report.row(what, shown, value);
    }
}
