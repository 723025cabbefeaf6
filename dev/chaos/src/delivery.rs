//! What is promised about events: none lost, none of what never happened, in order, repeats the same to the byte.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde_json::Value;

use crate::events::Event;
use crate::mutation::{Action, Mutation, Outcome, Task};

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
    /// Events whose mutation was refused or never sent, or that nobody made.
    pub(crate) strange: Vec<String>,
    /// Places where `sequence` does not go on by one, or on reminders falls.
    pub(crate) out_of_order: Vec<String>,
    /// Repeats that differ from their first copy.
    pub(crate) unlike: Vec<String>,
    /// Repeats from a time when nothing was broken: then nobody has a reason to publish anything twice.
    pub(crate) needless: Vec<String>,
    /// Events that say something else than the client was told, or with another key than their user.
    pub(crate) wrong: Vec<String>,
}

/// By topic and correlation id, without repeats.
type Index<'a> = HashMap<(&'static str, &'a str), &'a Event>;

/// `committed` is the last sequence number of each user; `calm` is when nothing was broken yet, as events have it.
pub(crate) fn check(
    mutations: &[Mutation],
    events: &[Event],
    committed: &BTreeMap<String, u64>,
    calm: &Range<i64>,
) -> Delivery {
    let mut delivery = Delivery { records: events.len(), ..Delivery::default() };
    let firsts = delivery.without_repeats(events, calm);
    delivery.check_order(&firsts, committed);
    delivery.check_keys(&firsts);
    delivery.check_origin(&firsts, mutations);
    let index = firsts.iter().map(|event| ((event.topic, event.correlation.as_str()), *event)).collect();
    for mutation in mutations {
        delivery.check_mutation(mutation, &index);
    }
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

    fn check_origin(&mut self, firsts: &[&Event], mutations: &[Mutation]) {
        let known: HashMap<&str, &Mutation> =
            mutations.iter().map(|mutation| (mutation.correlation.as_str(), mutation)).collect();
        for event in firsts {
            match known.get(event.correlation.as_str()).map(|mutation| &mutation.outcome) {
                Some(Outcome::Refused | Outcome::NotSent) | None => self.strange.push(event.name()),
                Some(Outcome::Acknowledged { .. } | Outcome::Unavailable | Outcome::Failed(_)) => {}
            }
        }
    }

    fn check_mutation(&mut self, mutation: &Mutation, index: &Index<'_>) {
        let Outcome::Acknowledged { task, reminder } = &mutation.outcome else { return };
        for topic in EVERY_CHANGE {
            let matches = match topic {
                "task-events" => says_task,
                _ => says_update,
            };
            self.expect(mutation, topic, index, |data| matches(data, mutation.action, task));
        }
        match reminder {
            Some(action) => {
                self.expect(mutation, REMINDERS, index, |data| says_reminder(data, action, task));
            }
            None => {
                if let Some(event) = index.get(&(REMINDERS, mutation.correlation.as_str())) {
                    self.strange.push(event.name());
                }
            }
        }
    }

    fn expect(
        &mut self,
        mutation: &Mutation,
        topic: &'static str,
        index: &Index<'_>,
        matches: impl Fn(&Value) -> bool,
    ) {
        let Mutation { action, correlation, user, .. } = mutation;
        match index.get(&(topic, correlation.as_str())) {
            None => self.lost.push(format!("{topic} user {user}: {} {correlation}", action.name())),
            Some(event) if !matches(&event.data) || event.key != *user => {
                self.wrong.push(format!("{} says {}", event.name(), event.data));
            }
            Some(_) => {}
        }
    }
}

fn says_task(data: &Value, action: Action, task: &Task) -> bool {
    says_update(data, action, task)
        && data.get("title").and_then(Value::as_str) == Some(&task.title)
        && data.get("completed").and_then(Value::as_bool) == Some(task.completed)
        && data.get("due_date").and_then(Value::as_str) == task.due_date.as_deref()
}

fn says_update(data: &Value, action: Action, task: &Task) -> bool {
    says(data, action.name(), task)
}

fn says_reminder(data: &Value, action: &str, task: &Task) -> bool {
    says(data, action, task) && data.get("due_date").and_then(Value::as_str) == task.due_date.as_deref()
}

fn says(data: &Value, action: &str, task: &Task) -> bool {
    data.get("action").and_then(Value::as_str) == Some(action)
        && data.get("task_id").and_then(Value::as_str) == Some(&task.id)
}

fn difference(first: &Event, event: &Event) -> String {
    let text = |event: &Event| String::from_utf8_lossy(&event.bytes).into_owned();
    format!("{}:\n      first {}\n      then  {}", event.name(), text(first), text(event))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn mutation(number: u64, outcome: Outcome) -> Mutation {
        Mutation {
            user: "u".to_owned(),
            action: Action::Created,
            correlation: format!("c{number}"),
            outcome,
            replica: 0,
            started: Instant::now(),
            took: Duration::ZERO,
        }
    }

    fn acknowledged(number: u64) -> Mutation {
        let task = Task { id: "t".to_owned(), title: "T".to_owned(), completed: false, due_date: None };
        mutation(number, Outcome::Acknowledged { task, reminder: None })
    }

    fn event(topic: &'static str, sequence: u64) -> Event {
        let data = json!({"task_id": "t", "action": "created", "title": "T", "completed": false});
        Event {
            topic,
            key: "u".to_owned(),
            id: format!("{topic}-{sequence}"),
            source: "/taskcast/users/u".to_owned(),
            sequence,
            correlation: format!("c{sequence}"),
            published: 50,
            bytes: data.to_string().into_bytes(),
            data,
        }
    }

    /// Everything as promised: two changes on both topics, one of them twice.
    fn events() -> Vec<Event> {
        let on = |topic| [event(topic, 1), event(topic, 2), event(topic, 1)];
        EVERY_CHANGE.into_iter().flat_map(on).collect()
    }

    fn checked(mutations: &[Mutation], events: &[Event]) -> [usize; 5] {
        let Delivery { lost, strange, out_of_order, unlike, wrong, .. } =
            check(mutations, events, &BTreeMap::from([("u".to_owned(), 2)]), &(0..10));
        [lost.len(), strange.len(), out_of_order.len(), unlike.len(), wrong.len()]
    }

    #[test]
    fn repeats_are_no_fault() {
        assert_eq!(checked(&[acknowledged(1), acknowledged(2)], &events()), [0; 5]);
    }

    #[test]
    fn a_lost_event_is_missed_by_its_mutation_and_by_its_user() {
        let mut events = events();
        events.retain(|event| event.topic != "task-updates" || event.sequence != 2);
        assert_eq!(checked(&[acknowledged(1), acknowledged(2)], &events), [2, 0, 0, 0, 0]);
    }

    #[test]
    fn a_gap_and_a_swap_are_out_of_order() {
        let mut events = events();
        events.swap(0, 1);
        let [_, _, out_of_order, ..] = checked(&[acknowledged(1), acknowledged(2)], &events);
        assert!(out_of_order > 0);
    }

    #[test]
    fn an_event_of_a_refused_mutation_is_strange() {
        let mutations = [acknowledged(1), mutation(2, Outcome::Refused)];
        assert_eq!(checked(&mutations, &events()), [0, 2, 0, 0, 0]);
        assert_eq!(checked(&[acknowledged(1)], &events()), [0, 2, 0, 0, 0]);
    }

    #[test]
    fn what_may_have_been_committed_may_have_events() {
        let mutations = [acknowledged(1), mutation(2, Outcome::Failed("gone".to_owned()))];
        assert_eq!(checked(&mutations, &events()), [0; 5]);
    }

    #[test]
    fn a_repeat_when_nothing_was_broken_is_needless() {
        let (mutations, mut events) = ([acknowledged(1), acknowledged(2)], events());
        events[2].published = 5;
        let committed = BTreeMap::from([("u".to_owned(), 2)]);
        assert_eq!(check(&mutations, &events, &committed, &(0..10)).needless.len(), 1);
        assert_eq!(check(&mutations, &events, &committed, &(6..10)).needless.len(), 0);
    }

    #[test]
    fn a_repeat_that_differs_in_a_byte_is_found() {
        let mut events = events();
        events[2].bytes.push(b' ');
        assert_eq!(checked(&[acknowledged(1), acknowledged(2)], &events), [0, 0, 0, 1, 0]);
    }

    #[test]
    fn an_event_that_says_something_else_is_wrong() {
        let mut events = events();
        events[0].data = json!({"task_id": "t", "action": "created", "title": "Other", "completed": false});
        assert_eq!(checked(&[acknowledged(1), acknowledged(2)], &events), [0, 0, 0, 0, 1]);
    }
}
