//! Where a viewer really is, when its NAT gives it another port in mid-stream.
//!
//! ICE leaves moving to the controlling side, which often does not notice: its own address is the same as before. So:
//! when the path in use falls silent while authenticated checks keep coming from one other address, that address
//! stands in for the known one, both ways, and the ICE agent never learns of it. Pure.

use crate::units::Micros;
use std::net::SocketAddr;
use std::time::Duration;

/// Longer than the time between two checks of one path (browsers: 2.5 s).
const SILENT_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub struct Path {
    /// Where the ICE agent sends media to.
    known: Option<SocketAddr>,
    /// Last authenticated check from `known`.
    heard_at: Micros,
    /// What stands in for `known`.
    real: Option<SocketAddr>,
}

impl Path {
    /// The address the ICE agent is to see a datagram from.
    pub fn seen_from(&self, peer: SocketAddr) -> SocketAddr {
        match self.known {
            Some(known) if self.real == Some(peer) => known,
            _ => peer,
        }
    }

    /// The address a datagram of the ICE agent's really goes to.
    pub fn goes_to(&self, peer: SocketAddr) -> SocketAddr {
        match self.real {
            Some(real) if self.known == Some(peer) => real,
            _ => peer,
        }
    }

    /// Media leaves for `peer` (in the agent's terms).
    pub fn media_to(&mut self, now: Micros, peer: SocketAddr) {
        if self.known != Some(peer) {
            *self = Path { known: Some(peer), heard_at: now, real: None };
        }
    }

    /// A check from `peer` (in the agent's terms) carried the right MESSAGE-INTEGRITY.
    pub fn check_succeeded(&mut self, now: Micros, peer: SocketAddr) {
        if self.known == Some(peer) {
            self.heard_at = now;
        } else if self.known.is_some() && now.since(self.heard_at) >= SILENT_AFTER {
            self.real = Some(peer);
            self.heard_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    fn port(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn an_address_stands_in_only_when_the_known_one_is_silent() {
        let mut path = Path::default();
        path.media_to(at(10), port(1));
        path.check_succeeded(at(11), port(1));
        path.check_succeeded(at(12), port(2));
        assert_eq!((path.goes_to(port(1)), path.seen_from(port(2))), (port(1), port(2)), "both paths live");
        path.check_succeeded(at(14), port(2));
        assert_eq!((path.goes_to(port(1)), path.seen_from(port(2))), (port(2), port(1)), "the old one is silent");
        assert_eq!(path.goes_to(port(3)), port(3), "others are left alone");
    }

    #[test]
    fn a_second_move_replaces_the_first_and_a_nomination_ends_it() {
        let mut path = Path::default();
        path.media_to(at(10), port(1));
        path.check_succeeded(at(13), port(2));
        path.check_succeeded(at(15), port(1));
        path.check_succeeded(at(18), port(3));
        assert_eq!(path.goes_to(port(1)), port(3));
        path.media_to(at(19), port(3));
        assert_eq!((path.goes_to(port(3)), path.goes_to(port(1))), (port(3), port(1)));
    }
}
