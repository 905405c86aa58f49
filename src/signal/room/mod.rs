//! The room: everybody who is here, who may change what, what was said, and the state all see alike. Sans-IO.
//!
//! Owns all of it; one concern per file beside this one. Must never open a socket, wait or read a clock, and never grow
//! with what a peer sends. Input: what the pump saw and `now`; output: actions, in order. A seat is spoken to by its id,
//! over whichever transport it has: that is the pump's business.

mod calls;
mod chat;
mod hosts;
mod keys;
pub mod people;
mod rights;
pub mod snapshot;
mod state;
mod traffic;
mod whole;
pub mod words;

use crate::config::{HostLeaves, Preset, Role};
use crate::signal::message::{ByeReason, ErrorCode};
use crate::stream::adjust::Adjustable;
use crate::units::Micros;
use calls::Calls;
use chat::Chat;
use people::{Arrival, People, Seat};
use state::SharedState;
pub use traffic::{Action, Input, LinkWish, Links, Moment, Rules, TurnedAway};
use words::{ChatLine, Control, Leaving, Peers, Report, RoomWords, Said, SeatId, SeatWords, Seated, Told};

/// A link lives between a minute and 30 days.
const LINK_S: std::ops::RangeInclusive<u64> = 60..=2_592_000;

pub struct Room {
    rules: Rules,
    people: People,
    control: Control,
    /// By a host.
    closed: bool,
    /// Because the last host left (`room.host_leaves`).
    hostless: bool,
    muted: bool,
    chat: Chat,
    calls: Calls,
    state: SharedState,
}

impl Room {
    pub fn new(rules: Rules, presets: Vec<Preset>) -> Room {
        Room {
            rules,
            people: People::default(),
            control: Control::default(),
            closed: false,
            hostless: false,
            muted: false,
            chat: Chat::default(),
            calls: Calls::default(),
            state: SharedState::new(presets),
        }
    }

    /// Somebody is at the door: a seat, an old one or a new one, or why not.
    pub fn join(&mut self, at: Moment, arrival: Arrival, out: &mut Vec<Action>) -> Result<Seated, TurnedAway> {
        let resume = arrival.resume.as_deref().unwrap_or_default();
        let kept = self.people.kept_for(resume, &arrival.identity);
        let (id, resumed) = match kept {
            Some(id) => {
                self.note(id, |seat| seat.resume = resume.to_string());
                (id, true)
            }
            None => {
                self.admit(at, &arrival, out)?;
                let host = arrival.identity.role == Role::Host && arrival.talks;
                let id = self.people.seat(at, arrival);
                self.open_again(host, out);
                (id, false)
            }
        };
        if let Some(person) = self.people.get(id).filter(|_| !resumed).map(|seat| seat.person(at.now)) {
            out.push(Action::TellAll { told: joined(person), but: Some(id) });
        }
        out.push(Action::Tell { to: id, told: self.state.snapshot() });
        Ok(self.welcome(at, id, resumed))
    }

    fn admit(&mut self, at: Moment, arrival: &Arrival, out: &mut Vec<Action>) -> Result<(), TurnedAway> {
        let away = |code, words: &str, retry_after_s| Err(TurnedAway { code, words: words.into(), retry_after_s });
        if self.people.is_put_out(at.now, arrival) {
            return away(ErrorCode::Closed, "a host has asked you to leave; come back later", 60);
        }
        if self.is_closed() && arrival.identity.role < Role::Host {
            return away(ErrorCode::Closed, "the room is closed to newcomers", 10);
        }
        if self.people.len() < self.rules.max_people {
            return Ok(());
        }
        match self.people.longest_gone() {
            Some(gone) => {
                self.leave(at, gone, Leaving::Lost, out);
                Ok(())
            }
            None => match self.people.gives_way(arrival.from) {
                Some(silent) => {
                    self.part(at, silent, Leaving::Lost, ByeReason::OfferTimeout, out);
                    Ok(())
                }
                None => away(ErrorCode::Full, &format!("all {} seats are taken", self.rules.max_people), 5),
            },
        }
    }

    fn welcome(&self, at: Moment, id: SeatId, resumed: bool) -> Seated {
        let seat = self.people.get(id).expect("joined or found just before");
        Seated {
            seat: SeatWords { id, name: seat.name.clone(), role: seat.role },
            resume: seat.resume.clone(),
            resumed,
            logged_in: false,
            viewer: seat.viewer.map(|viewer| viewer.0),
            room: RoomWords {
                people: self.people.list(at.now),
                control: self.control.clone(),
                closed: self.is_closed(),
                muted: self.is_muted(),
                chat: self.chat.lines(),
            },
        }
    }

    pub fn handle(&mut self, at: Moment, input: Input, out: &mut Vec<Action>) {
        match input {
            Input::Socket { seat, open } => self.presence(at, seat, out, |seat| {
                seat.socket = open;
                // the table is for a page that looks at it
                seat.table &= open;
            }),
            Input::Viewer { seat, viewer } => self.presence(at, seat, out, |seat| {
                seat.viewer = viewer;
                seat.watching = false;
            }),
            Input::Watching { seat } => self.presence(at, seat, out, |seat| {
                seat.watching = seat.viewer.is_some();
                seat.watched |= seat.watching;
            }),
            Input::Said { seat, said } => self.said(at, seat, said, out),
            Input::Leaves { seat } => self.leave(at, seat, Leaving::Left, out),
            Input::Adjustable(adjustable) => self.update(at, adjustable, out),
            Input::NotAdjusted { seat, error } => refuse(seat, ErrorCode::BadValue, &error.to_string(), out),
            Input::Revoked { link } => {
                for seat in self.people.came_by_link(link) {
                    self.leave(at, seat, Leaving::Revoked, out);
                }
            }
            Input::Behind { seat } => self.catch_up(seat, out),
            Input::Tick => {
                for seat in self.people.lost(at.now) {
                    self.leave(at, seat, Leaving::Lost, out);
                }
            }
        }
    }

    /// When `Tick` is due.
    pub fn next_deadline(&self) -> Option<Micros> {
        self.people.next_loss()
    }

    pub fn people(&self) -> impl Iterator<Item = &Seat> {
        self.people.iter()
    }

    pub fn len(&self) -> usize {
        self.people.len()
    }

    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    fn is_closed(&self) -> bool {
        self.closed || self.hostless
    }

    fn is_muted(&self) -> bool {
        self.muted || !self.rules.chat
    }

    fn presence(&mut self, at: Moment, id: SeatId, out: &mut Vec<Action>, change: impl FnOnce(&mut Seat)) {
        let Some(seat) = self.people.get_mut(id) else { return };
        let before = seat.watching;
        change(seat);
        let changed = seat.watching != before;
        let person = seat.person(at.now);
        self.people.note_presence(at.now, id);
        if changed {
            out.push(Action::TellAll {
                told: Told::Peers(Peers { changed: Some(person), ..Peers::default() }),
                but: None,
            });
        }
    }

    fn said(&mut self, at: Moment, from: SeatId, said: Said, out: &mut Vec<Action>) {
        let Some(seat) = self.people.get_mut(from) else { return };
        let least = rights::least_role(&said);
        if seat.role < least {
            let words = format!("this needs {}", role_word(least));
            return refuse(from, ErrorCode::Refused, &words, out);
        }
        if rights::is_weighty(&said) && !seat.weighty.take(at.now) {
            return refuse(from, ErrorCode::TooFast, "too many requests at once; this one was dropped", out);
        }
        if let Some(to) = addressee(&said)
            && (to == from && is_call(&said) || self.people.get(to).is_none_or(|seat| !seat.talks))
        {
            return refuse(from, ErrorCode::UnknownSeat, "there is nobody of this number to be reached", out);
        }
        match said {
            Said::Request { withdraw } => self.request(from, withdraw, out),
            Said::Grant { to } => self.set_holder(Some(to), out),
            Said::Revoke => self.set_holder(None, out),
            Said::Release if self.control.holder == Some(from) => self.set_holder(None, out),
            Said::Release => refuse(from, ErrorCode::Refused, "you do not hold control", out),
            Said::Role { to, role } => self.role(at, from, to, role, out),
            Said::Kick { to } => self.kick(at, from, to, out),
            Said::Room { closed, muted } => self.set_rules(closed, muted, out),
            Said::Chat { text } => self.chat(at, from, &text, out),
            Said::Set { base, values } => self.set(at, from, base, &values, out),
            Said::Call { to } => self.call(at, from, to, out),
            Said::Accept { to } => match self.calls.accept(at.now, from, to) {
                true => out.push(Action::Tell { to, told: Told::Accept { from } }),
                false => not_agreed(from, out),
            },
            Said::Decline { to } => self.hang_up(from, to, Told::Decline { from }, out),
            Said::Hangup { to } => self.hang_up(from, to, Told::Hangup { from, reason: None }, out),
            Said::Relay { to, body } => self.relay(at, from, to, body, out),
            Said::Link { role, for_s, name } => match LINK_S.contains(&for_s) {
                true => out.push(Action::Links {
                    seat: from,
                    wish: LinkWish::Make { role, for_s, name: people::clean_name(&name) },
                }),
                false => refuse(from, ErrorCode::BadValue, "a link lives from 60 s to 30 days", out),
            },
            Said::Links => out.push(Action::Links { seat: from, wish: LinkWish::List }),
            Said::Unlink { id } => out.push(Action::Links { seat: from, wish: LinkWish::Revoke { id } }),
            Said::Report(report) => self.note(from, |seat| seat.report = Some(Report::sound(report))),
            Said::Watch { on } => self.note(from, |seat| seat.table = on),
        }
    }

    /// Which lines it has nobody knows: it gets all there are, and leaves out those it had.
    fn catch_up(&self, to: SeatId, out: &mut Vec<Action>) {
        let again = self.chat.lines().into_iter().map(Told::Chat).chain([self.state.snapshot()]);
        out.extend(again.map(|told| Action::Tell { to, told }));
    }

    fn note(&mut self, id: SeatId, change: impl FnOnce(&mut Seat)) {
        if let Some(seat) = self.people.get_mut(id) {
            change(seat);
        }
    }

    fn chat(&mut self, at: Moment, from: SeatId, text: &str, out: &mut Vec<Action>) {
        let muted = self.is_muted();
        let Some(seat) = self.people.get_mut(from) else { return };
        if muted && seat.role < Role::Host {
            return refuse(from, ErrorCode::Muted, "the chat is muted: only hosts may write", out);
        }
        let Some(text) = chat::clean(text) else { return };
        if text.chars().count() > chat::LONGEST {
            let words = format!("more than {} characters", chat::LONGEST);
            return refuse(from, ErrorCode::TooLong, &words, out);
        }
        if !seat.chat.take(at.now) {
            return refuse(from, ErrorCode::TooFast, "more than 5 lines in 5 s; this one was dropped", out);
        }
        let line = ChatLine { from, name: seat.name.clone(), text, at_ms: at.unix_ms };
        let line = self.chat.add(line);
        out.push(Action::TellAll { told: Told::Chat(line), but: None });
    }

    fn set(&mut self, at: Moment, from: SeatId, base: u64, values: &words::Values, out: &mut Vec<Action>) {
        let role = self.people.get(from).map_or(Role::Viewer, |seat| seat.role);
        if !rights::may_set(role, self.control.holder == Some(from), self.control.holder.is_none()) {
            return refuse(from, ErrorCode::Refused, "you do not hold control; ask for it", out);
        }
        match self.state.set(at.now, from, base, values) {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => out.push(Action::Adjust { seat: from, changes }),
            Err((code, words)) => {
                refuse(from, code, &words, out);
                if code == ErrorCode::Stale {
                    out.push(Action::Tell { to: from, told: self.state.snapshot() });
                }
            }
        }
    }

    fn update(&mut self, at: Moment, adjustable: &Adjustable, out: &mut Vec<Action>) {
        let news = self.state.update(at.now, adjustable);
        out.extend(news.told.into_iter().map(|told| Action::TellAll { told, but: None }));
        for (seat, change) in news.changes {
            out.push(Action::Adjust { seat, changes: vec![change] });
        }
    }

    fn leave(&mut self, at: Moment, id: SeatId, why: Leaving, out: &mut Vec<Action>) {
        self.part(at, id, why, bye(why), out);
    }

    /// `why`: for the others; `reason`: for whoever has to go.
    fn part(&mut self, at: Moment, id: SeatId, why: Leaving, reason: ByeReason, out: &mut Vec<Action>) {
        let gone = match why {
            Leaving::Kicked => self.people.put_out(at, id),
            _ => self.people.leave(id),
        };
        let Some(seat) = gone else { return };
        out.push(Action::End { seat: id, reason });
        let told = Told::Peers(Peers { left: Some(id), reason: Some(why), ..Peers::default() });
        out.push(Action::TellAll { told, but: Some(id) });
        for partner in self.calls.leave(id) {
            out.push(Action::Tell { to: partner, told: Told::Hangup { from: id, reason: Some(why) } });
        }
        self.forget(&seat, out);
    }

    /// What hung on somebody who has left.
    fn forget(&mut self, seat: &Seat, out: &mut Vec<Action>) {
        let before = self.control.clone();
        self.control.asking.retain(|id| *id != seat.id);
        self.control.holder = self.control.holder.filter(|holder| *holder != seat.id);
        let last_host = seat.role == Role::Host && seat.talks && self.people.hosts() == 0;
        match self.rules.host_leaves {
            HostLeaves::Release if last_host => self.control.holder = None,
            HostLeaves::Close if last_host => {
                self.hostless = true;
                self.tell_rules(out);
            }
            HostLeaves::Keep | HostLeaves::Release | HostLeaves::Close => {}
        }
        if self.control != before {
            self.tell_control(out);
        }
    }
}

fn joined(person: words::Person) -> Told {
    Told::Peers(Peers { joined: Some(person), ..Peers::default() })
}

fn bye(why: Leaving) -> ByeReason {
    match why {
        Leaving::Left | Leaving::Lost => ByeReason::Left,
        Leaving::Kicked => ByeReason::Kicked,
        Leaving::Revoked => ByeReason::Revoked,
    }
}

/// Somebody who must be there to hear of it.
fn addressee(said: &Said) -> Option<SeatId> {
    match said {
        Said::Grant { to }
        | Said::Role { to, .. }
        | Said::Call { to }
        | Said::Accept { to }
        | Said::Decline { to }
        | Said::Hangup { to }
        | Said::Relay { to, .. } => Some(*to),
        _ => None,
    }
}

fn is_call(said: &Said) -> bool {
    matches!(
        said,
        Said::Call { .. } | Said::Accept { .. } | Said::Decline { .. } | Said::Hangup { .. } | Said::Relay { .. }
    )
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "a viewer",
        Role::Operator => "an operator",
        Role::Host => "a host",
    }
}

fn not_agreed(to: SeatId, out: &mut Vec<Action>) {
    refuse(to, ErrorCode::NotAgreed, "there is no call between you two", out);
}

fn refuse(to: SeatId, code: ErrorCode, words: &str, out: &mut Vec<Action>) {
    out.push(Action::Tell { to, told: Told::Error { code, message: words.chars().take(160).collect() } });
}

#[cfg(test)]
#[path = "room_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "room_random_tests.rs"]
mod random_tests;
