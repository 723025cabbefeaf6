//! `cargo xtask tail`: the events, as they are delivered to what `up` runs or as they are in Kafka.

mod kafka;
mod output;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::event_log::Reader;
use crate::project::Project;
use output::{Output, Selection};

/// Between two looks for the next event.
const POLL: Duration = Duration::from_millis(50);

/// Printed below the options.
const MORE_HELP: &str = "\
Filters of one kind add up; an event has to pass each kind that is given.
Ctrl-C ends it. So does the end of what it reads, with an error.

Examples:
  cargo xtask tail --topic task-events
  cargo xtask tail --json --type task.created | jq .data.title
  cargo xtask tail --kafka 127.0.0.1:9092 --group looking-into-it --from-beginning";

/// The arguments of `cargo xtask tail`.
#[derive(clap::Args)]
#[command(after_help = MORE_HELP)]
pub(crate) struct Options {
    #[command(flatten)]
    selection: Selection,
    /// First show what has come since `up` began; with --kafka, what Kafka still has, unless the group has read it
    #[arg(long)]
    from_beginning: bool,
    /// Read from this Kafka instead of attaching to the `up` of this clone
    #[arg(long, value_name = "HOST:PORT")]
    kafka: Option<String>,
    /// Keep the position in Kafka under this name, and go on from there the next time. A name of your own: others of a
    /// group would not get what is shown here
    #[arg(long, value_name = "NAME", requires = "kafka")]
    group: Option<String>,
}

/// Shows events until a signal. Errors: also that what it is attached to has ended.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let project = Project::find()?;
    let output = Output::new(&options.selection);
    match &options.kafka {
        Some(bootstrap) => kafka::follow(&project, bootstrap, options, output)?,
        None => follow(Reader::open(&project, options.from_beginning)?, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn follow(mut events: Reader, mut output: Output<'_>) -> Result<()> {
    output.begin()?;
    while !output.is_over() {
        match events.next()? {
            Some(event) => output.show(&event)?,
            None => thread::sleep(POLL),
        }
    }
    Ok(())
}
