//! What the room promises, in microseconds of a clock that only the test moves.

use super::*;
use crate::output::ViewerId;
use crate::signal::identity::{Identity, Proof};
use crate::signal::message::Heard;
use crate::stream::adjust::{AdjustError, Change, Control as CameraControl, ControlKind};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

const START: Micros = Micros(60_000_000);

pub struct Bench {
    pub room: Room,
    pub now: Micros,
    pub out: Vec<Action>,
    tokens: u64,
}

pub fn rules(host_leaves: HostLeaves) -> Rules {
    Rules { host_leaves, chat: true, max_people: 8 }
}

impl Bench {
    fn new() -> Bench {
        Bench::with(rules(HostLeaves::Keep))
    }

    pub fn with(rules: Rules) -> Bench {
        let mut room = Room::new(rules, Vec::new());
        let at = Moment { now: START, unix_ms: 0 };
        room.handle(at, Input::Adjustable(&camera(0)), &mut Vec::new());
        Bench { room, now: START, out: Vec::new(), tokens: 0 }
    }

    fn at(&self) -> Moment {
        Moment { now: self.now, unix_ms: self.now.0 / 1000 }
    }

    pub fn arrive(&mut self, name: &str, role: Role, resume: Option<&str>) -> Result<Seated, TurnedAway> {
        self.tokens += 1;
        let arrival = Arrival {
            identity: Identity { name: name.into(), role, proof: Proof::User },
            wish: String::new(),
            resume: resume.map(str::to_string),
            token: format!("token {}", self.tokens),
            from: IpAddr::from([192, 0, 2, 1]),
            talks: true,
        };
        self.out.clear();
        let at = self.at();
        let seated = self.room.join(at, arrival, &mut self.out)?;
        self.room.handle(at, Input::Socket { seat: seated.seat.id, open: true }, &mut self.out);
        Ok(seated)
    }

    /// Comes in with an open socket.
    fn seat(&mut self, name: &str, role: Role) -> SeatId {
        self.arrive(name, role, None).expect("there is room").seat.id
    }

    pub fn input(&mut self, input: Input) -> Vec<Action> {
        let mut out = Vec::new();
        self.room.handle(self.at(), input, &mut out);
        out
    }

    pub fn say(&mut self, seat: SeatId, text: &str) -> Vec<Action> {
        match Heard::parse(text) {
            Ok(Heard::Said(said)) => self.input(Input::Said { seat, said }),
            other => panic!("{other:?}"),
        }
    }

    pub fn wait(&mut self, span: Duration) -> Vec<Action> {
        self.now = self.now + span;
        self.input(Input::Tick)
    }
}

pub fn camera(brightness: i64) -> Adjustable {
    let control = CameraControl {
        key: "brightness".into(),
        name: "Brightness".into(),
        kind: ControlKind::Integer { minimum: 0, maximum: 255, step: 1 },
        value: brightness,
        default: 128,
        read_only: false,
        inactive: false,
    };
    Adjustable { version: 1, controls: vec![control], layers: vec![] }
}

fn codes(out: &[Action]) -> Vec<ErrorCode> {
    let code = |action: &Action| match action {
        Action::Tell { told: Told::Error { code, .. }, .. } => Some(*code),
        _ => None,
    };
    out.iter().filter_map(code).collect()
}

fn all(told: Told) -> Action {
    Action::TellAll { told, but: None }
}

fn control(holder: Option<SeatId>, asking: &[SeatId]) -> Action {
    all(Told::Control(Control { holder, asking: asking.to_vec() }))
}

#[test]
fn everybody_hears_who_joins_changes_and_leaves() {
    let mut bench = Bench::new();
    let ann = bench.seat("Ann", Role::Host);
    let bob = bench.arrive("Bob", Role::Viewer, None).unwrap();
    let names: Vec<&str> = bob.room.people.iter().map(|p| p.name.as_str()).collect();
    assert_eq!((names, bob.resumed, bob.viewer), (vec!["Ann", "Bob"], false, None));
    let bob = bob.seat.id;
    let joined = bench.out.iter().find_map(|action| match action {
        Action::TellAll { told: Told::Peers(peers), but } => peers.joined.clone().map(|person| (person.id, *but)),
        _ => None,
    });
    assert_eq!(joined, Some((bob, Some(bob))));
    assert!(matches!(bench.out[1], Action::Tell { to, told: Told::State { .. } } if to == bob));

    let out = bench.say(ann, &format!(r#"{{"type":"role","to":{},"role":"operator"}}"#, bob.0));
    let [Action::TellAll { told: Told::Peers(Peers { changed: Some(person), .. }), .. }] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!((person.id, person.role), (bob, Role::Operator));
    bench.input(Input::Viewer { seat: bob, viewer: Some(ViewerId(4)) });
    let out = bench.input(Input::Watching { seat: bob });
    assert!(matches!(&out[..], [Action::TellAll { told: Told::Peers(p), .. }] if p.changed.as_ref().unwrap().watching));
    let out = bench.input(Input::Leaves { seat: bob });
    assert_eq!(out[0], Action::End { seat: bob, reason: ByeReason::Left });
    let left = Peers { left: Some(bob), reason: Some(Leaving::Left), ..Peers::default() };
    assert_eq!(out[1], Action::TellAll { told: Told::Peers(left), but: Some(bob) });
}

#[test]
fn control_is_asked_for_granted_handed_over_released_and_revoked() {
    let mut bench = Bench::new();
    let (ann, bob, cat) =
        (bench.seat("Ann", Role::Host), bench.seat("Bob", Role::Viewer), bench.seat("Cat", Role::Viewer));
    assert_eq!(bench.say(bob, r#"{"type":"request"}"#), [control(None, &[bob])]);
    assert_eq!(bench.say(bob, r#"{"type":"request"}"#), [], "asked already");
    assert_eq!(bench.say(cat, r#"{"type":"request"}"#), [control(None, &[bob, cat])]);
    assert_eq!(bench.say(bob, r#"{"type":"request","withdraw":true}"#), [control(None, &[cat])]);
    let grant = |to: SeatId| format!(r#"{{"type":"grant","to":{}}}"#, to.0);
    assert_eq!(codes(&bench.say(bob, &grant(bob))), [ErrorCode::Refused]);
    assert_eq!(bench.say(ann, &grant(cat)), [control(Some(cat), &[])]);
    assert_eq!(codes(&bench.say(cat, &grant(bob))), [ErrorCode::Refused], "the holder may not grant");
    assert_eq!(bench.say(ann, &grant(bob)), [control(Some(bob), &[])]);
    assert_eq!(codes(&bench.say(cat, r#"{"type":"release"}"#)), [ErrorCode::Refused]);
    assert_eq!(bench.say(bob, r#"{"type":"release"}"#), [control(None, &[])]);
    bench.say(ann, &grant(bob));
    assert_eq!(bench.say(ann, r#"{"type":"revoke"}"#), [control(None, &[])]);
    bench.say(ann, &grant(bob));
    let out = bench.input(Input::Leaves { seat: bob });
    assert!(out.contains(&control(None, &[])), "{out:?}");
    assert_eq!(codes(&bench.say(ann, r#"{"type":"grant","to":99}"#)), [ErrorCode::UnknownSeat]);
}

#[test]
fn who_may_change_the_state_depends_on_control() {
    let mut bench = Bench::new();
    let (ann, bob, cat) =
        (bench.seat("Ann", Role::Host), bench.seat("Bob", Role::Operator), bench.seat("Cat", Role::Viewer));
    let set = r#"{"type":"set","base":1,"values":{"control.brightness":7}}"#;
    let mine =
        |seat, value| vec![Action::Adjust { seat, changes: vec![Change::Control { key: "brightness".into(), value }] }];
    assert_eq!(codes(&bench.say(cat, set)), [ErrorCode::Refused]);
    assert_eq!(bench.say(bob, set), mine(bob, 7), "an operator, while nobody holds control");
    let told = bench.input(Input::Adjustable(&camera(7)));
    let values = [("control.brightness".to_string(), 7.into())].into();
    assert_eq!(told, [all(Told::Patch { version: 2, values, by: Some(bob) })]);
    bench.say(ann, &format!(r#"{{"type":"grant","to":{}}}"#, cat.0));
    assert_eq!(codes(&bench.say(bob, set)), [ErrorCode::Refused]);
    let out = bench.say(cat, set);
    assert_eq!(codes(&out), [ErrorCode::Stale]);
    assert!(matches!(out[1], Action::Tell { to, told: Told::State { version: 2, .. } } if to == cat));
    let set = r#"{"type":"set","base":2,"values":{"control.brightness":8}}"#;
    assert_eq!((bench.say(cat, set), bench.say(ann, set).len()), (mine(cat, 8), 2), "hosts too, but not blindly");
    let refused = Input::NotAdjusted { seat: cat, error: AdjustError::Busy };
    assert_eq!(codes(&bench.input(refused)), [ErrorCode::BadValue]);
}

#[test]
fn a_seat_is_kept_for_thirty_seconds_with_name_role_and_control() {
    let mut bench = Bench::new();
    let ann = bench.seat("Ann", Role::Host);
    let bob = bench.arrive("Bob", Role::Viewer, None).unwrap();
    let (resume, bob) = (bob.resume, bob.seat.id);
    bench.say(ann, &format!(r#"{{"type":"role","to":{},"role":"operator"}}"#, bob.0));
    bench.say(ann, &format!(r#"{{"type":"grant","to":{}}}"#, bob.0));
    assert_eq!(bench.input(Input::Socket { seat: bob, open: false }), []);
    assert_eq!(bench.wait(Duration::from_secs(29)), []);
    let back = bench.arrive("Bob", Role::Viewer, Some(&resume)).unwrap();
    assert_eq!((back.resumed, back.seat.id, back.seat.role), (true, bob, Role::Operator));
    assert_eq!(back.room.control.holder, Some(bob));
    assert!(
        !bench.out.iter().any(|action| matches!(action, Action::TellAll { .. })),
        "nobody is told: {:?}",
        bench.out
    );
    let stranger = bench.arrive("Eve", Role::Viewer, Some(&resume)).unwrap();
    assert!(!stranger.resumed, "a token in other hands");

    // its viewer alone keeps it
    bench.input(Input::Viewer { seat: bob, viewer: Some(ViewerId(1)) });
    bench.input(Input::Socket { seat: bob, open: false });
    assert_eq!(bench.wait(Duration::from_secs(3600)), []);
    bench.input(Input::Viewer { seat: bob, viewer: None });
    assert_eq!(bench.wait(Duration::from_micros(29_999_999)), []);
    let out = bench.wait(Duration::from_micros(1));
    let left = Peers { left: Some(bob), reason: Some(Leaving::Lost), ..Peers::default() };
    assert!(out.contains(&Action::TellAll { told: Told::Peers(left), but: Some(bob) }), "{out:?}");
    assert!(!bench.arrive("Bob", Role::Viewer, Some(&resume)).unwrap().resumed);
}

#[test]
fn who_was_kicked_stays_out_for_a_minute() {
    let mut bench = Bench::new();
    let ann = bench.seat("Ann", Role::Host);
    let bob = bench.arrive("Bob", Role::Viewer, None).unwrap();
    let kick = format!(r#"{{"type":"kick","to":{}}}"#, bob.seat.id.0);
    assert_eq!(codes(&bench.say(bob.seat.id, &kick)), [ErrorCode::Refused]);
    let out = bench.say(ann, &kick);
    assert_eq!(out[0], Action::End { seat: bob.seat.id, reason: ByeReason::Kicked });
    for resume in [None, Some(bob.resume.as_str())] {
        assert_eq!(bench.arrive("Bob", Role::Viewer, resume).unwrap_err().code, ErrorCode::Closed);
    }
    assert!(bench.arrive("Cat", Role::Viewer, None).is_ok());
    bench.wait(Duration::from_secs(60));
    assert!(bench.arrive("Bob", Role::Viewer, None).is_ok());
    assert_eq!(codes(&bench.say(ann, &format!(r#"{{"type":"kick","to":{}}}"#, ann.0))), [ErrorCode::UnknownSeat]);
}

#[test]
fn a_closed_room_lets_in_hosts_and_those_who_come_back() {
    let mut bench = Bench::new();
    let ann = bench.seat("Ann", Role::Host);
    let bob = bench.arrive("Bob", Role::Viewer, None).unwrap();
    assert_eq!(bench.say(ann, r#"{"type":"room","closed":true}"#), [all(Told::Room { closed: true, muted: false })]);
    assert_eq!(bench.arrive("Cat", Role::Viewer, None).unwrap_err().code, ErrorCode::Closed);
    assert!(bench.arrive("Bob", Role::Viewer, Some(&bob.resume)).unwrap().resumed);
    assert!(bench.arrive("Dan", Role::Host, None).unwrap().room.closed);
    bench.say(ann, r#"{"type":"room","closed":false}"#);
    assert!(bench.arrive("Cat", Role::Viewer, None).is_ok());
}

#[test]
fn a_full_room_gives_the_seat_of_whoever_is_gone_longest() {
    let mut bench = Bench::new();
    let seats: Vec<SeatId> = (0..8).map(|n| bench.seat(&format!("P{n}"), Role::Viewer)).collect();
    for seat in &seats {
        bench.input(Input::Viewer { seat: *seat, viewer: Some(ViewerId(seat.0)) });
        bench.input(Input::Watching { seat: *seat });
        bench.input(Input::Viewer { seat: *seat, viewer: None });
    }
    assert_eq!(bench.arrive("Late", Role::Viewer, None).unwrap_err().code, ErrorCode::Full);
    bench.input(Input::Socket { seat: seats[3], open: false });
    bench.now = bench.now + Duration::from_secs(1);
    bench.input(Input::Socket { seat: seats[5], open: false });
    bench.seat("Late", Role::Viewer);
    assert!(bench.out.contains(&Action::End { seat: seats[3], reason: ByeReason::Left }), "{:?}", bench.out);
    assert_eq!(bench.room.len(), 8);
}

#[test]
fn the_config_decides_what_becomes_of_a_room_without_a_host() {
    for (rule, holder, closed) in
        [(HostLeaves::Keep, true, false), (HostLeaves::Release, false, false), (HostLeaves::Close, true, true)]
    {
        let mut bench = Bench::with(rules(rule));
        let (ann, bob) = (bench.seat("Ann", Role::Host), bench.seat("Bob", Role::Viewer));
        bench.say(ann, &format!(r#"{{"type":"grant","to":{}}}"#, bob.0));
        let demote = format!(r#"{{"type":"role","to":{},"role":"viewer"}}"#, ann.0);
        assert_eq!(codes(&bench.say(ann, &demote)), [ErrorCode::Refused], "the last host stays host");
        bench.input(Input::Leaves { seat: ann });
        let kept = bench.room.control.holder == Some(bob);
        assert_eq!((kept, bench.arrive("Cat", Role::Viewer, None).is_err()), (holder, closed), "{rule:?}");
        bench.seat("Ann", Role::Host);
        assert!(bench.arrive("Cat", Role::Viewer, None).is_ok(), "{rule:?}: a host is back");
    }
}

#[test]
fn chat_is_clean_limited_kept_and_can_be_muted() {
    let mut bench = Bench::new();
    let (ann, bob) = (bench.seat("Ann", Role::Host), bench.seat("Bob", Role::Viewer));
    let line = ChatLine { from: bob, name: "Bob".into(), text: "你好\nx".into(), at_ms: START.0 / 1000 };
    assert_eq!(bench.say(bob, "{\"type\":\"chat\",\"text\":\" 你好\\u0007\\nx \"}"), [all(Told::Chat(line))]);
    let long = |count: usize| format!(r#"{{"type":"chat","text":"{}"}}"#, "é".repeat(count));
    assert_eq!(codes(&bench.say(bob, &long(501))), [ErrorCode::TooLong]);
    for _ in 0..4 {
        assert_eq!(codes(&bench.say(bob, &long(500))), []);
    }
    assert_eq!(codes(&bench.say(bob, &long(1))), [ErrorCode::TooFast]);
    bench.wait(Duration::from_secs(1));
    assert_eq!(codes(&bench.say(bob, &long(1))), []);
    bench.say(ann, r#"{"type":"room","muted":true}"#);
    bench.wait(Duration::from_secs(5));
    assert_eq!(codes(&bench.say(bob, &long(1))), [ErrorCode::Muted]);
    assert_eq!(codes(&bench.say(ann, &long(1))), []);
    assert_eq!(bench.arrive("Cat", Role::Viewer, None).unwrap().room.chat.len(), 7);
}

#[test]
fn relays_need_a_call_that_both_want() {
    let mut bench = Bench::new();
    let (ann, bob) = (bench.seat("Ann", Role::Viewer), bench.seat("Bob", Role::Viewer));
    let to = |kind: &str, to: SeatId| format!(r#"{{"type":"{kind}","to":{},"body":"offer"}}"#, to.0);
    assert_eq!(codes(&bench.say(ann, &to("relay", bob))), [ErrorCode::NotAgreed]);
    assert_eq!(
        bench.say(ann, &to("call", bob)),
        [Action::Tell { to: bob, told: Told::Call { from: ann, name: "Ann".into() } }]
    );
    assert_eq!(codes(&bench.say(ann, &to("accept", bob))), [ErrorCode::NotAgreed]);
    assert_eq!(codes(&bench.say(ann, &to("relay", bob))), [ErrorCode::NotAgreed], "not answered yet");
    assert_eq!(bench.say(bob, &to("accept", ann)), [Action::Tell { to: ann, told: Told::Accept { from: bob } }]);
    let relayed = Action::Tell { to: bob, told: Told::Relay { from: ann, body: "offer".into() } };
    assert_eq!(bench.say(ann, &to("relay", bob)), [relayed]);
    let large = format!(r#"{{"type":"relay","to":{},"body":"{}"}}"#, bob.0, "x".repeat(calls::RELAYED_BYTES + 1));
    assert_eq!(codes(&bench.say(ann, &large)), [ErrorCode::TooLong]);
    for _ in 0..19 {
        assert_eq!(codes(&bench.say(ann, &to("relay", bob))), []);
    }
    assert_eq!(codes(&bench.say(ann, &to("relay", bob))), [ErrorCode::TooFast]);
    let out = bench.input(Input::Leaves { seat: bob });
    let ended = Told::Hangup { from: bob, reason: Some(Leaving::Left) };
    assert!(out.contains(&Action::Tell { to: ann, told: ended }), "{out:?}");
    assert_eq!(codes(&bench.say(ann, &to("relay", bob))), [ErrorCode::UnknownSeat]);
    assert_eq!(codes(&bench.say(ann, &to("call", ann))), [ErrorCode::UnknownSeat]);
}

#[test]
fn who_came_by_a_revoked_link_has_to_go() {
    let mut bench = Bench::new();
    let ann = bench.seat("Ann", Role::Host);
    let guest = Arrival {
        identity: Identity { name: String::new(), role: Role::Viewer, proof: Proof::Link("l1".into()) },
        wish: "Guest of Ann".into(),
        resume: None,
        token: "g".into(),
        from: IpAddr::from([192, 0, 2, 9]),
        talks: true,
    };
    let at = bench.at();
    let guest = bench.room.join(at, guest, &mut Vec::new()).unwrap();
    let out = bench.say(ann, r#"{"type":"unlink","id":"l1"}"#);
    assert_eq!(out, [Action::Links { seat: ann, wish: LinkWish::Revoke { id: "l1".into() } }]);
    let out = bench.input(Input::Revoked { link: "l1" });
    assert_eq!(out[0], Action::End { seat: guest.seat.id, reason: ByeReason::Revoked });
    for text in [r#"{"type":"link","role":"host","for_s":59}"#, r#"{"type":"link","role":"viewer","for_s":2592001}"#] {
        assert_eq!(codes(&bench.say(ann, text)), [ErrorCode::BadValue]);
    }
}

#[test]
fn who_was_behind_gets_the_state_and_every_line_it_may_have_missed() {
    let mut bench = Bench::new();
    let (ann, bob) = (bench.seat("Ann", Role::Host), bench.seat("Bob", Role::Viewer));
    let mut lines = Vec::new();
    for number in 0..60 {
        let told = bench.say(ann, &format!(r#"{{"type":"chat","text":"line {number}"}}"#));
        lines.extend(told.into_iter().filter_map(|action| match action {
            Action::TellAll { told: Told::Chat(line), .. } => Some(line),
            _ => None,
        }));
        bench.wait(Duration::from_secs(1));
    }
    assert_eq!(lines.len(), 60);
    let out = bench.input(Input::Behind { seat: bob });
    assert!(matches!(out.last(), Some(Action::Tell { to, told: Told::State { .. } }) if *to == bob), "{out:?}");
    let again: Vec<Action> =
        lines[10..].iter().map(|line| Action::Tell { to: bob, told: Told::Chat(line.clone()) }).collect();
    assert_eq!(out[..50], again, "the same lines with the same times, in order: a page knows those it had");
    let times: BTreeSet<u64> = lines.iter().map(|line| line.at_ms).collect();
    assert_eq!(times.len(), 60);
}

#[test]
fn in_a_full_room_who_never_had_the_picture_gives_way() {
    let mut bench = Bench::new();
    let watching: Vec<SeatId> = (0..6).map(|number| bench.seat(&format!("W{number}"), Role::Viewer)).collect();
    for (number, seat) in watching.iter().enumerate() {
        bench.input(Input::Viewer { seat: *seat, viewer: Some(ViewerId(number as u64)) });
        bench.input(Input::Watching { seat: *seat });
        // with a picture or without one now
        bench.input(Input::Viewer { seat: *seat, viewer: None });
    }
    let silent = [bench.seat("S1", Role::Viewer), bench.seat("S2", Role::Viewer)];
    bench.input(Input::Viewer { seat: silent[0], viewer: Some(ViewerId(50)) });
    bench.seat("New", Role::Viewer);
    assert!(bench.out.contains(&Action::End { seat: silent[0], reason: ByeReason::OfferTimeout }), "{:?}", bench.out);
    let left: Vec<SeatId> = bench.room.people().map(|seat| seat.id).collect();
    assert!(watching.iter().all(|seat| left.contains(seat)) && left.contains(&silent[1]) && left.len() == 8);
    for seat in left {
        bench.input(Input::Viewer { seat, viewer: Some(ViewerId(99)) });
        bench.input(Input::Watching { seat });
    }
    assert_eq!(bench.arrive("Late", Role::Viewer, None).unwrap_err().code, ErrorCode::Full);
}
