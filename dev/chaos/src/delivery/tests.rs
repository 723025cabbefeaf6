use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::mutation::{Action, Outcome, Task};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const DUE: &str = "2030-01-01T00:00:00Z";

fn mutation(correlation: u64, outcome: Outcome) -> Mutation {
    Mutation {
        user: "u".to_owned(),
        action: Action::Created,
        task_id: None,
        correlation: format!("c{correlation}"),
        traceparent: Some(TRACE.to_owned()),
        outcome,
        replica: 0,
        started: Instant::now(),
        took: Duration::ZERO,
    }
}

fn acknowledged(correlation: u64) -> Mutation {
    let task = Task { id: "t".to_owned(), title: "T".to_owned(), completed: false, due_date: None };
    mutation(correlation, Outcome::Acknowledged { task, reminder: None })
}

/// The client does not know whether it was committed.
fn unanswered(correlation: u64) -> Mutation {
    mutation(correlation, Outcome::Failed("gone".to_owned()))
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
        traceparent: TRACE.to_owned(),
        time: "2026-01-01T00:00:00Z".to_owned(),
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

fn check_all(mutations: &[Mutation], events: &[Event]) -> Delivery {
    let mutations: Vec<_> = mutations.iter().collect();
    check(&mutations, events, &BTreeMap::from([("u".to_owned(), 2)]), &(0..10))
}

fn checked(mutations: &[Mutation], events: &[Event]) -> [usize; 6] {
    let Delivery { lost, strange, out_of_order, unlike, wrong, untraced, .. } = check_all(mutations, events);
    [lost, strange, out_of_order, unlike, wrong, untraced].map(|cases| cases.len())
}

fn both() -> [Mutation; 2] {
    [acknowledged(1), acknowledged(2)]
}

#[test]
fn repeats_are_no_fault() {
    assert_eq!(checked(&both(), &events()), [0; 6]);
}

#[test]
fn a_lost_event_is_missed_by_its_mutation_and_by_its_user() {
    let mut events = events();
    events.retain(|event| event.topic != "task-updates" || event.sequence != 2);
    assert_eq!(checked(&both(), &events), [2, 0, 0, 0, 0, 0]);
}

#[test]
fn a_gap_and_a_swap_are_out_of_order() {
    let mut events = events();
    events.swap(0, 1);
    let [_, _, out_of_order, ..] = checked(&both(), &events);
    assert!(out_of_order > 0);
}

#[test]
fn an_event_of_a_refused_mutation_is_strange() {
    let mutations = [acknowledged(1), mutation(2, Outcome::Refused)];
    assert_eq!(checked(&mutations, &events()), [0, 2, 0, 0, 0, 0]);
    assert_eq!(checked(&[acknowledged(1)], &events()), [0, 2, 0, 0, 0, 0]);
}

#[test]
fn what_may_have_been_committed_may_have_events() {
    assert_eq!(checked(&[acknowledged(1), unanswered(2)], &events()), [0; 6]);
}

#[test]
fn two_calls_with_one_correlation_id_have_events_of_their_own() {
    let same = |mut event: Event| {
        "c1".clone_into(&mut event.correlation);
        event
    };
    let mut events: Vec<_> = events().into_iter().map(same).collect();
    assert_eq!(checked(&[acknowledged(1), acknowledged(1)], &events), [0; 6]);
    assert_eq!(checked(&[acknowledged(1), unanswered(1)], &events), [0; 6]);
    let refused = [acknowledged(1), mutation(1, Outcome::Refused)];
    assert_eq!(checked(&refused, &events), [0, 2, 0, 0, 0, 0], "one of the two was refused");
    events.retain(|event| event.sequence == 1);
    // Each topic lacks one event, by its call and by its user.
    assert_eq!(checked(&[acknowledged(1), acknowledged(1)], &events), [4, 0, 0, 0, 0, 0]);
}

/// The second change has a due date, but no client got its answer.
fn due(mut event: Event) -> Event {
    if event.sequence == 2 {
        event.data["due_date"] = Value::from(DUE);
    }
    event
}

#[test]
fn a_lost_reminder_of_a_change_whose_answer_did_not_arrive_is_found() {
    let mutations = [acknowledged(1), unanswered(2)];
    let mut events: Vec<_> = events().into_iter().map(due).collect();
    assert_eq!(checked(&mutations, &events), [1, 0, 0, 0, 0, 0]);
    let mut reminder = event(REMINDERS, 2);
    reminder.data = json!({"task_id": "t", "action": "scheduled", "due_date": DUE});
    events.push(reminder);
    assert_eq!(checked(&mutations, &events), [0; 6]);
}

#[test]
fn a_reminder_without_a_due_date_is_strange() {
    let mut events = events();
    events.push(event(REMINDERS, 2));
    assert!(checked(&both(), &events)[1] > 0);
}

#[test]
fn events_of_a_change_that_disagree_are_wrong() {
    let mut events = events();
    "2027-01-01T00:00:00Z".clone_into(&mut events[4].time);
    assert_eq!(checked(&both(), &events), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_repeat_when_nothing_was_broken_is_needless() {
    let (mutations, mut events) = (both(), events());
    events[2].published = 5;
    let mutations: Vec<_> = mutations.iter().collect();
    let committed = BTreeMap::from([("u".to_owned(), 2)]);
    assert_eq!(check(&mutations, &events, &committed, &(0..10)).needless.len(), 1);
    assert_eq!(check(&mutations, &events, &committed, &(6..10)).needless.len(), 0);
}

#[test]
fn a_repeat_that_differs_in_a_byte_is_found() {
    let mut events = events();
    events[2].bytes.push(b' ');
    assert_eq!(checked(&both(), &events), [0, 0, 0, 1, 0, 0]);
}

#[test]
fn an_event_that_says_something_else_is_wrong() {
    let mut events = events();
    events[0].data = json!({"task_id": "t", "action": "created", "title": "Other", "completed": false});
    assert_eq!(checked(&both(), &events), [0, 0, 0, 0, 1, 0]);
}

#[test]
fn an_event_in_no_trace_or_in_another_than_its_calls_is_found() {
    let mut untraced = both();
    untraced[0].traceparent = None;
    let mut events = events();
    for event in events.iter_mut().filter(|event| event.sequence == 1) {
        event.traceparent.clear();
    }
    assert_eq!(checked(&untraced, &events)[5], 2, "one on each topic");
    for event in events.iter_mut().filter(|event| event.sequence == 1) {
        TRACE.replace("4bf", "5bf").clone_into(&mut event.traceparent);
    }
    assert_eq!(checked(&untraced, &events)[5], 0, "the app began it");
    assert_eq!(checked(&both(), &events)[5], 2, "the client sent another");
}
