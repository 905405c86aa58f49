//! The fuzz targets: any bytes in, no panic, and what must hold of whatever comes out. Here: what people, their pages and
//! the config say in words.

mod camera;
mod network;
mod peers;
mod state;

pub use camera::{driver, packets, picture, y4m};
pub use network::{framing, handshake, stun};
pub use peers::{dtls, rtcp, sctp};
pub use state::kept;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use rtc::peer_connection::RTCPeerConnectionBuilder;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtcam::clock::Clock;
use rtcam::config::{AuthConfig, AuthMode, HostLeaves, Role};
use rtcam::http::Gate;
use rtcam::http::whep_fragment::{self, Credentials};
use rtcam::media::h264;
use rtcam::output::webrtc::{choose_profile, ice_ufrag, sends_video, state_real_level, with_candidates};
use rtcam::output::{Answer, CloseReason, OfferError, ViewerEvent, ViewerId};
use rtcam::signal::identity::{Identity, Proof};
use rtcam::signal::message::{Camera, Heard, Message, Status};
use rtcam::signal::room::people::Arrival;
use rtcam::signal::room::words::{RoomWords, SeatId, SeatWords, Seated};
use rtcam::signal::room::{self, Moment, Room, Rules};
use rtcam::signal::session::{self, Action, Greeting, Session, Transport};
use rtcam::stream::adjust::{Adjustable, Control, ControlKind};
use rtcam::units::Micros;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const START: Micros = Micros(60_000_000);
/// Of one input: nobody gets more out of us than they put in by much.
const MOST_ACTIONS: usize = 128;

/// The datagrams of an input: each behind its length in two bytes, the last one as long as what is left.
fn datagrams(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (datagram, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        bytes = rest;
        Some(datagram)
    })
}

/// One message as text. What is understood can be read back.
pub fn message(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Heard::parse(&text) {
        Ok(Heard::Message(message)) => {
            let again = message.to_json();
            assert!(matches!(Heard::parse(&again), Ok(Heard::Message(_))), "{again}");
        }
        Ok(Heard::Said(said)) => {
            let again = serde_json::to_string(&said).expect("words serialise");
            assert!(matches!(Heard::parse(&again), Ok(Heard::Said(_))), "{again}");
        }
        Err(refused) => assert!(refused.message.chars().count() <= 160, "an answer larger than its cause"),
    }
}

fn seated() -> Box<Seated> {
    let seat = SeatWords { id: SeatId(1), name: "Ann".into(), role: Role::Host };
    Box::new(Seated {
        seat,
        resume: "00ff".into(),
        resumed: false,
        logged_in: false,
        viewer: None,
        room: RoomWords::default(),
    })
}

/// What happens to a session, one thing per line: `+MS` time passes, `=N` an answer comes, `!` the offer is refused, `#`
/// binary, `~` a ping frame, `c` the viewer connects, `x` it is lost; anything else is a text from the page. It has said
/// hello and watches viewer 1 when the lines begin.
pub fn session(bytes: &[u8]) {
    let status = Status { camera: Camera::Live, reason: None, detail: None, size: None, fps: None };
    let greeting = Greeting { server: "rtcam".into(), viewer_limit: 32, ice_servers: vec![] };
    let mut now = START;
    let mut session = Session::new(Transport::WebSocket, session::Limits::default(), greeting, status, now);
    let answer = |number: u64| session::Input::Answer(Ok(Answer { viewer: ViewerId(number), sdp: "v=0".into() }));
    step(&mut session, now, session::Input::Text(r#"{"type":"hello","version":1}"#));
    step(&mut session, now, session::Input::Text(r#"{"type":"offer","sdp":"v=0"}"#));
    step(&mut session, now, answer(1));
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        let viewer = ViewerId(1);
        let input = match line.as_bytes() {
            [b'+', ..] => {
                now = now + Duration::from_millis(line[1..].parse::<u16>().unwrap_or(1000).into());
                session::Input::Tick
            }
            [b'=', ..] => answer(line[1..].parse().unwrap_or(2)),
            [b'!', ..] => session::Input::Answer(Err(OfferError::NoH264)),
            [b'#', ..] => session::Input::Binary,
            [b'~', ..] => session::Input::Control,
            [b'c', ..] => session::Input::Viewer { viewer, event: ViewerEvent::Connected },
            [b'x', ..] => session::Input::Viewer { viewer, event: ViewerEvent::Closed(CloseReason::Lost) },
            _ => session::Input::Text(line),
        };
        step(&mut session, now, input);
    }
    // whatever was said, it ends, and a session that has ended says nothing
    step(&mut session, now, session::Input::Gone);
    step(&mut session, now, session::Input::NoAnswer);
    assert!(session.is_finished(), "a session that does not end");
    let mut out = Vec::new();
    session.handle(now, session::Input::Text(r#"{"type":"ping","t":1}"#), &mut out);
    assert_eq!(out, []);
}

fn step(session: &mut Session, now: Micros, input: session::Input) {
    let mut out = Vec::new();
    session.handle(now, input, &mut out);
    if out.iter().any(|action| matches!(action, Action::Join { .. })) {
        session.handle(now, session::Input::Seated(seated()), &mut out);
    }
    assert!(out.len() <= MOST_ACTIONS, "{} actions from one input", out.len());
    let closed = out.iter().position(|action| matches!(action, Action::CloseSocket(_)));
    let after = closed.map_or(&[][..], |at| &out[at + 1..]);
    let only_ends = |action: &Action| matches!(action, Action::CloseViewer(_) | Action::KeepViewer(_) | Action::Leave);
    assert!(after.iter().all(only_ends), "something after the last word: {out:?}");
    for action in out {
        if let Action::Send(message @ (Message::Error { .. } | Message::Pong { .. })) = action {
            assert!(message.to_json().len() < 1024, "a long answer: {message:?}");
        }
    }
}

/// What people of a room do, one thing per line: `+MS` time passes, `<N` a seat's socket closes, `>N` opens, `*N` leaves;
/// `N` and a text: what seat N (1 host, 2 operator, 3 and 4 viewers) says.
pub fn room(bytes: &[u8]) {
    let rules = Rules { host_leaves: HostLeaves::Keep, chat: true, max_people: 6 };
    let mut room = Room::new(rules, Vec::new());
    let mut at = Moment { now: START, unix_ms: 0 };
    tell(&mut room, at, room::Input::Adjustable(&camera()));
    let mut seats = Vec::new();
    for (number, role) in [Role::Host, Role::Operator, Role::Viewer, Role::Viewer].into_iter().enumerate() {
        let arrival = Arrival {
            identity: Identity { name: format!("P{number}"), role, proof: Proof::User },
            wish: String::new(),
            resume: None,
            token: format!("token {number}"),
            from: IpAddr::from([192, 0, 2, number as u8]),
            talks: true,
        };
        let seat = room.join(at, arrival, &mut Vec::new()).expect("there is room").seat.id;
        tell(&mut room, at, room::Input::Socket { seat, open: true });
        seats.push(seat);
    }
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        let seat_of = |text: &str| {
            let number = text.bytes().next().map_or(1, |byte| usize::from(byte.wrapping_sub(b'1')));
            seats[number % seats.len()]
        };
        let Some(first) = line.chars().next() else { continue };
        let rest = &line[first.len_utf8()..];
        let input = match first {
            '+' => {
                at.now = at.now + Duration::from_millis(rest.parse::<u16>().unwrap_or(1000).into());
                at.unix_ms = at.now.0 / 1000;
                room::Input::Tick
            }
            '<' => room::Input::Socket { seat: seat_of(rest), open: false },
            '>' => room::Input::Socket { seat: seat_of(rest), open: true },
            '*' => room::Input::Leaves { seat: seat_of(rest) },
            _ => match Heard::parse(rest) {
                Ok(Heard::Said(said)) => room::Input::Said { seat: seat_of(line), said },
                _ => continue,
            },
        };
        tell(&mut room, at, input);
    }
    // everybody who went without a word is gone in the end
    for seat in seats {
        tell(&mut room, at, room::Input::Socket { seat, open: false });
    }
    at.now = at.now + Duration::from_secs(60);
    tell(&mut room, at, room::Input::Tick);
    assert!(room.is_empty(), "{} seats are kept for ever", room.len());
}

fn camera() -> Adjustable {
    let kind = ControlKind::Integer { minimum: 0, maximum: 255, step: 1 };
    let (key, name) = ("brightness".to_string(), "Brightness".to_string());
    let control = Control { key, name, kind, value: 7, default: 128, read_only: false, inactive: false };
    Adjustable { version: 1, controls: vec![control], layers: vec![] }
}

fn tell(room: &mut Room, at: Moment, input: room::Input) {
    let mut out = Vec::new();
    room.handle(at, input, &mut out);
    assert!(out.len() <= MOST_ACTIONS && room.len() <= 6, "{} actions, {} people", out.len(), room.len());
    for action in out {
        match action {
            room::Action::Tell { told, .. } | room::Action::TellAll { told, .. } => drop(told.to_json()),
            _ => {}
        }
    }
}

/// An offer: our own look at it, then the core's.
pub fn sdp(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let _ = (ice_ufrag(&text), sends_video(&text));
    let stated = state_real_level(&text, [0x42, 0xe0, 0x1f]);
    assert!(stated.len() <= text.len() + 2, "{stated}");
    assert!(with_candidates(&text, &["candidate:1".into()]).contains("a=candidate:1\r\n"));
    if choose_profile(&text).is_err() {
        return;
    }
    let Ok(offer) = RTCSessionDescription::offer(text) else { return };
    let now = Instant::now();
    let mut engine = MediaEngine::default();
    engine.register_default_codecs().expect("they fit together");
    let mut connection =
        RTCPeerConnectionBuilder::new().with_media_engine(engine).build(now).expect("a connection of defaults");
    if connection.set_remote_description(now, offer).is_ok()
        && let Ok(answer) = connection.create_answer(None)
    {
        let _ = connection.set_local_description(now, answer);
    }
}

const OFFER: &str = "v=0\r\na=group:BUNDLE 0 1\r\nm=video 9 X 96\r\na=ice-ufrag:old1\r\n\
    a=ice-pwd:old1old1old1old1old1old1\r\na=mid:0\r\na=candidate:9 1 udp 1 10.0.0.9 5 typ host\r\na=end-of-candidates\r\n\
    m=application 9 Y z\r\na=ice-ufrag:old1\r\na=ice-pwd:old1old1old1old1old1old1\r\na=mid:1\r\n";

/// The SDP fragment of a WHEP client: what of it becomes part of an offer are whole lines of candidates.
pub fn whep(bytes: &[u8]) {
    let fragment = String::from_utf8_lossy(bytes);
    let candidates = whep_fragment::candidates(&fragment);
    assert!(candidates.len() <= fragment.lines().count());
    for message in candidates {
        let Message::Candidate { candidate } = message else { panic!("{message:?}") };
        assert!(!candidate.line().contains(['\r', '\n']), "{candidate:?}");
    }
    let of_answer = whep_fragment::of_answer(&fragment);
    assert!(of_answer.ends_with("a=end-of-candidates\r\n") && of_answer.len() <= 2 * fragment.len() + 32);
    let old = Credentials { ufrag: "old1".into(), pwd: "old1old1old1old1old1old1".into() };
    let credentials = Credentials::of(&fragment).unwrap_or(old);
    let offer = whep_fragment::offer_again(OFFER, &credentials, &fragment);
    let ours = |line: &str| OFFER.lines().any(|before| before == line);
    let theirs = |line: &str| line.starts_with("a=candidate:");
    let named = |line: &str| {
        line.strip_prefix("a=ice-ufrag:") == Some(&credentials.ufrag)
            || line.strip_prefix("a=ice-pwd:") == Some(&credentials.pwd)
    };
    for line in offer.split_terminator("\r\n") {
        assert!(ours(line) || theirs(line) || named(line), "{line:?}");
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
    assert_eq!(Credentials::of(&offer), Some(credentials));
}

/// Header lines, `authorization: ...` and `cookie: ...`: nobody becomes more than a stranger by any of them.
pub fn auth(bytes: &[u8]) {
    let open = AuthConfig { mode: AuthMode::Open, open_role: Role::Viewer, ..AuthConfig::default() };
    let gate = Gate::new(&open, false, None, Clock::system()).expect("a gate without passwords");
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]).unwrap_or(header::AUTHORIZATION);
        if let Ok(value) = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()) {
            headers.append(name, value);
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let judged = runtime.block_on(gate.check(IpAddr::from([192, 0, 2, 1]), &headers));
    if let Ok(identity) = judged {
        assert_eq!((identity.role, identity.proof), (Role::Viewer, Proof::None));
    }
    assert!(gate.by_cookie(&headers).is_none());
    assert!(gate.logout(&headers).contains("Max-Age=0"));
}

/// An Annex B stream: the units are parts of it, in order, without start codes.
pub fn h264(bytes: &[u8]) {
    let mut rest = bytes;
    for nal in h264::nal_units(bytes) {
        assert!(!nal.is_empty() && !nal.windows(3).any(|three| three == [0, 0, 1]), "{nal:?}");
        let at = nal.as_ptr() as usize - rest.as_ptr() as usize;
        rest = &rest[at + nal.len()..];
        let _ = (h264::nal_type(nal), h264::profile_level_id(nal));
    }
    let mut declared = bytes.to_vec();
    h264::declare_constrained_baseline(&mut declared);
    assert_eq!(h264::nal_units(&declared).count(), h264::nal_units(bytes).count());
}

/// A config file. The mistakes of a wrong one are told in few words.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = rtcam::config::parse("rtcam.toml", &text, &[]) {
        let words = error.to_string();
        assert!(!words.is_empty() && words.lines().count() <= 64, "{words}");
    }
    let sets: Vec<String> = text.lines().take(4).map(str::to_string).collect();
    let _ = rtcam::config::parse("rtcam.toml", "", &sets);
}
