//! What is printed at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use stack::Atomicity;

use crate::delivery::Delivery;
use crate::faults::Kind;
use crate::mutation::{Mutation, Outcome};
use crate::observer::Observed;
use crate::service::{Service, When};
use crate::timeline::Timeline;

/// Of a promise that was broken, so many cases are shown.
const SHOWN: usize = 10;

pub(crate) struct Report<'a> {
    pub(crate) mutations: &'a [Mutation],
    pub(crate) timeline: &'a Timeline,
    /// `None`: the outbox did not drain.
    pub(crate) drained: Option<Duration>,
    pub(crate) delivery: Delivery,
    pub(crate) observed: Observed,
    pub(crate) service: Service,
    /// Lines that show what no log may show.
    pub(crate) leaked: Vec<String>,
    /// All looks at the database together.
    pub(crate) atomicity: Atomicity,
}

impl Report<'_> {
    /// Whether every promise was kept.
    pub(crate) fn print(&self) -> bool {
        self.print_sums();
        self.print_phases();
        self.print_broken()
    }

    fn print_sums(&self) {
        let outcomes = |wanted: fn(&Outcome) -> bool| {
            self.mutations.iter().filter(|mutation| wanted(&mutation.outcome)).count()
        };
        let drained = self.drained.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        let Delivery { records, repeated, lost, strange, out_of_order, unlike, needless, wrong, untraced } =
            &self.delivery;
        #[allow(clippy::cast_precision_loss, reason = "a percentage with two digits")]
        let repeated = format!("{repeated} ({:.2} %)", *repeated as f64 * 100.0 / (*records).max(1) as f64);
        let rows = [
            ("mutations", self.mutations.len().to_string()),
            (
                "  acknowledged",
                outcomes(|outcome| matches!(outcome, Outcome::Acknowledged { .. })).to_string(),
            ),
            ("  refused on purpose", outcomes(|outcome| matches!(outcome, Outcome::Refused)).to_string()),
            ("  503", outcomes(|outcome| matches!(outcome, Outcome::Unavailable)).to_string()),
            (
                "  connection lost",
                outcomes(|outcome| matches!(outcome, Outcome::Failed(_) | Outcome::NotSent)).to_string(),
            ),
            ("records in Kafka", records.to_string()),
            ("  repeated", repeated),
            ("lost", lost.len().to_string()),
            ("of nothing that happened", strange.len().to_string()),
            ("out of order", out_of_order.len().to_string()),
            ("repeats that differ", unlike.len().to_string()),
            ("repeats while all is well", needless.len().to_string()),
            ("wrong contents", wrong.len().to_string()),
            ("in no trace, or a wrong one", untraced.len().to_string()),
            ("comparisons of task and change", self.atomicity.compared.to_string()),
            ("  of another transaction", self.atomicity.torn.len().to_string()),
            ("stored by the consumer", self.observed.stored.to_string()),
            ("  repeats it dropped", self.observed.repeated.to_string()),
            ("  its sidecar stuck", if self.observed.restarted { "once" } else { "never" }.to_owned()),
            ("  gaps or late ones", self.observed.complaints.len().to_string()),
            ("secrets or titles in logs", self.leaked.len().to_string()),
            ("time to drain", drained),
        ];
        println!();
        for (name, value) in rows {
            println!("{name:<32} {value}");
        }
    }

    fn print_phases(&self) {
        let mut times: BTreeMap<When, usize> = BTreeMap::new();
        for fault in self.timeline.all_faults() {
            *times.entry(When::During(fault.kind)).or_default() += 1;
        }
        // Of the phases of a kind, the one in the middle and the worst.
        println!("\n{:<40} times  calls   503  failed  p50 ms  p99 ms   worst", "while");
        for (when, seen) in &self.service.seen {
            let name = match when {
                When::Calm => "calm, at the beginning".to_owned(),
                When::Between => "calm, between".to_owned(),
                When::During(kind) => kind.to_string(),
            };
            let count = times.get(when).map(ToString::to_string).unwrap_or_default();
            let times = [seen.percentile(50), seen.percentile(99), seen.worst_percentile(99)];
            let [p50, p99, worst] = times.map(|time| time.as_secs_f64() * 1_000.0);
            println!(
                "{name:<40} {count:>5} {:>6} {:>5} {:>7} {p50:>7.1} {p99:>7.1} {worst:>7.1}",
                seen.calls, seen.unavailable, seen.failed
            );
        }
        // Those that did not come, and those that only lasted beside others, to which the calls count.
        for kind in Kind::ALL {
            let when = When::During(kind);
            if !self.service.seen.contains_key(&when) {
                println!("{kind:<40} {:>5}", times.get(&when).copied().unwrap_or(0));
            }
        }
    }

    /// An oracle that never had anything to compare shows nothing.
    fn uncompared(&self) -> Vec<String> {
        if self.atomicity.compared > 0 {
            Vec::new()
        } else {
            vec!["there was never one in the outbox".to_owned()]
        }
    }

    fn print_broken(&self) -> bool {
        let undrained = match self.drained {
            Some(_) => Vec::new(),
            None => vec!["changes or parked events were left".to_owned()],
        };
        let uncompared = self.uncompared();
        let promises = [
            ("the outbox drains", &undrained),
            ("no event is lost", &self.delivery.lost),
            ("no event of what never happened", &self.delivery.strange),
            ("events are in order", &self.delivery.out_of_order),
            ("a repeat is the same to the byte", &self.delivery.unlike),
            ("nothing is repeated while all is well", &self.delivery.needless),
            ("events say what the API said", &self.delivery.wrong),
            ("the sample consumer stores each event once", &self.observed.different),
            ("the sample consumer sees no gap", &self.observed.complaints),
            ("each event carries the trace of its change", &self.delivery.untraced),
            ("a task and its change are of one transaction", &self.atomicity.torn),
            ("tasks were compared with their changes", &uncompared),
            ("the relay answers", &self.timeline.relay_failures),
            ("no log shows a secret or a title", &self.leaked),
            ("the API answers", &self.service.failures),
            ("the API is as fast as when calm", &self.service.slow),
        ];
        let mut broken = promises.into_iter().filter(|(_, cases)| !cases.is_empty()).peekable();
        println!();
        if broken.peek().is_none() {
            println!("every promise was kept");
            return true;
        }
        broken.for_each(|(promise, cases)| print_cases(promise, cases));
        false
    }
}

fn print_cases(promise: &str, cases: &[String]) {
    println!("broken: {promise} ({} times)", cases.len());
    for case in cases.iter().take(SHOWN) {
        println!("    {case}");
    }
}
