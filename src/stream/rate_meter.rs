//! How many pictures a second come from a camera whose driver does not say.
//!
//! Pure. Measures once, after the camera has settled: an encoder is opened for a rate, and a wrong one costs bit rate.
//! Must never follow every change: each would open the encoder anew. Input: how many pictures came, and when.

use crate::units::{FrameRate, Micros};
use std::time::Duration;

/// Sensors begin with long exposures, and so with few pictures.
const SETTLE: Duration = Duration::from_secs(1);
const SPAN: Duration = Duration::from_secs(2);
/// What was assumed is good enough within this share of it.
const TOLERANCE: f64 = 0.1;

pub(super) struct RateMeter {
    assumed: FrameRate,
    first: Option<Micros>,
    /// Where the span began, and the pictures before.
    began: Option<(Micros, u64)>,
    pictures: u64,
    is_done: bool,
}

impl RateMeter {
    pub fn new(assumed: FrameRate) -> RateMeter {
        RateMeter { assumed, first: None, began: None, pictures: 0, is_done: false }
    }

    /// Takes note of pictures that came until now. The rate, once, when it is another one than was assumed.
    pub fn count(&mut self, pictures: u64, now: Micros) -> Option<FrameRate> {
        self.pictures += pictures;
        if self.is_done || pictures == 0 || now.since(*self.first.get_or_insert(now)) < SETTLE {
            return None;
        }
        let (start, before) = *self.began.get_or_insert((now, self.pictures));
        let span = now.since(start);
        if span < SPAN {
            return None;
        }
        self.is_done = true;
        let measured = ((self.pictures - before) as f64 / span.as_secs_f64()).round().max(1.0);
        let assumed = self.assumed.as_f64();
        ((measured - assumed).abs() > TOLERANCE * assumed).then_some(FrameRate::per_second(measured as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is said of a camera that gives `fps` pictures a second, `at_once` in a row, for ten seconds.
    fn told(assumed: u32, fps: u64, at_once: u64) -> Vec<u32> {
        let mut meter = RateMeter::new(FrameRate::per_second(assumed));
        let looks = (1..=10 * fps / at_once).map(|look| Micros(7_000_000 + look * at_once * 1_000_000 / fps));
        looks.filter_map(|now| meter.count(at_once, now)).map(|rate| rate.frames).collect()
    }

    #[test]
    fn a_rate_that_is_not_the_assumed_one_is_told_once() {
        assert_eq!(told(30, 25, 1), [25]);
        assert_eq!(told(30, 60, 3), [60]);
        assert_eq!(told(15, 5, 1), [5]);
        assert!(told(30, 30, 1).is_empty());
        assert!(told(30, 28, 1).is_empty(), "near enough");
    }

    #[test]
    fn slow_first_pictures_do_not_count() {
        let mut meter = RateMeter::new(FrameRate::per_second(30));
        let slow = (0..3).map(|n| n * 330_000);
        let usual = (0..120).map(|n| 1_000_000 + n * 33_333);
        assert!(slow.chain(usual).all(|at| meter.count(1, Micros(at)).is_none()));
    }
}
