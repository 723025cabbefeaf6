//! Looking at who reads what we print.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether nobody reads our output any more, as `head` does when it has seen enough. A write would say so, too, but only
/// when there is something to write.
pub fn is_closed() -> bool {
    let stdout = io::stdout();
    // Not asked for anything: that the other end is gone is told always.
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let told = poll(&mut polled, Some(&at_once)).unwrap_or_default();
    told > 0 && polled.iter().any(|stdout| stdout.revents().intersects(PollFlags::ERR | PollFlags::HUP))
}
