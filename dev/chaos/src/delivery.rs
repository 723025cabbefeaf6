//! What is promised about events: none lost, none of what never happened, in order, repeats the same to the byte.

mod calls;
mod changes;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::events::Event;
use crate::mutation::Mutation;

/// Topics that every change reaches; the third is for due dates only.
const EVERY_CHANGE: [&str; 2] = ["task-events", "task-updates"];
const REMINDERS: &str = "reminders";

/// What was found. Each list names the events concerned.
#[derive(Default)]
pub(crate) struct Delivery {
    pub(crate) records: usize,
    pub(crate) repeated: usize,
    /// Acknowledged mutations, or committed changes, without their event on a topic.
    pub(crate) lost: Vec<String>,
    /// Events whose mutation was refused or never sent, or that no client made.
    pub(crate) strange: Vec<String>,
    /// Places where `sequence` does not go on by one, or on reminders falls.
    pub(crate) out_of_order: Vec<String>,
    /// Repeats that differ from their first copy.
    pub(crate) unlike: Vec<String>,
    /// Repeats from a time when nothing was broken: then no publisher has a reason to publish anything twice.
    pub(crate) needless: Vec<String>,
    /// Events that say something else than the client was told, or with another key than their user.
    pub(crate) wrong: Vec<String>,
    /// Events without a valid trace, or in another trace than the client's.
    pub(crate) untraced: Vec<String>,
}

/// `committed` is the last sequence number of each user; `calm` is when nothing was broken yet, as events have it.
pub(crate) fn check(
    mutations: &[&Mutation],
    events: &[Event],
    committed: &BTreeMap<String, u64>,
    calm: &Range<i64>,
) -> Delivery {
    let mut delivery = Delivery { records: events.len(), ..Delivery::default() };
    let firsts = delivery.without_repeats(events, calm);
    delivery.check_order(&firsts, committed);
    delivery.check_keys(&firsts);
    delivery.check_changes(&firsts);
    delivery.check_calls(&firsts, mutations);
    delivery
}

impl Delivery {
    /// First copies, in the order of the log.
    fn without_repeats<'a>(&mut self, events: &'a [Event], calm: &Range<i64>) -> Vec<&'a Event> {
        let mut seen: HashMap<(&str, &str), &Event> = HashMap::new();
        let mut firsts = Vec::new();
        for event in events {
            match seen.get(&(event.source.as_str(), event.id.as_str())) {
                None => {
                    seen.insert((&event.source, &event.id), event);
                    firsts.push(event);
                }
                Some(first) => {
                    self.repeated += 1;
                    if calm.contains(&event.published) {
                        self.needless.push(event.name());
                    }
                    if first.bytes != event.bytes || first.topic != event.topic || first.key != event.key {
                        self.unlike.push(difference(first, event));
                    }
                }
            }
        }
        firsts
    }

    fn check_order(&mut self, firsts: &[&Event], committed: &BTreeMap<String, u64>) {
        let mut last: HashMap<(&str, &str), u64> = HashMap::new();
        for event in firsts {
            let last = last.entry((event.topic, &event.key)).or_default();
            let fits =
                if event.topic == REMINDERS { event.sequence > *last } else { event.sequence == *last + 1 };
            if !fits {
                self.out_of_order.push(format!("{} came after sequence {last}", event.name()));
            }
            *last = event.sequence;
        }
        for (user, sequence) in committed {
            for topic in EVERY_CHANGE {
                let reached = last.get(&(topic, user.as_str())).copied().unwrap_or(0);
                if reached != *sequence {
                    self.lost.push(format!("{topic} user {user}: {sequence} committed, {reached} the last"));
                }
            }
        }
    }

    fn check_keys(&mut self, firsts: &[&Event]) {
        for event in firsts {
            if !event.source.ends_with(&format!("/users/{}", event.key)) {
                self.wrong.push(format!("{} has the key {}", event.name(), event.key));
            }
        }
    }
}

fn difference(first: &Event, event: &Event) -> String {
    let text = |event: &Event| String::from_utf8_lossy(&event.bytes).into_owned();
    format!("{}:\n      first {}\n      then  {}", event.name(), text(first), text(event))
}

#[cfg(test)]
mod tests;
