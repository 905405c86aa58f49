//! Wrong passwords per address and account: each one doubles the wait before the next try.
//!
//! Pure: addresses (already cut to what counts as one), accounts and the time come in. Must never make anybody wait for
//! the mistakes of another address or of another account.

use crate::units::Micros;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

/// Mistakes that are remembered, and for how long.
const ENTRIES: usize = 1024;
const FORGET_AFTER: Duration = Duration::from_secs(900);
const LONGEST_WAIT_S: u64 = 60;

/// Which account a password is for; made-up names share one.
pub type AccountNumber = usize;

#[derive(Default)]
pub struct Backoff {
    mistakes: HashMap<(IpAddr, AccountNumber), Mistakes>,
    /// Addresses with a guess under way. No more entries than connections.
    running: HashSet<IpAddr>,
}

struct Mistakes {
    count: u32,
    wait_until: Micros,
    last: Micros,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// Another guess of this address is under way.
    Later,
    Wait {
        seconds: u32,
    },
}

impl Backoff {
    /// After `Now`, `end` must follow.
    pub fn begin(&mut self, peer: IpAddr, account: AccountNumber, now: Micros) -> Turn {
        if let Some(mistakes) = self.mistakes.get(&(peer, account))
            && now < mistakes.wait_until
        {
            let left = mistakes.wait_until.since(now);
            return Turn::Wait { seconds: left.as_millis().div_ceil(1000) as u32 };
        }
        if self.running.insert(peer) { Turn::Now } else { Turn::Later }
    }

    /// Enters the outcome (None: not known); the wrong ones in a row if this was one, else 0.
    pub fn end(&mut self, peer: IpAddr, account: AccountNumber, right: Option<bool>, now: Micros) -> u32 {
        self.running.remove(&peer);
        match right {
            Some(false) => self.mistake((peer, account), now),
            Some(true) => {
                self.mistakes.remove(&(peer, account));
                0
            }
            None => 0,
        }
    }

    fn mistake(&mut self, who: (IpAddr, AccountNumber), now: Micros) -> u32 {
        if self.mistakes.len() >= ENTRIES && !self.mistakes.contains_key(&who) {
            self.make_room(now);
        }
        let entry = self.mistakes.entry(who).or_insert(Mistakes { count: 0, wait_until: Micros(0), last: now });
        if now.since(entry.last) >= FORGET_AFTER {
            entry.count = 0;
        }
        entry.last = now;
        entry.count += 1;
        let wait = 1u64 << (entry.count - 1).min(16);
        entry.wait_until = now + Duration::from_secs(wait.min(LONGEST_WAIT_S));
        entry.count
    }

    fn make_room(&mut self, now: Micros) {
        self.mistakes.retain(|_, m| now.since(m.last) < FORGET_AFTER);
        if self.mistakes.len() >= ENTRIES {
            let oldest = self.mistakes.iter().min_by_key(|(_, m)| m.last).map(|(who, _)| *who);
            oldest.map(|who| self.mistakes.remove(&who));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn wrong(backoff: &mut Backoff, peer: IpAddr, account: AccountNumber, now: Micros) -> u32 {
        assert_eq!(backoff.begin(peer, account, now), Turn::Now);
        backoff.end(peer, account, Some(false), now)
    }

    #[test]
    fn one_account_waits_and_the_others_of_the_address_do_not() {
        let mut backoff = Backoff::default();
        let mut now = Micros(0);
        for wait in [1u64, 2, 4, 8, 16, 32, 60, 60] {
            wrong(&mut backoff, address(1), 0, now);
            assert_eq!(backoff.begin(address(1), 0, now), Turn::Wait { seconds: wait as u32 });
            for (peer, account) in [(1, 1), (2, 0)] {
                assert_eq!(backoff.begin(address(peer), account, now), Turn::Now);
                backoff.end(address(peer), account, Some(true), now);
            }
            now = now + Duration::from_secs(wait);
        }
        assert_eq!(backoff.begin(address(1), 0, now), Turn::Now);
        backoff.end(address(1), 0, Some(true), now);
        assert_eq!(wrong(&mut backoff, address(1), 0, now), 1);
    }

    #[test]
    fn an_address_has_one_guess_under_way_whatever_the_account() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.begin(address(1), 0, Micros(0)), Turn::Now);
        assert_eq!(backoff.begin(address(1), 1, Micros(0)), Turn::Later);
        assert_eq!(backoff.begin(address(2), 0, Micros(0)), Turn::Now);
        backoff.end(address(1), 0, None, Micros(0));
        assert_eq!(backoff.begin(address(1), 1, Micros(0)), Turn::Now);
    }

    #[test]
    fn remembered_mistakes_are_bounded_and_a_running_guess_is_never_forgotten() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.begin(address(0), 0, Micros(0)), Turn::Now);
        for n in 1..5000u32 {
            wrong(&mut backoff, address(n), 0, Micros(u64::from(n)));
            assert!(backoff.mistakes.len() <= ENTRIES);
        }
        assert_eq!(backoff.begin(address(0), 0, Micros(5000)), Turn::Later);
    }

    #[test]
    fn mistakes_are_forgotten_after_a_quarter_of_an_hour() {
        let mut backoff = Backoff::default();
        for n in 1..=3 {
            let at = Micros(0) + Duration::from_secs(60 * n);
            assert_eq!(wrong(&mut backoff, address(1), 0, at), n as u32);
        }
        let later = Micros(0) + Duration::from_secs(180) + FORGET_AFTER;
        assert_eq!(wrong(&mut backoff, address(1), 0, later), 1);
    }
}
