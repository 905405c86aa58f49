//! Where a viewer really is: when its NAT gives it another port in mid-stream, and when it chooses another path.
//!
//! The ICE core stays with the first path it was given. But browsers go on: they find a direct path when media flow
//! through a relay already, and nominate it. And when a NAT forgets them, they often do not notice: their own address is
//! the same as before. So another path stands in for the one the core knows, both ways, and the core never learns of it:
//! one that the peer nominates; or, when the path in use falls silent, one that authenticated checks come from. Pure.

use crate::output::webrtc::demux::Ends;
use crate::units::Micros;
use std::time::Duration;

/// Longer than the time between two checks of one path by who checks several (Chromium: 2.5 s; Firefox takes 4 to 6 s, but
/// checks only the one it uses).
const SILENT_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub struct Path {
    /// Where the ICE agent sends media to.
    known: Option<Ends>,
    /// Last authenticated check by `known`.
    heard_at: Micros,
    /// What stands in for `known`.
    real: Option<Ends>,
}

impl Path {
    /// The ends the ICE agent is to see a datagram by.
    pub fn seen_by(&self, ends: Ends) -> Ends {
        match self.known {
            Some(known) if self.real == Some(ends) => known,
            _ => ends,
        }
    }

    /// The way a datagram of the ICE agent's really goes.
    pub fn goes_by(&self, ends: Ends) -> Ends {
        match self.real {
            Some(real) if self.known == Some(ends) => real,
            _ => ends,
        }
    }

    /// The way pictures go; None before the first.
    pub fn in_use(&self) -> Option<Ends> {
        self.real.or(self.known)
    }

    /// Media leave by `ends` (in the agent's terms).
    pub fn media_by(&mut self, now: Micros, ends: Ends) {
        if self.known != Some(ends) {
            *self = Path { known: Some(ends), heard_at: now, real: None };
        }
    }

    /// A check by `ends` (in the agent's terms) carried the right MESSAGE-INTEGRITY.
    pub fn check_succeeded(&mut self, now: Micros, ends: Ends) {
        if self.known == Some(ends) {
            self.heard_at = now;
        } else if self.known.is_some() && now.since(self.heard_at) >= SILENT_AFTER {
            self.real = Some(ends);
            self.heard_at = now;
        }
    }

    /// Such a check, which came by `ends` (as they are), nominates them: the controlling side wants its media there.
    pub fn nominated(&mut self, now: Micros, ends: Ends) {
        if self.known.is_some() {
            self.real = Some(ends).filter(|_| self.known != Some(ends));
            self.heard_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn at(seconds: u64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    fn port(port: u16) -> Ends {
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        Ends { local: address(8189), peer: address(port), tcp: false }
    }

    #[test]
    fn another_path_stands_in_only_when_the_known_one_is_silent() {
        let mut path = Path::default();
        path.media_by(at(10), port(1));
        path.check_succeeded(at(11), port(1));
        path.check_succeeded(at(12), port(2));
        assert_eq!((path.goes_by(port(1)), path.seen_by(port(2))), (port(1), port(2)), "both paths live");
        path.check_succeeded(at(14), port(2));
        assert_eq!((path.goes_by(port(1)), path.seen_by(port(2))), (port(2), port(1)), "the old one is silent");
        assert_eq!(path.goes_by(port(3)), port(3), "others are left alone");
    }

    #[test]
    fn a_second_move_replaces_the_first_and_a_choice_of_the_agent_ends_it() {
        let mut path = Path::default();
        path.media_by(at(10), port(1));
        path.check_succeeded(at(13), port(2));
        path.check_succeeded(at(15), port(1));
        path.check_succeeded(at(18), port(3));
        assert_eq!(path.goes_by(port(1)), port(3));
        path.media_by(at(19), port(3));
        assert_eq!((path.goes_by(port(3)), path.goes_by(port(1))), (port(3), port(1)));
    }

    #[test]
    fn media_follow_a_nomination_at_once_and_back() {
        let mut path = Path::default();
        path.nominated(at(9), port(2));
        assert_eq!(path.in_use(), None, "the agent chooses the first path");
        path.media_by(at(10), port(1));
        path.nominated(at(10), port(2));
        assert_eq!((path.goes_by(port(1)), path.in_use()), (port(2), Some(port(2))));
        let by_tcp = Ends { tcp: true, ..port(2) };
        assert_eq!((path.seen_by(by_tcp), path.seen_by(port(2))), (by_tcp, port(1)), "the protocol counts");
        path.nominated(at(11), port(1));
        assert_eq!((path.goes_by(port(1)), path.in_use()), (port(1), Some(port(1))));
    }
}
