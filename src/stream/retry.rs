//! How long to wait before something that failed is tried again, and what of it is worth a log line.
//!
//! Pure. Input: failures of the camera and the encoder, and the clock's `now`.

use crate::units::Micros;
use std::time::Duration;

const WAITS_MS: [u64; 4] = [250, 500, 1000, 2000];
const REPEAT_EVERY: Duration = Duration::from_secs(30);
/// More causes than one outage has; the oldest is forgotten (and would be logged anew).
const CAUSES: usize = 16;

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

/// One line per cause, then a count every 30 s.
#[derive(Default)]
pub(super) struct CauseLog {
    causes: Vec<Cause>,
}

struct Cause {
    text: String,
    count: u64,
    logged_at: Micros,
}

impl CauseLog {
    /// Notes a failure. Some(how often it came so far) when it is worth a line now.
    pub fn note(&mut self, text: &str, now: Micros) -> Option<u64> {
        if let Some(cause) = self.causes.iter_mut().find(|cause| cause.text == text) {
            cause.count += 1;
            let due = now.since(cause.logged_at) >= REPEAT_EVERY;
            if due {
                cause.logged_at = now;
            }
            return due.then_some(cause.count);
        }
        if self.causes.len() == CAUSES {
            self.causes.remove(0);
        }
        self.causes.push(Cause { text: text.into(), count: 1, logged_at: now });
        Some(1)
    }

    /// It works again: the next failure is news.
    pub fn clear(&mut self) {
        self.causes.clear();
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
    fn a_cause_is_told_once_and_then_counted() {
        let (clock, hand) = Clock::test();
        let mut log = CauseLog::default();
        assert_eq!(log.note("no such device", clock.now()), Some(1));
        let mut told = Vec::new();
        for _ in 0..40 {
            hand.advance(Duration::from_secs(2));
            told.extend(log.note("no such device", clock.now()));
        }
        assert_eq!(told, [16, 31], "one line per 30 s");
        assert_eq!(log.note("busy", clock.now()), Some(1), "another cause is news");
        assert_eq!(log.note("no such device", clock.now()), None);
        log.clear();
        assert_eq!(log.note("busy", clock.now()), Some(1));
    }

    #[test]
    fn ever_new_causes_do_not_pile_up() {
        let mut log = CauseLog::default();
        assert!((0..1000).all(|n| log.note(&format!("cause {n}"), Micros(0)) == Some(1)));
        assert_eq!(log.causes.len(), CAUSES);
    }
}
