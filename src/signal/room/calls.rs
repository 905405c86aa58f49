//! Who may pass messages to whom: a call asks, the other agrees, then both may until one hangs up or goes.
//!
//! Pure. Owns no message. Bounded: a few open questions per seat.

use super::{Action, Moment, Room, not_agreed, refuse};
use crate::signal::message::ErrorCode;
use crate::signal::room::words::{SeatId, Told};
use crate::units::Micros;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Questions of one seat that nobody has answered yet.
const OPEN_QUESTIONS: usize = 4;
/// Bytes of one relayed message.
pub const RELAYED_BYTES: usize = 16 * 1024;
/// A question nobody answers is forgotten.
const ASKED_FOR: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Calls {
    /// Caller and called, and until when the question stands.
    asked: BTreeMap<(SeatId, SeatId), Micros>,
    /// The smaller id first.
    agreed: BTreeSet<(SeatId, SeatId)>,
}

impl Calls {
    /// False: too many questions are open.
    pub fn ask(&mut self, now: Micros, from: SeatId, to: SeatId) -> bool {
        self.asked.retain(|_, until| now < *until);
        let open = self.asked.keys().filter(|(caller, _)| *caller == from).count();
        if open >= OPEN_QUESTIONS && !self.asked.contains_key(&(from, to)) {
            return false;
        }
        self.asked.insert((from, to), now + ASKED_FOR);
        true
    }

    /// Answers the question that `caller` asked; false: there is none.
    pub fn accept(&mut self, now: Micros, called: SeatId, caller: SeatId) -> bool {
        let stands = self.asked.remove(&(caller, called)).is_some_and(|until| now < until);
        if stands {
            self.asked.remove(&(called, caller));
            self.agreed.insert(pair(called, caller));
        }
        stands
    }

    /// Ends a question or a call between two; false: there was neither.
    pub fn end(&mut self, a: SeatId, b: SeatId) -> bool {
        let asked = self.asked.remove(&(a, b)).is_some() | self.asked.remove(&(b, a)).is_some();
        self.agreed.remove(&pair(a, b)) || asked
    }

    pub fn have_agreed(&self, a: SeatId, b: SeatId) -> bool {
        self.agreed.contains(&pair(a, b))
    }

    /// What an earlier run left.
    pub fn restore(&mut self, agreed: impl Iterator<Item = (SeatId, SeatId)>) {
        self.agreed = agreed.map(|(a, b)| pair(a, b)).collect();
    }

    pub fn agreed(&self) -> Vec<(SeatId, SeatId)> {
        self.agreed.iter().copied().collect()
    }

    /// Somebody goes: everybody they had a question or a call with.
    pub fn leave(&mut self, who: SeatId) -> Vec<SeatId> {
        let pairs = self.asked.keys().chain(&self.agreed);
        let mine = pairs.filter(|(a, b)| *a == who || *b == who);
        let others: BTreeSet<SeatId> = mine.map(|(a, b)| if *a == who { *b } else { *a }).collect();
        self.asked.retain(|(a, b), _| *a != who && *b != who);
        self.agreed.retain(|(a, b)| *a != who && *b != who);
        others.into_iter().collect()
    }
}

fn pair(a: SeatId, b: SeatId) -> (SeatId, SeatId) {
    (a.min(b), a.max(b))
}

impl Room {
    pub(super) fn call(&mut self, at: Moment, from: SeatId, to: SeatId, out: &mut Vec<Action>) {
        let name = self.people.get(from).map(|seat| seat.name.clone()).unwrap_or_default();
        match self.calls.ask(at.now, from, to) {
            true => out.push(Action::Tell { to, told: Told::Call { from, name } }),
            false => refuse(from, ErrorCode::TooFast, "too many calls that nobody has answered", out),
        }
    }

    pub(super) fn hang_up(&mut self, from: SeatId, to: SeatId, told: Told, out: &mut Vec<Action>) {
        match self.calls.end(from, to) {
            true => out.push(Action::Tell { to, told }),
            false => not_agreed(from, out),
        }
    }

    pub(super) fn relay(&mut self, at: Moment, from: SeatId, to: SeatId, body: String, out: &mut Vec<Action>) {
        if !self.calls.have_agreed(from, to) {
            return not_agreed(from, out);
        }
        if body.len() > RELAYED_BYTES {
            let words = format!("more than {RELAYED_BYTES} bytes");
            return refuse(from, ErrorCode::TooLong, &words, out);
        }
        let in_time = self.people.get_mut(from).is_some_and(|seat| seat.relayed.take(at.now));
        match in_time {
            true => out.push(Action::Tell { to, told: Told::Relay { from, body } }),
            false => refuse(from, ErrorCode::TooFast, "more than 20 relayed messages per second", out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SeatId = SeatId(1);
    const B: SeatId = SeatId(2);
    const START: Micros = Micros(0);

    #[test]
    fn nothing_passes_before_the_other_agreed_nor_after_the_end() {
        let mut calls = Calls::default();
        assert!(!calls.accept(START, B, A), "nobody asked");
        assert!(calls.ask(START, A, B));
        assert!(!calls.have_agreed(A, B));
        assert!(!calls.accept(START, A, B), "the caller cannot answer for the other");
        assert!(calls.accept(START, B, A));
        assert!(calls.have_agreed(A, B) && calls.have_agreed(B, A));
        assert!(calls.end(B, A));
        assert!(!calls.have_agreed(A, B) && !calls.end(A, B));
    }

    #[test]
    fn questions_are_few_and_do_not_stand_for_ever() {
        let mut calls = Calls::default();
        for to in 2..6 {
            assert!(calls.ask(START, A, SeatId(to)));
        }
        assert!(!calls.ask(START, A, SeatId(6)));
        assert!(calls.ask(START, A, SeatId(5)), "asked again");
        let later = Micros(60_000_000);
        assert!(!calls.accept(later, SeatId(5), A));
        assert!(calls.ask(later, A, SeatId(6)));
    }

    #[test]
    fn who_leaves_takes_every_call_along() {
        let mut calls = Calls::default();
        calls.ask(START, A, B);
        calls.ask(START, SeatId(3), A);
        calls.accept(START, B, A);
        assert_eq!(calls.leave(A), [B, SeatId(3)]);
        assert!(!calls.have_agreed(A, B) && !calls.accept(START, A, SeatId(3)));
    }
}
