//! The room after a restart: who gets back what, and that nobody gets more.

use super::*;
use crate::config::Role;
use crate::output::ViewerId;
use crate::signal::identity::{Identity, Proof};
use crate::signal::message::{ErrorCode, Heard};
use crate::signal::room::people::Arrival;
use crate::signal::room::words::{Leaving, Peers, Seated, Told};
use crate::signal::room::{Action, Input, Rules, TurnedAway};
use std::net::IpAddr;

/// So long after the start of one run; the next one counts from zero again.
fn at(now_ms: u64, unix_ms: u64) -> Moment {
    Moment { now: Micros(now_ms * 1000), unix_ms }
}

const FIRST: Moment = Moment { now: Micros(1_000_000_000), unix_ms: 1_800_000_000_000 };
const SECOND: Moment = Moment { now: Micros(5_000_000), unix_ms: 1_800_000_060_000 };

fn room_with(host_leaves: HostLeaves) -> Room {
    Room::new(Rules { host_leaves, chat: true, max_people: 8 }, Vec::new())
}

fn room() -> Room {
    room_with(HostLeaves::Keep)
}

fn known(name: &str, role: Role) -> Identity {
    Identity { name: name.into(), role, proof: Proof::User }
}

fn guest() -> Identity {
    Identity { role: Role::Viewer, ..Identity::at_home() }
}

fn arrive(
    room: &mut Room,
    at: Moment,
    identity: Identity,
    wish: &str,
    resume: Option<&str>,
) -> Result<Seated, TurnedAway> {
    let arrival = Arrival {
        identity,
        wish: wish.into(),
        resume: resume.map(str::to_string),
        token: format!("token of {wish} at {}", at.now.0),
        from: IpAddr::from([192, 0, 2, 1]),
        talks: true,
    };
    let mut out = Vec::new();
    let seated = room.join(at, arrival, &mut out)?;
    room.handle(at, Input::Socket { seat: seated.seat.id, open: true }, &mut out);
    Ok(seated)
}

fn say(room: &mut Room, at: Moment, seat: SeatId, text: &str) -> Vec<Action> {
    let Ok(Heard::Said(said)) = Heard::parse(text) else { panic!("{text}") };
    let mut out = Vec::new();
    room.handle(at, Input::Said { seat, said }, &mut out);
    out
}

/// As the next run finds it: through the text on the disk.
fn next_run(room: &Room, at: Moment) -> Room {
    let mut next = room_with(room.rules.host_leaves);
    next.restore(at, Snapshot::parse(room.snapshot().to_text().as_bytes()).expect("our own text"));
    next
}

/// Hanna is host; Vera, a guest whom she made operator, holds control.
fn busy_room() -> (Room, Seated, Seated) {
    let mut room = room();
    let hanna = arrive(&mut room, FIRST, known("Hanna", Role::Host), "Hanna", None).unwrap();
    let vera = arrive(&mut room, FIRST, guest(), "Vera", None).unwrap();
    let (host, to) = (hanna.seat.id, vera.seat.id);
    for text in [
        format!(r#"{{"type":"role","to":{},"role":"operator"}}"#, to.0),
        format!(r#"{{"type":"grant","to":{}}}"#, to.0),
        r#"{"type":"request"}"#.into(),
        r#"{"type":"room","muted":true}"#.into(),
        r#"{"type":"chat","text":"in memory only"}"#.into(),
        format!(r#"{{"type":"call","to":{}}}"#, to.0),
    ] {
        say(&mut room, FIRST, host, &text);
    }
    say(&mut room, FIRST, to, &format!(r#"{{"type":"accept","to":{}}}"#, host.0));
    (room, hanna, vera)
}

#[test]
fn everybody_is_back_with_seat_name_role_control_and_call() {
    let (room, hanna, vera) = busy_room();
    let text = room.snapshot().to_text();
    assert!(!text.contains(&vera.resume) && !text.contains("in memory only"), "{text}");
    let mut next = next_run(&room, SECOND);
    assert_eq!(next.snapshot(), room.snapshot(), "nothing is written again for nothing");
    let back = arrive(&mut next, SECOND, guest(), "", Some(&vera.resume)).unwrap();
    assert_eq!((back.resumed, &back.seat.name, back.seat.role), (true, &vera.seat.name, Role::Operator));
    assert_eq!((back.seat.id, &back.resume), (vera.seat.id, &vera.resume));
    assert_eq!(back.room.control, Control { holder: Some(vera.seat.id), asking: vec![hanna.seat.id] });
    assert!(back.room.muted && back.room.chat.is_empty());
    let joined_s: Vec<u64> = back.room.people.iter().map(|person| person.joined_s).collect();
    assert_eq!(joined_s, [5, 5], "no longer than this clock goes back");
    let host = arrive(&mut next, SECOND, known("Hanna", Role::Host), "", Some(&hanna.resume)).unwrap();
    assert_eq!((host.resumed, &host.seat), (true, &hanna.seat));
    // the call between the two browsers goes on: so does what is said about it
    let hung_up = say(&mut next, SECOND, host.seat.id, &format!(r#"{{"type":"hangup","to":{}}}"#, vera.seat.id.0));
    let told = Told::Hangup { from: host.seat.id, reason: None };
    assert_eq!(hung_up, [Action::Tell { to: vera.seat.id, told }]);
    let newcomer = arrive(&mut next, SECOND, guest(), "Vera", None).unwrap();
    assert_eq!(
        (newcomer.seat.id, newcomer.seat.name.as_str()),
        (SeatId(3), "Vera 2"),
        "numbers and names are not used again"
    );
}

#[test]
fn who_does_not_come_back_within_thirty_seconds_of_the_start_is_lost() {
    let (room, hanna, vera) = busy_room();
    let mut next = next_run(&room, SECOND);
    arrive(&mut next, SECOND, known("Hanna", Role::Host), "", Some(&hanna.resume)).unwrap();
    assert_eq!(next.next_deadline(), Some(SECOND.now + Duration::from_secs(30)));
    let (mut out, later) = (Vec::new(), at(35_000, SECOND.unix_ms + 30_000));
    next.handle(later, Input::Tick, &mut out);
    let lost = Peers { left: Some(vera.seat.id), reason: Some(Leaving::Lost), ..Peers::default() };
    assert!(out.contains(&Action::TellAll { told: Told::Peers(lost), but: Some(vera.seat.id) }), "{out:?}");
    let late = arrive(&mut next, later, guest(), "Vera", Some(&vera.resume)).unwrap();
    assert_eq!((late.resumed, late.seat.role, late.room.control.holder), (false, Role::Viewer, None));
}

#[test]
fn a_token_gives_nothing_to_another_identity_or_to_todays_lesser_one() {
    let (room, hanna, vera) = busy_room();
    for (identity, token) in [
        // somebody has Vera's token but came by another way
        (known("Mallory", Role::Viewer), &vera.resume),
        (Identity { proof: Proof::Link("a".into()), ..guest() }, &vera.resume),
        // the config made Hanna a viewer meanwhile
        (known("Hanna", Role::Viewer), &hanna.resume),
        (guest(), &hanna.resume),
        // the hash, as it is on the disk, is no token
        (guest(), &room.snapshot().seats[1].resume.clone()),
        (guest(), &String::new()),
    ] {
        let mut next = next_run(&room, SECOND);
        let seated = arrive(&mut next, SECOND, identity.clone(), "Mallory", Some(token)).unwrap();
        assert_eq!((seated.resumed, seated.seat.role), (false, Role::Viewer), "{identity:?}");
        assert_ne!(seated.room.control.holder, Some(seated.seat.id));
    }
}

#[test]
fn what_hosts_decided_counts_in_the_next_run() {
    let (mut room, hanna, vera) = busy_room();
    say(&mut room, FIRST, hanna.seat.id, r#"{"type":"room","closed":true,"muted":false}"#);
    say(&mut room, FIRST, hanna.seat.id, &format!(r#"{{"type":"kick","to":{}}}"#, vera.seat.id.0));
    let soon = at(5000, FIRST.unix_ms + 20_000);
    let refused = |next: &mut Room, now| arrive(next, now, guest(), "Vera", None).map_err(|away| away.retry_after_s);
    let mut next = next_run(&room, soon);
    let away = arrive(&mut next, soon, guest(), "Vera", Some(&vera.resume)).unwrap_err();
    assert_eq!((away.code, away.retry_after_s), (ErrorCode::Closed, 60), "put out");
    // forty seconds later only the closed door is left
    assert_eq!(refused(&mut next, at(45_000, FIRST.unix_ms + 60_000)), Err(10));
    // put out for a minute at the most, wherever the clock went
    let mut stepped = next_run(&room, at(5000, 0));
    assert_eq!(refused(&mut stepped, at(64_999, 59_999)), Err(60));
    assert_eq!(refused(&mut stepped, at(65_000, 60_000)), Err(10));
    let mut late = next_run(&room, SECOND);
    assert_eq!(refused(&mut late, SECOND), Err(10));
}

#[test]
fn a_room_without_hosts_stays_closed_until_one_comes() {
    let mut room = room_with(HostLeaves::Close);
    let hanna = arrive(&mut room, FIRST, known("Hanna", Role::Host), "", None).unwrap();
    arrive(&mut room, FIRST, guest(), "Vera", None).unwrap();
    room.handle(FIRST, Input::Leaves { seat: hanna.seat.id }, &mut Vec::new());
    let mut next = next_run(&room, SECOND);
    assert!(arrive(&mut next, SECOND, guest(), "Ben", None).is_err());
    arrive(&mut next, SECOND, known("Hanna", Role::Host), "", None).unwrap();
    assert!(arrive(&mut next, SECOND, guest(), "Ben", None).is_ok());
}

#[test]
fn a_damaged_file_is_none_and_an_odd_one_harms_nobody() {
    let (room, hanna, _) = busy_room();
    let text = room.snapshot().to_text();
    for cut in 0..text.len() {
        assert!(Snapshot::parse(&text.as_bytes()[..cut]).is_none(), "{cut}");
    }
    let mut odd = room.snapshot();
    for change in [
        |odd: &mut Snapshot| odd.last = u64::MAX,
        |odd: &mut Snapshot| odd.last = 1,
        |odd: &mut Snapshot| odd.seats[0].id = SeatId(0),
        |odd: &mut Snapshot| odd.seats[0].resume = "é".repeat(32),
    ] {
        change(&mut odd);
        assert!(Snapshot::parse(odd.to_text().as_bytes()).is_none(), "{odd:?}");
        odd = room.snapshot();
    }
    // the same seat a thousand times, holders who are not there, names of any kind
    odd.seats = vec![odd.seats[0].clone(); 1000];
    odd.seats[0].name = "\u{202e}\n".repeat(1000);
    odd.control = Control { holder: Some(SeatId(99)), asking: vec![SeatId(1), SeatId(1), SeatId(77)] };
    odd.calls = vec![(SeatId(1), SeatId(1)), (SeatId(1), SeatId(9))];
    odd.hostless = true;
    let mut next = room_with(HostLeaves::Keep);
    next.restore(SECOND, Snapshot::parse(odd.to_text().as_bytes()).unwrap());
    let back = arrive(&mut next, SECOND, known("Hanna", Role::Host), "", Some(&hanna.resume)).unwrap();
    assert_eq!((back.seat.name.as_str(), back.room.people.len(), back.room.closed), ("Guest", 1, false));
    assert_eq!(back.room.control, Control { holder: None, asking: vec![SeatId(1)] });
}

#[test]
fn who_only_watches_and_what_only_this_run_knows_is_not_kept() {
    let (mut room, _, vera) = busy_room();
    let before = room.snapshot();
    let seat = vera.seat.id;
    for input in [
        Input::Socket { seat, open: false },
        Input::Viewer { seat, viewer: Some(ViewerId(1)) },
        Input::Watching { seat },
        Input::Tick,
    ] {
        room.handle(at(1_001_000, FIRST.unix_ms + 1003), input, &mut Vec::new());
    }
    let silent = Arrival {
        identity: guest(),
        wish: "WHEP".into(),
        resume: None,
        token: "secret".into(),
        from: IpAddr::from([192, 0, 2, 2]),
        talks: false,
    };
    room.join(FIRST, silent, &mut Vec::new()).unwrap();
    assert_eq!(Snapshot { last: 2, ..room.snapshot() }, before);
}
