//! `/internal/metrics`: how the outbox is and what deliveries have done (GET), in Prometheus' text format.
//!
//! Everything comes from the database, so every replica says the same: scrape one. docs/metrics.md says what to watch.

use std::fmt::{Display, Write};

use shared::counts::BOUNDS;
use shared::error::Error;
use shared::event::Topic;
use shared::http::{Call, Reply, serve_read_only};
use shared::store::{self, Metrics};
use spin_sdk::http::{IntoResponse, Request};

/// The text format, version 0.0.4.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[spin_sdk::http_service]
async fn metrics(request: Request) -> impl IntoResponse {
    serve_read_only(request, async |call| read(call).await).await
}

async fn read(call: &Call) -> Result<Reply, Error> {
    call.internal().await?;
    Ok(Reply::text(TEXT_FORMAT, text(&store::read_metrics().await?)))
}

fn text(metrics: &Metrics) -> String {
    let Metrics { pending, oldest_pending_seconds, oldest_snapshot_transactions, parked, counts } = metrics;
    let mut page = Page::default();
    page.family("taskcast_build_info", "gauge", "The version of taskcast that answers.");
    page.sample("", &[("version", &env!("CARGO_PKG_VERSION"))], 1);

    page.family("taskcast_outbox_pending_changes", "gauge", "Changes that have yet to reach the topic.");
    page.by_topic(pending, &[]);
    let help = "How long the oldest change has waited that has not reached every topic.";
    page.family("taskcast_outbox_oldest_pending_seconds", "gauge", help);
    page.sample("", &[], oldest_pending_seconds);
    let help = "Transactions begun since the oldest snapshot for which PostgreSQL keeps dead rows.";
    page.family("taskcast_database_oldest_snapshot_transactions", "gauge", help);
    page.sample("", &[], oldest_snapshot_transactions);
    let help = "Events that were refused for good and wait for an operator.";
    page.family("taskcast_outbox_parked_events", "gauge", help);
    page.by_topic(parked, &[]);

    let help = "Events that the sidecar has accepted; an event that is sent again counts again.";
    page.family("taskcast_events_published_total", "counter", help);
    page.by_topic(&counts.published, &[]);
    let help =
        "Attempts to publish an event that failed: to be repeated (retry), or refused for good (reject).";
    page.family("taskcast_events_failed_total", "counter", help);
    page.by_topic(&counts.failed, &[("class", &"retry")]);
    page.by_topic(&counts.refused, &[("class", &"reject")]);

    let help = "How long passes of deliveries took: claiming users and publishing their changes.";
    page.family("taskcast_delivery_pass_duration_seconds", "histogram", help);
    let mut passes = 0;
    let bounds = BOUNDS.iter().map(|bound| bound as &dyn Display).chain([&"+Inf" as &dyn Display]);
    for (bound, more) in bounds.zip(counts.passes) {
        passes += more;
        page.sample("_bucket", &[("le", bound)], passes);
    }
    page.sample("_sum", &[], counts.microseconds as f64 / 1e6);
    page.sample("_count", &[], passes);
    page.text
}

/// What is written so far.
#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    /// Begins a metric.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    fn by_topic(&mut self, numbers: &[i64; 3], labels: &[(&str, &dyn Display)]) {
        for (topic, number) in Topic::ALL.iter().zip(numbers) {
            let topic = topic.name();
            let labels = [&[("topic", &topic as &dyn Display)], labels].concat();
            self.sample("", &labels, number);
        }
    }

    /// A value of the metric; no label's value needs quoting.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        let name = self.name;
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        match labels.as_slice() {
            [] => self.line(format_args!("{name}{suffix} {value}")),
            labels => self.line(format_args!("{name}{suffix}{{{}}} {value}", labels.join(","))),
        }
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string can't fail.
        _ = writeln!(self.text, "{line}");
    }
}
