//! What takes turns within an instance, so that nobody who sends many requests at once takes all of a component's 64 connections:
//! a user's mutations, which in the database would wait for each other anyway, for the row that numbers the user's
//! changes; a user's lists; a user's reads of single tasks; and checks of the health.

use std::cell::RefCell;
use std::collections::VecDeque;

use spin_sdk::wasip3::wit_bindgen::StreamWriter;
use spin_sdk::wasip3::wit_stream;
use uuid::Uuid;

/// Where to stand in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// A user's mutations.
    Mutations(Uuid),
    /// A user's lists.
    Lists(Uuid),
    /// A user's reads of single tasks.
    Reads(Uuid),
    /// Checks of the health.
    Health,
}

thread_local! {
    static LINES: RefCell<Lines<StreamWriter<u8>>> = const { RefCell::new(Lines { of: Vec::new(), tickets: 0 }) };
}

/// Waits until nobody who came before is at it in this instance. The turn lasts until the value is dropped.
pub async fn take(line: Line) -> Turn {
    // One request can't wake another by Rust's own means, but a stream of the component model whose writer goes away does.
    let (ticket, called) = LINES.with_borrow_mut(|lines| lines.join(line, wit_stream::new::<u8>));
    let turn = Turn { line, ticket };
    if let Some(mut called) = called {
        called.next().await;
    }
    turn
}

/// A place at the head of a line, or in it.
pub struct Turn {
    line: Line,
    ticket: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        LINES.with_borrow_mut(|lines| lines.leave(self.line, self.ticket));
    }
}

/// Who stands in each line; whoever is first has the turn. A `Call` calls who waits for it by being dropped.
struct Lines<Call> {
    of: Vec<(Line, VecDeque<Place<Call>>)>,
    tickets: u64,
}

struct Place<Call> {
    ticket: u64,
    /// Until it is called.
    call: Option<Call>,
}

impl<Call> Lines<Call> {
    /// A ticket, and what to wait for, unless it is its turn at once.
    fn join<Called>(
        &mut self,
        line: Line,
        new_call: impl FnOnce() -> (Call, Called),
    ) -> (u64, Option<Called>) {
        self.tickets += 1;
        let ticket = self.tickets;
        match self.of.iter_mut().find(|(of, _)| *of == line) {
            None => {
                self.of.push((line, VecDeque::from([Place { ticket, call: None }])));
                (ticket, None)
            }
            Some((_, places)) => {
                let (call, called) = new_call();
                places.push_back(Place { ticket, call: Some(call) });
                (ticket, Some(called))
            }
        }
    }

    /// Whoever is first now is called.
    fn leave(&mut self, line: Line, ticket: u64) {
        let Some((_, places)) = self.of.iter_mut().find(|(of, _)| *of == line) else { return };
        places.retain(|place| place.ticket != ticket);
        match places.front_mut() {
            Some(first) => drop(first.call.take()),
            None => self.of.retain(|(of, _)| *of != line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::{Rc, Weak};

    const USER: Line = Line::Mutations(Uuid::from_u128(1));
    const OTHER: Line = Line::Mutations(Uuid::from_u128(2));

    /// It is gone once it was called.
    fn new_call() -> (Rc<()>, Weak<()>) {
        let call = Rc::new(());
        (call.clone(), Rc::downgrade(&call))
    }

    fn is_called(called: &Weak<()>) -> bool {
        called.upgrade().is_none()
    }

    fn lines() -> Lines<Rc<()>> {
        Lines { of: Vec::new(), tickets: 0 }
    }

    #[test]
    fn a_users_mutations_take_turns_and_wait_for_nobody_else() {
        let mut lines = lines();
        let (first, none) = lines.join(USER, new_call);
        assert!(none.is_none());
        let (second, second_called) = lines.join(USER, new_call);
        let (third, third_called) = lines.join(USER, new_call);
        let (second_called, third_called) = (second_called.unwrap(), third_called.unwrap());
        assert!(lines.join(OTHER, new_call).1.is_none());
        assert!(lines.join(Line::Lists(Uuid::from_u128(1)), new_call).1.is_none());
        assert!(!is_called(&second_called));
        lines.leave(USER, first);
        assert!(is_called(&second_called) && !is_called(&third_called));
        lines.leave(USER, second);
        assert!(is_called(&third_called));
        lines.leave(USER, third);
        assert!(lines.join(USER, new_call).1.is_none());
    }

    #[test]
    fn who_gives_up_is_passed_over_whether_waiting_or_called() {
        let mut lines = lines();
        let (first, _) = lines.join(USER, new_call);
        let (second, second_called) = lines.join(USER, new_call);
        let (third, _) = lines.join(USER, new_call);
        let (_, fourth_called) = lines.join(USER, new_call);
        lines.leave(USER, third);
        assert!(!is_called(&second_called.unwrap()));
        lines.leave(USER, first);
        lines.leave(USER, second);
        assert!(is_called(&fourth_called.unwrap()));
    }

    #[test]
    fn users_without_mutations_are_forgotten() {
        let mut lines = lines();
        let (ticket, _) = lines.join(USER, new_call);
        lines.leave(USER, ticket);
        assert!(lines.of.is_empty());
    }
}
