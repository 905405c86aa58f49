//! One log line per cause, then a count: keeps a fault that repeats 30 times a second from filling the log.
//!
//! Pure: `now` comes in, what to say goes out. Must never hold more causes than its bound. Input: whoever is about to
//! log something that may repeat.

use crate::units::Micros;
use std::time::Duration;

/// What to do with a message about a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// First time: log it.
    Now,
    /// Log it with `(N more times in the last 30 s)`: the window is over and it came N times since the last line,
    /// this time included.
    Count(u64),
    /// Log nothing; it was counted.
    Nothing,
}

pub struct RepeatFilter {
    window: Duration,
    max_causes: usize,
    causes: Vec<Cause>,
}

struct Cause {
    text: String,
    said_at: Micros,
    seen_at: Micros,
    unsaid: u64,
}

impl RepeatFilter {
    pub fn new(window: Duration, max_causes: usize) -> RepeatFilter {
        RepeatFilter { window, max_causes: max_causes.max(1), causes: Vec::new() }
    }

    pub fn observe(&mut self, now: Micros, cause: &str) -> Say {
        // quiet for two windows: the next time is news again
        let forget_after = self.window * 2;
        self.causes.retain(|known| now.since(known.seen_at) < forget_after);
        if let Some(known) = self.causes.iter_mut().find(|known| known.text == cause) {
            return known.again(now, self.window);
        }
        if self.causes.len() >= self.max_causes {
            self.drop_the_oldest();
        }
        self.causes.push(Cause { text: cause.to_owned(), said_at: now, seen_at: now, unsaid: 0 });
        Say::Now
    }

    fn drop_the_oldest(&mut self) {
        let oldest = self.causes.iter().enumerate().min_by_key(|(_, cause)| cause.seen_at).map(|(at, _)| at);
        if let Some(at) = oldest {
            self.causes.swap_remove(at);
        }
    }
}

impl Cause {
    fn again(&mut self, now: Micros, window: Duration) -> Say {
        self.seen_at = now;
        self.unsaid += 1;
        if now.since(self.said_at) < window {
            return Say::Nothing;
        }
        self.said_at = now;
        Say::Count(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    fn second(s: u64) -> Micros {
        Micros(s * 1_000_000)
    }

    #[test]
    fn a_cause_is_said_once_and_then_counted_once_per_window() {
        let mut filter = RepeatFilter::new(WINDOW, 64);
        assert_eq!(filter.observe(second(0), "busy"), Say::Now);
        for s in 1..30 {
            assert_eq!(filter.observe(second(s), "busy"), Say::Nothing);
        }
        assert_eq!(filter.observe(second(30), "busy"), Say::Count(30));
        assert_eq!(filter.observe(second(31), "busy"), Say::Nothing);
    }

    #[test]
    fn another_cause_is_said_at_once() {
        let mut filter = RepeatFilter::new(WINDOW, 64);
        assert_eq!(filter.observe(second(0), "busy"), Say::Now);
        assert_eq!(filter.observe(second(0), "missing"), Say::Now);
        assert_eq!(filter.observe(second(1), "busy"), Say::Nothing);
    }

    #[test]
    fn after_a_long_quiet_the_cause_is_news_again() {
        let mut filter = RepeatFilter::new(WINDOW, 64);
        assert_eq!(filter.observe(second(0), "busy"), Say::Now);
        assert_eq!(filter.observe(second(60), "busy"), Say::Now);
    }

    #[test]
    fn causes_without_end_stay_within_the_bound() {
        let mut filter = RepeatFilter::new(WINDOW, 4);
        for number in 0..1000 {
            assert_eq!(filter.observe(Micros(number), &number.to_string()), Say::Now);
            assert!(filter.causes.len() <= 4);
        }
        assert_eq!(filter.observe(Micros(1000), "999"), Say::Nothing, "the newest are the ones kept");
    }
}
