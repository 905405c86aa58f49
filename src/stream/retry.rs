//! How long to wait before something that failed is tried again, and what of it is worth a log line.
//!
//! Pure. Input: failures of the camera and the encoder, and the clock's `now`.

use crate::repeat::{RepeatFilter, Say};
use crate::units::Micros;
use std::time::Duration;

const WAITS_MS: [u64; 4] = [250, 500, 1000, 2000];
/// 0.25, 0.5, 1, 2, 2 ... s.
#[derive(Default)]
pub(super) struct Backoff {
    failures: usize,
}

impl Backoff {
    pub fn next_wait(&mut self) -> Duration {
        let wait = WAITS_MS[self.failures.min(WAITS_MS.len() - 1)];
        self.failures += 1;
        Duration::from_millis(wait)
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// One line per cause, then a count every 30 s; everything is news again once it worked in between.
pub(super) struct CauseLog(RepeatFilter);

impl Default for CauseLog {
    fn default() -> CauseLog {
        CauseLog(RepeatFilter::new(Duration::from_secs(30), 16))
    }
}

impl CauseLog {
    /// What a line about this failure ends with, if it is worth one.
    pub fn note(&mut self, cause: &str, wait: Duration, now: Micros) -> Option<String> {
        let next = format!("retrying in {} s", wait.as_secs_f64());
        match self.0.observe(now, cause) {
            Say::Now => Some(next),
            Say::Count(more) => Some(format!("{next} ({more} more times in the last 30 s)")),
            Say::Nothing => None,
        }
    }

    pub fn clear(&mut self) {
        *self = CauseLog::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn waits_double_up_to_two_seconds_and_start_over() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..6).map(|_| backoff.next_wait().as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 2000, 2000]);
        backoff.reset();
        assert_eq!(backoff.next_wait().as_millis(), 250);
    }

    #[test]
    fn a_cause_is_told_once_then_counted_and_is_news_after_it_worked() {
        let (clock, hand) = Clock::test();
        let mut log = CauseLog::default();
        let note = |log: &mut CauseLog, cause: &str| log.note(cause, Duration::from_millis(500), clock.now());
        assert_eq!(note(&mut log, "no such device").as_deref(), Some("retrying in 0.5 s"));
        let mut told = Vec::new();
        for _ in 0..40 {
            hand.advance(Duration::from_secs(2));
            told.extend(note(&mut log, "no such device"));
        }
        assert_eq!(told.len(), 2, "one line per 30 s: {told:?}");
        assert!(told[0].contains("more times"), "{told:?}");
        assert!(note(&mut log, "busy").is_some(), "another cause is news");
        assert!(note(&mut log, "busy").is_none());
        log.clear();
        assert!(note(&mut log, "busy").is_some());
    }
}
