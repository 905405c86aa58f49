//! The files that an earlier run left, damaged in any way.

use rtcam::clock::WallMicros;
use rtcam::config::{HostLeaves, Role};
use rtcam::http::links::{self, Ledger};
use rtcam::http::sessions::{Credential, Sessions};
use rtcam::signal::identity::{Identity, Proof};
use rtcam::signal::room::snapshot::Snapshot;
use rtcam::signal::room::{self, Room, Rules};
use rtcam::units::Micros;
use std::time::Duration;

const NOW: Micros = Micros(60_000_000);
/// In 2026.
const UNIX_S: u64 = 1_780_000_000;
const MOST_PEOPLE: usize = 6;

/// `room.json`, `sessions.json` and `links.json`: each takes what it can read and nothing else, and what it writes it can
/// read again.
pub fn kept(bytes: &[u8]) {
    room(bytes);
    sessions(bytes);
    list_of_links(bytes);
}

fn restored(snapshot: Snapshot, at: room::Moment) -> Room {
    let rules = Rules { host_leaves: HostLeaves::Close, chat: true, max_people: MOST_PEOPLE };
    let mut room = Room::new(rules, Vec::new());
    room.restore(at, snapshot);
    room
}

fn room(bytes: &[u8]) {
    let Some(snapshot) = Snapshot::parse(bytes) else { return };
    let mut at = room::Moment { now: NOW, unix_ms: UNIX_S * 1000 };
    let mut room = restored(snapshot, at);
    assert!(room.len() <= MOST_PEOPLE);
    let text = room.snapshot().to_text();
    let again = Snapshot::parse(text.as_bytes()).expect("it reads what it wrote");
    assert_eq!(restored(again, at).snapshot().to_text(), text);
    at.now = at.now + Duration::from_secs(60);
    at.unix_ms += 60_000;
    room.handle(at, room::Input::Tick, &mut Vec::new());
    assert!(room.is_empty(), "{} people who never came are kept", room.len());
}

fn sessions(bytes: &[u8]) {
    let who = |credential: &Credential| match credential {
        Credential::Password { name, .. } if name == "nobody" => None,
        Credential::Password { name, .. } if name.is_empty() => {
            Some(Identity { name: String::new(), role: Role::Host, proof: Proof::Password })
        }
        Credential::Password { name, .. } => {
            Some(Identity { name: name.clone(), role: Role::Operator, proof: Proof::User })
        }
        Credential::Link { id } => {
            Some(Identity { name: String::new(), role: Role::Viewer, proof: Proof::Link(id.clone()) })
        }
    };
    let longest = Duration::from_secs(30 * 86_400);
    let at = links::Moment { wall: WallMicros(UNIX_S * 1_000_000), now: NOW };
    let Some(mut sessions) = Sessions::parse(bytes, longest, who) else { return };
    assert!(sessions.identity(&[0x5a; 32], at).is_none_or(|identity| identity.role <= Role::Host));
    let text = sessions.to_text(at);
    let again = Sessions::parse(text.as_bytes(), longest, who).expect("it reads what it wrote");
    assert_eq!(again.to_text(at), text);
}

fn list_of_links(bytes: &[u8]) {
    let Some(list) = Ledger::parse(bytes) else { return };
    let at = links::Moment { wall: WallMicros(UNIX_S * 1_000_000), now: NOW };
    let mut ledger = Ledger::default();
    ledger.take_in(list, at);
    let ended = ledger.newly_ended(at);
    for link in ledger.list(at) {
        assert!(link.expires_s > UNIX_S && !ended.contains(&link.id), "{link:?}");
        assert!(ledger.judge_id(&link.id, at).is_ok() && ledger.identity(&link.id).is_some());
    }
    let text = ledger.to_text();
    assert_eq!(Ledger::parse(text.as_bytes()).expect("it reads what it wrote").to_text(), text);
    let later = links::Moment { now: at.now + links::LONGEST, ..at };
    assert!(ledger.list(later).is_empty(), "a link that lives longer than any may");
}
