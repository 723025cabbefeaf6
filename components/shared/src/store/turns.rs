//! A user's mutations take turns within an instance. In the database they would wait for each other anyway, for the row that
//! numbers the user's changes, but there each would hold one of the component's 64 connections meanwhile: one user who sends
//! many at once would leave none to anybody else.

use std::cell::RefCell;
use std::collections::VecDeque;

use spin_sdk::wasip3::wit_bindgen::StreamWriter;
use spin_sdk::wasip3::wit_stream;
use uuid::Uuid;

thread_local! {
    static LINES: RefCell<Lines<StreamWriter<u8>>> = const { RefCell::new(Lines { of: Vec::new(), tickets: 0 }) };
}

/// Waits until no other mutation of the user is under way in this instance. The turn lasts until the value is dropped.
pub(super) async fn take(user: Uuid) -> Turn {
    // One request can't wake another by Rust's own means, but a stream of the component model whose writer goes away does.
    let (ticket, called) = LINES.with_borrow_mut(|lines| lines.join(user, wit_stream::new::<u8>));
    let turn = Turn { user, ticket };
    if let Some(mut called) = called {
        called.next().await;
    }
    turn
}

/// A place at the head of a line, or in it.
pub(super) struct Turn {
    user: Uuid,
    ticket: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        LINES.with_borrow_mut(|lines| lines.leave(self.user, self.ticket));
    }
}

/// Of each user with a mutation under way, who waits; whoever is first has the turn. A `Call` calls who waits for it by being
/// dropped.
struct Lines<Call> {
    of: Vec<(Uuid, VecDeque<Place<Call>>)>,
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
        user: Uuid,
        new_call: impl FnOnce() -> (Call, Called),
    ) -> (u64, Option<Called>) {
        self.tickets += 1;
        let ticket = self.tickets;
        match self.of.iter_mut().find(|(of, _)| *of == user) {
            None => {
                self.of.push((user, VecDeque::from([Place { ticket, call: None }])));
                (ticket, None)
            }
            Some((_, line)) => {
                let (call, called) = new_call();
                line.push_back(Place { ticket, call: Some(call) });
                (ticket, Some(called))
            }
        }
    }

    /// Whoever is first now is called.
    fn leave(&mut self, user: Uuid, ticket: u64) {
        let Some((_, line)) = self.of.iter_mut().find(|(of, _)| *of == user) else { return };
        line.retain(|place| place.ticket != ticket);
        match line.front_mut() {
            Some(first) => drop(first.call.take()),
            None => self.of.retain(|(of, _)| *of != user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::{Rc, Weak};

    const USER: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

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
