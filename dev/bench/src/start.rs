//! From a cold start to an answer, and how large the components are.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::Programs;
use crate::calls::Users;
use crate::client::Connection;
use crate::load::{Make, as_f64};
use crate::peers::{Events, Kind, Parts, Spec};
use crate::report::{Report, Spread};

/// A component of the API may be so large.
const LARGEST: u64 = 600_000;

/// It carries the page on which people try the API, and no request of the API waits for it.
const WITHOUT_LIMIT: &str = "reference.wasm";

/// Nobody has called for so long that the host has let go of its instances.
const IDLE: Duration = Duration::from_secs(5);

/// How many calls in a row show what one takes when all is warm.
const WARM: u64 = 50;

/// The arguments of `bench start`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
}

pub(crate) fn run(programs: &Programs, options: &Options) -> Result<Report> {
    let directory = programs.directory.join("start");
    let runtime = crate::runtime()?;
    let parts = Parts::start(programs, &directory)?;
    let spec = Spec { name: "taskcast", kind: Kind::Taskcast, events: Events::Off, relay: false };
    parts.database(spec.name)?;
    let create = Users::new("caller", 10, 0).create();
    // Compiled code is kept on the disk: the first start of all is another matter.
    drop(parts.peer(spec)?);
    let (mut start, mut first, mut idle, mut warm) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        println!("round {round} of {}", options.rounds);
        let service = parts.peer(spec)?;
        start.push(millis(service.started_in));
        let calls = async {
            let mut connection = Connection::open(service.port).await?;
            first.push(call(&mut connection, &create, 0).await?);
            for number in 1..=WARM {
                warm.push(call(&mut connection, &create, number).await?);
            }
            tokio::time::sleep(IDLE).await;
            idle.push(call(&mut connection, &create, 0).await?);
            anyhow::Ok(())
        };
        runtime.block_on(calls)?;
    }
    let mut report = Report::new("start", json!({"rounds": options.rounds}));
    report.spread("from the host's start until it serves", "ms", &Spread::of(start));
    report.spread("the first create of all", "ms", &Spread::of(first));
    report.spread("a create after 5 s without any", "ms", &Spread::of(idle));
    report.spread("a create when all is warm", "ms", &Spread::of(warm));
    sizes(programs, &mut report)?;
    Ok(report)
}

async fn call(connection: &mut Connection, make: &Make, number: u64) -> Result<f64> {
    let began = Instant::now();
    let (status, body) = connection.send(make(number)).await?;
    if !status.is_success() {
        bail!("the API answered {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(millis(began.elapsed()))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn sizes(programs: &Programs, report: &mut Report) -> Result<()> {
    let directory = programs.project.join("target/wasm32-wasip2/release");
    let mut files: Vec<_> = fs::read_dir(&directory)
        .with_context(|| format!("read {}", directory.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    files.sort();
    for file in files {
        let bytes = file.metadata()?.len();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let size = format!("{:.0} kB", as_f64(bytes) / 1e3);
        let row = format!("size of {name}");
        if name == WITHOUT_LIMIT {
            report.row(row, format!("{size}, most of it the API's page: no limit"), json!({"bytes": bytes}));
            continue;
        }
        let met = bytes <= LARGEST;
        let shown = format!("{size}, at most 600: {}", if met { "met" } else { "MISSED" });
        report.row(row, shown, json!({"bytes": bytes, "met": met}));
    }
    Ok(())
}
