//! What we want to reach, as ratios and differences within the run.

use serde_json::json;

use super::{
    ARRIVAL, CONVENTIONAL, Figures, GET, HUNG, NATIVE, NATIVE_OFF, OFF, RATE, RATES, REFUSED, TASKCAST,
    Table, creates, creates_at, median,
};
use crate::report::Report;

/// The connections at which calls come fast enough for events to be published together.
const UNDER_LOAD: usize = 64;

/// Adds a row for each target: what was measured, what is wanted, and whether it was met.
pub(super) fn report(table: &Table<'_>, report: &mut Report) {
    let of = |what: &str, peer: &str, of: fn(&Figures) -> &Vec<f64>| {
        table.get(what, peer).map_or(f64::NAN, |figures| median(of(figures)))
    };
    let rate = |what: &str, peer: &str| of(what, peer, |figures| &figures.rates);
    let p50 = |what: &str, peer: &str| of(what, peer, |figures| &figures.p50);
    let p99 = |what: &str, peer: &str| of(what, peer, |figures| &figures.p99);
    let sidecar = |what: &str, peer: &str| of(what, peer, |figures| &figures.costs[2]);
    let (some, many, timed) = (creates(16), creates(UNDER_LOAD), creates_at(RATE));

    let mut least = |what: &str, measured: f64, wanted: f64| {
        row(report, what, measured, wanted, measured >= wanted, "at least");
    };
    least("create, events off, to native", rate(&some, OFF) / rate(&some, NATIVE_OFF), 0.5);
    least("create, events on, to native", rate(&some, TASKCAST) / rate(&some, NATIVE), 0.6);
    least("get, to native", rate(GET, TASKCAST) / rate(GET, NATIVE), 0.5);

    let mut most = |what: &str, measured: f64, wanted: f64| {
        row(report, what, measured, wanted, measured <= wanted, "at most");
    };
    for (name, peer) in [("events", TASKCAST), ("a hung sidecar", HUNG), ("no sidecar", REFUSED)] {
        most(&format!("ms added to p50 by {name}"), p50(&timed, peer) - p50(&timed, OFF), 0.3);
        most(&format!("ms added to p99 by {name}"), p99(&timed, peer) - p99(&timed, OFF), 2.0);
    }
    for rate in RATES {
        let what = creates_at(rate);
        let ratio = p50(&what, TASKCAST) / p50(&what, CONVENTIONAL);
        most(&format!("p50 of a create at {rate} per second, to conventional"), ratio, 1.0);
    }
    most("ms from change to consumer, p50", p50(ARRIVAL, TASKCAST), 8.0);
    most("ms from change to consumer, p99", p99(ARRIVAL, TASKCAST), 40.0);
    let ratio = sidecar(&many, TASKCAST) / sidecar(&many, CONVENTIONAL);
    most("sidecar's processor time per event under load, to a call per event", ratio, 0.4);
    most("ms of a create at 200 per second, p99", p99(&timed, TASKCAST), 5.0);
}

fn row(report: &mut Report, what: &str, measured: f64, wanted: f64, met: bool, bound: &str) {
    let shown = format!("{measured:>6.2}, {bound} {wanted}: {}", if met { "met" } else { "MISSED" });
    report.row(format!("target: {what}"), shown, json!({"measured": measured, "wanted": wanted, "met": met}));
}
