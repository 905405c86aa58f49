//! When a key picture may be forced: at most one per 250 ms, however many viewers ask.
//!
//! Pure. A key picture costs as much as five others: without this, one viewer's lost packets would spoil the picture
//! of all. Input: the encode thread's clock.

use crate::units::Micros;
use std::time::Duration;

pub(super) const INTERVAL: Duration = Duration::from_millis(250);

#[derive(Default)]
pub(super) struct KeyGate {
    last: Option<Micros>,
}

impl KeyGate {
    /// Whether a request made by now may be granted.
    pub fn is_open(&self, now: Micros) -> bool {
        self.last.is_none_or(|last| now.since(last) >= INTERVAL)
    }

    /// A key picture is being forced.
    pub fn pass(&mut self, now: Micros) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_requests_gives_four_key_pictures_a_second() {
        let mut gate = KeyGate::default();
        let mut forced = Vec::new();
        for ms in (0..1000).step_by(10) {
            let now = Micros(5_000_000 + ms * 1000);
            if gate.is_open(now) {
                gate.pass(now);
                forced.push(ms);
            }
        }
        assert_eq!(forced, [0, 250, 500, 750]);
    }
}
