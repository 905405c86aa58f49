//! What hosts decide: who holds control, who has which role, who has to go, and the room's rules.
//!
//! Pure. That somebody is a host was judged before (`rights.rs`). Must never leave the room without its last host by a
//! change of role. Input: what was said.

use super::{Action, Moment, Room, refuse};
use crate::config::Role;
use crate::signal::message::ErrorCode;
use crate::signal::room::words::{Leaving, Peers, SeatId, Told};

impl Room {
    pub(super) fn request(&mut self, from: SeatId, withdraw: bool, out: &mut Vec<Action>) {
        let before = self.control.asking.len();
        let asks = self.control.asking.contains(&from);
        if withdraw {
            self.control.asking.retain(|id| *id != from);
        } else if !asks && self.control.holder != Some(from) {
            self.control.asking.push(from);
        }
        if self.control.asking.len() != before {
            self.tell_control(out);
        }
    }

    pub(super) fn set_holder(&mut self, holder: Option<SeatId>, out: &mut Vec<Action>) {
        let before = self.control.clone();
        self.control.holder = holder;
        self.control.asking.retain(|id| Some(*id) != holder);
        if self.control != before {
            self.tell_control(out);
        }
    }

    pub(super) fn tell_control(&self, out: &mut Vec<Action>) {
        out.push(Action::TellAll { told: Told::Control(self.control.clone()), but: None });
    }

    pub(super) fn role(&mut self, at: Moment, from: SeatId, to: SeatId, role: Role, out: &mut Vec<Action>) {
        let is_last = self.people.hosts() == 1 && self.people.get(to).is_some_and(|seat| seat.role == Role::Host);
        if is_last && role != Role::Host {
            return refuse(from, ErrorCode::Refused, "the last host stays host", out);
        }
        let Some(seat) = self.people.get_mut(to) else { return };
        if seat.role == role {
            return;
        }
        seat.role = role;
        seat.table &= role == Role::Host;
        let person = seat.person(at.now);
        out.push(Action::TellAll { told: Told::Peers(Peers { changed: Some(person), ..Peers::default() }), but: None });
        self.open_again(role == Role::Host, out);
    }

    pub(super) fn kick(&mut self, at: Moment, from: SeatId, to: SeatId, out: &mut Vec<Action>) {
        if from == to || self.people.get(to).is_none() {
            return refuse(from, ErrorCode::UnknownSeat, "there is nobody of this number to be put out", out);
        }
        self.leave(at, to, Leaving::Kicked, out);
    }

    pub(super) fn set_rules(&mut self, closed: Option<bool>, muted: Option<bool>, out: &mut Vec<Action>) {
        self.closed = closed.unwrap_or(self.closed);
        self.hostless &= closed.is_none();
        self.muted = muted.unwrap_or(self.muted);
        self.tell_rules(out);
    }

    pub(super) fn tell_rules(&self, out: &mut Vec<Action>) {
        let told = Told::Room { closed: self.is_closed(), muted: self.is_muted() };
        out.push(Action::TellAll { told, but: None });
    }

    /// A host is back.
    pub(super) fn open_again(&mut self, host: bool, out: &mut Vec<Action>) {
        if host && std::mem::take(&mut self.hostless) {
            self.tell_rules(out);
        }
    }
}
