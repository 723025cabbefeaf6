//! What the clients' calls came to, held against the events that carry their correlation ids.

use std::collections::HashMap;

use serde_json::Value;

use super::{Delivery, EVERY_CHANGE, REMINDERS};
use crate::events::Event;
use crate::mutation::{Action, Mutation, Outcome, Task};

/// Events that no call has claimed yet, in the order of the log, by topic and correlation id.
struct Unclaimed<'a>(HashMap<(&'static str, &'a str), Vec<&'a Event>>);

impl<'a> Unclaimed<'a> {
    /// Takes the first event of this call that fits.
    fn claim(
        &mut self,
        topic: &'static str,
        mutation: &'a Mutation,
        fits: impl Fn(&Event) -> bool,
    ) -> Option<&'a Event> {
        let events = self.0.get_mut(&(topic, mutation.correlation.as_str()))?;
        let position = events.iter().position(|event| event.key == mutation.user && fits(event))?;
        Some(events.remove(position))
    }
}

impl Delivery {
    /// Each acknowledged call claims its events by what the client was told. An event that is left over may belong to a call
    /// whose outcome the client does not know; a call that was refused or never sent has none.
    pub(super) fn check_calls<'a>(&mut self, firsts: &[&'a Event], mutations: &[&'a Mutation]) {
        let mut events = HashMap::<_, Vec<&Event>>::new();
        for event in firsts {
            events.entry((event.topic, event.correlation.as_str())).or_default().push(event);
        }
        let mut unclaimed = Unclaimed(events);
        let mut missed = Vec::new();
        for mutation in mutations {
            if let Outcome::Acknowledged { task, reminder } = &mutation.outcome {
                let expected = EVERY_CHANGE.into_iter().chain(reminder.map(|_| REMINDERS));
                for topic in expected {
                    match unclaimed.claim(topic, mutation, |event| says(event, mutation, task, *reminder)) {
                        Some(event) => self.check_trace(event, mutation),
                        None => missed.push((topic, *mutation)),
                    }
                }
            }
        }
        for (topic, mutation) in missed {
            let Mutation { action, correlation, user, .. } = mutation;
            match unclaimed.claim(topic, mutation, |event| is_of_task(event, mutation)) {
                Some(event) => self.wrong.push(format!("{} says {}", event.name(), event.data)),
                None => self.lost.push(format!("{topic} user {user}: {} {correlation}", action.name())),
            }
        }
        for mutation in mutations {
            if matches!(mutation.outcome, Outcome::Unavailable | Outcome::Failed(_)) {
                for topic in EVERY_CHANGE.into_iter().chain([REMINDERS]) {
                    if let Some(event) = unclaimed.claim(topic, mutation, |event| may_be_of(event, mutation))
                    {
                        self.check_trace(event, mutation);
                    }
                }
            }
        }
        let mut left: Vec<_> = unclaimed.0.into_values().flatten().map(Event::name).collect();
        left.sort_unstable();
        self.strange.extend(left);
    }

    fn check_trace(&mut self, event: &Event, mutation: &Mutation) {
        if let Some(traceparent) = &mutation.traceparent
            && *traceparent != event.traceparent
        {
            self.untraced.push(format!("{} has {}, not {traceparent}", event.name(), event.traceparent));
        }
    }
}

/// Whether the event says what the client was answered.
fn says(event: &Event, mutation: &Mutation, task: &Task, reminder: Option<&str>) -> bool {
    let data = &event.data;
    let is_due = text(data, "due_date") == task.due_date.as_deref();
    let is_of_task = text(data, "task_id") == Some(&task.id);
    let says_action = |action: Option<&str>| is_of_task && text(data, "action") == action;
    match event.topic {
        REMINDERS => says_action(reminder) && is_due,
        "task-events" => {
            says_action(Some(mutation.action.name()))
                && is_due
                && text(data, "title") == Some(&task.title)
                && data.get("completed").and_then(Value::as_bool) == Some(task.completed)
        }
        _ => says_action(Some(mutation.action.name())),
    }
}

/// Whether the event is about the task of this call, whatever it says of it.
fn is_of_task(event: &Event, mutation: &Mutation) -> bool {
    let Outcome::Acknowledged { task, .. } = &mutation.outcome else { return false };
    text(&event.data, "task_id") == Some(&task.id)
        || text(&event.data, "action") == Some(mutation.action.name())
}

/// Whether the event can be of this call, whose answer the client did not get.
fn may_be_of(event: &Event, mutation: &Mutation) -> bool {
    let action = match (event.topic, mutation.action) {
        (REMINDERS, Action::Created) => "scheduled",
        (REMINDERS, _) => "rescheduled",
        (_, action) => action.name(),
    };
    let is_of_task =
        mutation.task_id.as_deref().is_none_or(|task| text(&event.data, "task_id") == Some(task));
    is_of_task && text(&event.data, "action") == Some(action)
}

fn text<'a>(data: &'a Value, name: &str) -> Option<&'a str> {
    data.get(name).and_then(Value::as_str)
}
