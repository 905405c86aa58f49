//! A token bucket: how many of something a peer may do per time.
//!
//! Owns the arithmetic only (whole numbers, no drift). Must never read a clock: `now` is an argument.

use crate::units::Micros;
use std::time::Duration;

/// Full at start: `capacity` at once, then one more per `refill`.
#[derive(Clone, Debug)]
pub struct Bucket {
    capacity: u32,
    tokens: u32,
    refill: Duration,
    /// When the last whole token was added.
    filled_at: Micros,
}

impl Bucket {
    pub fn new(capacity: u32, refill: Duration, now: Micros) -> Bucket {
        Bucket { capacity, tokens: capacity, refill: refill.max(Duration::from_micros(1)), filled_at: now }
    }

    /// `count` per second, all of them at once if need be.
    pub fn per_second(count: u32, now: Micros) -> Bucket {
        Bucket::new(count, Duration::from_secs(1) / count.max(1), now)
    }

    /// Takes one token; false when there is none.
    pub fn take(&mut self, now: Micros) -> bool {
        self.fill(now);
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }

    fn fill(&mut self, now: Micros) {
        let refill_us = self.refill.as_micros() as u64;
        let gained = now.since(self.filled_at).as_micros() as u64 / refill_us;
        if gained >= u64::from(self.capacity - self.tokens) {
            self.tokens = self.capacity;
            self.filled_at = self.filled_at.max(now);
        } else {
            self.tokens += gained as u32;
            self.filled_at = Micros(self.filled_at.0 + gained * refill_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_at_once_pass_and_the_next_one_passes_a_twentieth_of_a_second_later() {
        let start = Micros(5_000_000);
        let mut bucket = Bucket::per_second(20, start);
        assert_eq!((0..25).filter(|_| bucket.take(start)).count(), 20);
        assert!(!bucket.take(start + Duration::from_micros(49_999)));
        assert!(bucket.take(start + Duration::from_micros(50_000)));
        assert!(!bucket.take(start + Duration::from_micros(50_001)));
    }

    #[test]
    fn a_long_pause_saves_up_no_more_than_the_capacity() {
        let mut bucket = Bucket::per_second(3, Micros(0));
        let later = Micros(0) + Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| bucket.take(later)).count(), 3);
    }

    #[test]
    fn a_clock_read_out_of_order_gives_nothing_away() {
        let mut bucket = Bucket::per_second(2, Micros(1_000_000));
        assert!(bucket.take(Micros(1_000_000)) && bucket.take(Micros(1_000_000)));
        assert!(!bucket.take(Micros(0)));
        assert!(!bucket.take(Micros(1_000_001)));
    }
}
