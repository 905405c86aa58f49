//! A bell that ends a source's wait for the next picture, so that a change asked for meanwhile happens at once.
//!
//! Owns one eventfd. Ringing never blocks; rings that nobody heard yet are one. Input: whoever asks for a change.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub struct Bell(OwnedFd);

impl Bell {
    pub fn new() -> io::Result<Bell> {
        Ok(Bell(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    pub fn ring(&self) {
        // it fails only when the count is full: then it rings already
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Heard: the next wait is a whole one.
    pub fn silence(&self) {
        // it fails only when nobody rang
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn rings(bell: &Bell) -> bool {
        let mut fds = [PollFd::new(bell, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll works") == 1
    }

    #[test]
    fn a_bell_rings_until_it_is_silenced() {
        let bell = Bell::new().expect("an eventfd");
        bell.silence();
        assert!(!rings(&bell));
        (0..3).for_each(|_| bell.ring());
        assert!(rings(&bell) && rings(&bell));
        bell.silence();
        assert!(!rings(&bell), "three rings are one");
    }
}
