//! Who is in the room: seats, names, roles, and the 30 s in which somebody may come back to theirs.
//!
//! Pure. Owns every seat; must never hand out a `resume` token to anybody but its own seat. Input: what access knows of
//! somebody (`Identity`), the name they wish for, the state of their transports.

use crate::config::Role;
use crate::output::ViewerId;
use crate::output::giving_way::who_goes;
use crate::signal::bucket::Bucket;
use crate::signal::identity::{Identity, Proof};
use crate::signal::room::Moment;
use crate::signal::room::snapshot;
use crate::signal::room::words::{Person, Report, SeatId};
use crate::units::Micros;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// A seat is kept so long after its last transport went.
pub const KEPT: Duration = Duration::from_secs(30);
/// Somebody put out may not come back for so long.
const PUT_OUT: Duration = Duration::from_secs(60);
const PUT_OUT_KNOWN: usize = 64;
const NAME_CHARACTERS: usize = 32;
/// Chat: so many lines at once, one more per second.
const CHAT_LINES: u32 = 5;
const RELAYED_PER_S: u32 = 20;
/// What goes to everybody (requests, roles, rules) or to the disk (links): so much at once, two more per second.
const WEIGHTY: u32 = 10;

/// What somebody comes in with.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub identity: Identity,
    /// The name they wish for; counts only when access knows none.
    pub wish: String,
    /// From an earlier stay.
    pub resume: Option<String>,
    /// A fresh secret, for a new seat.
    pub token: String,
    /// Their network.
    pub from: IpAddr,
    /// False for those who only watch (WHEP).
    pub talks: bool,
}

/// SHA-256 of a `resume` token: what is on the disk gives no seat to whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    fn of(token: &str) -> Digest {
        Digest(digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    pub fn parse(text: &str) -> Option<Digest> {
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("two digits");
        Some(Digest(std::array::from_fn(byte)))
    }

    fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A seat as the next run finds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub id: SeatId,
    pub name: String,
    pub role: Role,
    pub identity: Identity,
    /// The SHA-256 of it.
    pub resume: String,
    pub from: IpAddr,
    pub joined_ms: u64,
}

/// Somebody who may not come back yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PutOut {
    mark: Mark,
    /// Unix time, for the next run.
    until_ms: u64,
    #[serde(skip)]
    until: Micros,
}

pub struct Seat {
    pub id: SeatId,
    pub name: String,
    pub role: Role,
    pub identity: Identity,
    /// Empty after a restart, until it was shown again.
    pub resume: String,
    pub digest: Digest,
    pub from: IpAddr,
    pub talks: bool,
    /// Its WebSocket is open.
    pub socket: bool,
    /// The viewer it watches through, and whether that has connected.
    pub viewer: Option<ViewerId>,
    pub watching: bool,
    /// It has had the picture.
    pub watched: bool,
    pub joined_at: Micros,
    /// Unix time.
    pub joined_ms: u64,
    /// Since when nothing of it is left.
    pub gone_at: Option<Micros>,
    pub chat: Bucket,
    pub relayed: Bucket,
    pub weighty: Bucket,
    pub report: Option<Report>,
    /// Wants the table of who watches.
    pub table: bool,
}

impl Seat {
    /// Nobody is there yet.
    fn new(at: Moment, kept: Kept, digest: Digest) -> Seat {
        let Kept { id, name, role, identity, from, joined_ms, .. } = kept;
        Seat {
            id,
            name,
            role,
            identity,
            resume: String::new(),
            digest,
            from,
            talks: true,
            socket: false,
            viewer: None,
            watching: false,
            watched: false,
            joined_at: snapshot::back(at, joined_ms),
            joined_ms,
            gone_at: Some(at.now),
            chat: Bucket::new(CHAT_LINES, Duration::from_secs(1), at.now),
            relayed: Bucket::per_second(RELAYED_PER_S, at.now),
            weighty: Bucket::new(WEIGHTY, Duration::from_millis(500), at.now),
            report: None,
            table: false,
        }
    }

    fn kept(&self) -> Kept {
        Kept {
            id: self.id,
            name: self.name.clone(),
            role: self.role,
            identity: self.identity.clone(),
            resume: self.digest.text(),
            from: self.from,
            joined_ms: self.joined_ms,
        }
    }

    pub fn person(&self, now: Micros) -> Person {
        Person {
            id: self.id,
            name: self.name.clone(),
            role: self.role,
            watching: self.watching,
            joined_s: now.since(self.joined_at).as_secs(),
        }
    }

    fn is_there(&self) -> bool {
        self.socket || self.viewer.is_some()
    }
}

#[derive(Default)]
pub struct People {
    seats: BTreeMap<SeatId, Seat>,
    last: u64,
    put_out: Vec<PutOut>,
}

/// By what somebody put out is known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mark {
    /// Those whom access knows cannot change their identity away.
    Known(Identity),
    Network(IpAddr),
    /// On this machine everybody has the same address.
    Here(String),
}

impl Mark {
    fn of(identity: &Identity, wish: &str, from: IpAddr) -> Mark {
        match identity.proof {
            Proof::User | Proof::Link(_) => Mark::Known(identity.clone()),
            Proof::None | Proof::Password if from.is_loopback() => Mark::Here(wish.to_string()),
            Proof::None | Proof::Password => Mark::Network(from),
        }
    }
}

impl People {
    pub fn get(&self, id: SeatId) -> Option<&Seat> {
        self.seats.get(&id)
    }

    pub fn get_mut(&mut self, id: SeatId) -> Option<&mut Seat> {
        self.seats.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Seat> {
        self.seats.values()
    }

    pub fn len(&self) -> usize {
        self.seats.len()
    }

    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    pub fn hosts(&self) -> usize {
        self.iter().filter(|seat| seat.role == Role::Host && seat.talks).count()
    }

    pub fn list(&self, now: Micros) -> Vec<Person> {
        self.iter().map(|seat| seat.person(now)).collect()
    }

    /// The seat that a token belongs to, if it comes back from the one it was given to.
    pub fn kept_for(&self, resume: &str, identity: &Identity) -> Option<SeatId> {
        // of equal hashes the token is the same: how long comparing them takes says nothing of it
        let wanted = Digest::of(resume);
        let same = |seat: &&Seat| !resume.is_empty() && seat.digest == wanted;
        self.iter().find(same).filter(|seat| seat.identity == *identity).map(|seat| seat.id)
    }

    /// Of those who might still come back, the one gone longest.
    pub fn longest_gone(&self) -> Option<SeatId> {
        let gone = self.iter().filter_map(|seat| seat.gone_at.map(|at| (at, seat.id)));
        gone.min().map(|(_, id)| id)
    }

    /// Of those who have a socket and never had the picture.
    pub fn gives_way(&self, newcomer: IpAddr) -> Option<SeatId> {
        let silent = self.iter().filter(|seat| seat.talks && !seat.watched);
        who_goes(silent.map(|seat| (seat.from, seat.id)), newcomer)
    }

    pub fn is_put_out(&mut self, now: Micros, arrival: &Arrival) -> bool {
        self.put_out.retain(|known| now < known.until);
        let mark = Mark::of(&arrival.identity, &clean_name(&arrival.wish), arrival.from);
        self.put_out.iter().any(|known| known.mark == mark)
    }

    pub fn seat(&mut self, at: Moment, arrival: Arrival) -> SeatId {
        self.last += 1;
        let id = SeatId(self.last);
        let known = clean_name(&arrival.identity.name);
        let wish = if known.is_empty() { clean_name(&arrival.wish) } else { known };
        let kept = Kept {
            id,
            name: self.free_name(wish),
            role: arrival.identity.role,
            identity: arrival.identity,
            resume: String::new(),
            from: arrival.from,
            joined_ms: at.unix_ms,
        };
        let digest = Digest::of(&arrival.token);
        let seat = Seat { resume: arrival.token, talks: arrival.talks, ..Seat::new(at, kept, digest) };
        self.seats.insert(id, seat);
        id
    }

    /// After a change of a seat's transports.
    pub fn note_presence(&mut self, now: Micros, id: SeatId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.gone_at = if seat.is_there() { None } else { seat.gone_at.or(Some(now)) };
        }
    }

    pub fn leave(&mut self, id: SeatId) -> Option<Seat> {
        self.seats.remove(&id)
    }

    pub fn put_out(&mut self, at: Moment, id: SeatId) -> Option<Seat> {
        let seat = self.seats.remove(&id)?;
        if self.put_out.len() == PUT_OUT_KNOWN {
            self.put_out.remove(0);
        }
        let mark = Mark::of(&seat.identity, &seat.name, seat.from);
        let until_ms = at.unix_ms + PUT_OUT.as_millis() as u64;
        self.put_out.push(PutOut { mark, until_ms, until: at.now + PUT_OUT });
        Some(seat)
    }

    /// Those whose time to come back is over.
    pub fn lost(&self, now: Micros) -> Vec<SeatId> {
        self.iter().filter(|seat| seat.gone_at.is_some_and(|at| now >= at + KEPT)).map(|seat| seat.id).collect()
    }

    pub fn next_loss(&self) -> Option<Micros> {
        self.iter().filter_map(|seat| seat.gone_at).min().map(|at| at + KEPT)
    }

    pub fn came_by_link(&self, link: &str) -> Vec<SeatId> {
        let by_it = |seat: &&Seat| matches!(&seat.identity.proof, Proof::Link(id) if id == link);
        self.iter().filter(by_it).map(|seat| seat.id).collect()
    }

    pub fn last_id(&self) -> u64 {
        self.last
    }

    /// Those who could come back: not who only watches.
    pub fn kept(&self) -> Vec<Kept> {
        self.iter().filter(|seat| seat.talks).map(Seat::kept).collect()
    }

    pub fn put_out_list(&self) -> &[PutOut] {
        &self.put_out
    }

    /// What an earlier run left, among nobody.
    pub fn restore(&mut self, at: Moment, last: u64, seats: Vec<Kept>, put_out: Vec<PutOut>) {
        self.last = last;
        for seat in seats {
            let Some(digest) = Digest::parse(&seat.resume) else { continue };
            let name = self.free_name(clean_name(&seat.name));
            self.seats.entry(seat.id).or_insert_with(|| Seat::new(at, Kept { name, ..seat }, digest));
        }
        let still = put_out.into_iter().filter(|known| at.unix_ms < known.until_ms).take(PUT_OUT_KNOWN);
        self.put_out =
            still.map(|known| PutOut { until: snapshot::ahead(at, known.until_ms, PUT_OUT), ..known }).collect();
    }

    fn free_name(&self, wish: String) -> String {
        let wish = if wish.is_empty() { "Guest".into() } else { wish };
        let taken = |name: &str| self.iter().any(|seat| seat.name.to_lowercase() == name.to_lowercase());
        if !taken(&wish) {
            return wish;
        }
        let numbered = |number: u32| {
            let end = format!(" {number}");
            let room = NAME_CHARACTERS - end.len();
            wish.chars().take(room).chain(end.chars()).collect::<String>()
        };
        (2..).map(numbered).find(|name| !taken(name)).expect("there are more numbers than seats")
    }
}

/// One line, no control or direction characters, at most 32 characters.
pub fn clean_name(wish: &str) -> String {
    let shown = |c: &char| !c.is_control() && !is_direction_mark(*c);
    let words: Vec<String> =
        wish.split_whitespace().map(|word| word.chars().filter(shown).collect::<String>()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(NAME_CHARACTERS).collect::<String>().trim_end().to_string()
}

/// Characters that turn the text around them, by which a name could pass for another or spoil a line (Unicode UAX 9).
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Moment {
        Moment { now: Micros(0), unix_ms: 0 }
    }

    fn arrival(wish: &str) -> Arrival {
        Arrival {
            identity: Identity::at_home(),
            wish: wish.into(),
            resume: None,
            token: format!("secret of {wish}"),
            from: IpAddr::from([127, 0, 0, 1]),
            talks: true,
        }
    }

    #[test]
    fn names_are_clean_short_and_their_own() {
        assert_eq!(clean_name("  Ann\u{0}\tof \u{202e}the\n Lab "), "Ann of the Lab");
        assert_eq!(clean_name(&"x".repeat(100)).chars().count(), 32);
        let mut people = People::default();
        let names: Vec<String> = ["Ann", "Ann", "", "Ann"]
            .iter()
            .map(|wish| {
                let id = people.seat(start(), arrival(wish));
                people.get(id).unwrap().name.clone()
            })
            .collect();
        assert_eq!(names, ["Ann", "Ann 2", "Guest", "Ann 3"]);
        let long = "y".repeat(32);
        people.seat(start(), arrival(&long));
        let second = people.seat(start(), arrival(&long));
        assert_eq!(people.get(second).unwrap().name, format!("{} 2", "y".repeat(30)));
    }

    #[test]
    fn a_seat_is_kept_for_thirty_seconds() {
        let mut people = People::default();
        let id = people.seat(start(), arrival("Ann"));
        people.get_mut(id).unwrap().socket = true;
        people.note_presence(Micros(0), id);
        assert_eq!(people.next_loss(), None);
        people.get_mut(id).unwrap().socket = false;
        people.note_presence(Micros(1_000_000), id);
        assert_eq!(people.kept_for("secret of Ann", &Identity::at_home()), Some(id));
        assert_eq!(people.kept_for("secret of Bob", &Identity::at_home()), None);
        assert_eq!(people.kept_for("", &Identity::at_home()), None);
        let other = Identity { name: "Bob".into(), ..Identity::at_home() };
        assert_eq!(people.kept_for("secret of Ann", &other), None, "a token in other hands");
        assert!(people.lost(Micros(30_999_999)).is_empty());
        assert_eq!(people.lost(Micros(31_000_000)), [id]);
    }

    #[test]
    fn who_was_put_out_is_known_for_a_minute() {
        let mut people = People::default();
        let id = people.seat(start(), arrival("Ann"));
        people.put_out(start(), id);
        assert!(people.is_put_out(Micros(59_000_000), &arrival("Ann")));
        assert!(!people.is_put_out(Micros(59_000_000), &arrival("Bob")), "another one on this machine");
        let far = |wish: &str| Arrival { from: IpAddr::from([192, 0, 2, 7]), ..arrival(wish) };
        let id = people.seat(start(), far("Cat"));
        people.put_out(start(), id);
        assert!(people.is_put_out(Micros(1), &far("Dan")), "another name does not help");
        assert!(!people.is_put_out(Micros(60_000_000), &arrival("Ann")));
        for _ in 0..1000 {
            let id = people.seat(start(), arrival("Bob"));
            people.put_out(start(), id);
        }
        assert!(people.put_out.len() <= PUT_OUT_KNOWN);
    }
}
