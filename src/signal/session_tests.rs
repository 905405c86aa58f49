//! What a session promises, in microseconds of a clock that only the test moves.

use super::*;
use crate::config::Role;
use crate::output::CloseReason;
use crate::signal::message::{Camera, Candidate};
use crate::signal::room::words::{RoomWords, SeatId, SeatWords};

const START: Micros = Micros(60_000_000);
const HOST: &str = "candidate:1 1 udp 2122260223 192.168.1.5 50000 typ host";

pub fn status(camera: Camera) -> Status {
    Status { camera, reason: None, detail: None, size: None, fps: None }
}

fn seated(viewer: Option<u64>) -> Box<Seated> {
    let seat = SeatWords { id: SeatId(1), name: "Ann".into(), role: Role::Viewer };
    Box::new(Seated {
        seat,
        resume: "secret".into(),
        resumed: false,
        logged_in: false,
        viewer,
        room: RoomWords::default(),
    })
}

pub struct Bench {
    pub session: Session,
    now: Micros,
}

impl Bench {
    pub fn new(transport: Transport) -> Bench {
        let greeting = Greeting { server: "rtcam test".into(), viewer_limit: 32, ice_servers: vec![] };
        let session = Session::new(transport, Limits::default(), greeting, status(Camera::Live), START);
        Bench { session, now: START }
    }

    fn welcomed() -> Bench {
        let mut bench = Bench::new(Transport::WebSocket);
        bench.say(r#"{"type":"hello","version":1}"#);
        bench
    }

    /// With viewer 1 seated.
    fn watching() -> Bench {
        let mut bench = Bench::welcomed();
        bench.say(r#"{"type":"offer","sdp":"v=0"}"#);
        bench.answer(1);
        bench
    }

    /// The room lets everybody in at once.
    pub fn input(&mut self, input: Input) -> Vec<Action> {
        let mut out = Vec::new();
        self.session.handle(self.now, input, &mut out);
        if let Some(Action::Join { .. }) = out.last() {
            out.pop();
            self.session.handle(self.now, Input::Seated(seated(None)), &mut out);
        }
        out
    }

    pub fn say(&mut self, text: &str) -> Vec<Action> {
        self.input(Input::Text(text))
    }

    pub fn answer(&mut self, viewer: u64) -> Vec<Action> {
        self.input(Input::Answer(Ok(Answer { viewer: ViewerId(viewer), sdp: "v=1".into() })))
    }

    /// Moves to the next deadline and ticks.
    fn tick(&mut self) -> Vec<Action> {
        self.now = self.session.next_deadline().expect("a deadline");
        self.input(Input::Tick)
    }

    pub fn wait(&mut self, span: Duration) {
        self.now = self.now + span;
    }
}

fn codes(actions: &[Action]) -> Vec<ErrorCode> {
    let code = |a: &Action| match a {
        Action::Send(Message::Error { code, .. }) => Some(*code),
        _ => None,
    };
    actions.iter().filter_map(code).collect()
}

fn closed(actions: &[Action]) -> Option<ByeReason> {
    actions.iter().find_map(|a| match a {
        Action::CloseSocket(reason) => Some(*reason),
        _ => None,
    })
}

#[test]
fn hello_is_answered_with_the_version_both_speak_and_the_cameras_state() {
    for (asked, given) in [(1, 1), (7, VERSION)] {
        let mut bench = Bench::new(Transport::WebSocket);
        let out = bench.say(&format!(r#"{{"type":"hello","version":{asked},"language":"zh"}}"#));
        let [Action::Send(Message::Welcome { version, viewer_limit, status, .. })] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!((*version, *viewer_limit, status.camera), (given, 32, Camera::Live));
    }
    let mut bench = Bench::new(Transport::WebSocket);
    let out = bench.say(r#"{"type":"hello","version":0}"#);
    assert_eq!((codes(&out), closed(&out)), (vec![ErrorCode::Version], Some(ByeReason::Version)));
}

#[test]
fn an_offer_is_asked_of_the_stream_and_the_answer_sent_back() {
    let mut bench = Bench::welcomed();
    assert_eq!(bench.say(r#"{"type":"offer","sdp":"v=0"}"#), [Action::CreateAnswer { sdp: "v=0".into() }]);
    assert_eq!(bench.answer(9), [Action::Send(Message::Answer { sdp: "v=1".into(), viewer: 9 })]);
}

#[test]
fn nothing_is_done_before_hello() {
    let mut bench = Bench::new(Transport::WebSocket);
    assert_eq!(codes(&bench.say(r#"{"type":"offer","sdp":"v=0"}"#)), [ErrorCode::HelloFirst]);
    assert_eq!(bench.input(Input::Status(status(Camera::Away))), []);
    let out = bench.say(r#"{"type":"hello","version":1}"#);
    assert!(matches!(&out[..], [Action::Send(Message::Welcome { status, .. })] if status.camera == Camera::Away));
}

#[test]
fn hello_is_due_within_ten_seconds_and_not_before() {
    let mut bench = Bench::new(Transport::WebSocket);
    bench.wait(Duration::from_secs(10) - Duration::from_micros(1));
    assert_eq!(bench.input(Input::Tick), []);
    assert_eq!(closed(&bench.tick()), Some(ByeReason::HelloTimeout));
    assert_eq!(bench.now, START + Duration::from_secs(10));
    assert!(bench.session.is_finished());
}

#[test]
fn an_offer_is_due_within_ten_seconds_of_the_welcome() {
    let mut bench = Bench::welcomed();
    assert_eq!(closed(&bench.tick()), Some(ByeReason::OfferTimeout));
    assert_eq!(bench.now, START + Duration::from_secs(10));
}

#[test]
fn the_server_pings_every_fifteen_seconds_and_hangs_up_after_thirty_of_silence() {
    let mut bench = Bench::watching();
    let out = bench.tick();
    assert!(matches!(out[..], [Action::Send(Message::Ping { .. })]), "{out:?}");
    assert_eq!(bench.now, START + Duration::from_secs(15));
    bench.say(r#"{"type":"pong","t":1}"#);
    assert!(matches!(bench.tick()[..], [Action::Send(Message::Ping { .. })]));
    assert_eq!(bench.now, START + Duration::from_secs(30));
    let out = bench.tick();
    assert_eq!(bench.now, START + Duration::from_secs(45));
    assert_eq!(closed(&out), Some(ByeReason::Silent));
    assert!(out.contains(&Action::KeepViewer(ViewerId(1))), "its picture may well go on");
}

#[test]
fn the_room_decides_who_gets_in_and_what_the_welcome_says_of_it() {
    let mut session = Bench::new(Transport::WebSocket).session;
    let mut out = Vec::new();
    let hello = r#"{"type":"hello","version":1,"name":"Ann","resume":"secret"}"#;
    session.handle(START, Input::Text(hello), &mut out);
    assert_eq!(out, [Action::Join { name: "Ann".into(), resume: Some("secret".into()) }]);
    let away = TurnedAway { code: ErrorCode::Closed, words: "closed".into(), retry_after_s: 10 };
    out.clear();
    session.handle(START, Input::TurnedAway(away), &mut out);
    assert_eq!((codes(&out), closed(&out)), (vec![ErrorCode::Closed], Some(ByeReason::Closed)));
}

#[test]
fn a_viewer_that_comes_with_the_seat_needs_no_offer() {
    let mut bench = Bench::new(Transport::WebSocket);
    let mut out = Vec::new();
    bench.session.handle(START, Input::Text(r#"{"type":"hello","version":1,"resume":"secret"}"#), &mut out);
    assert!(matches!(bench.input(Input::Seated(seated(Some(7))))[..], [Action::Send(Message::Welcome { .. })]));
    assert!(matches!(bench.tick()[..], [Action::Send(Message::Ping { .. })]), "no deadline for an offer");
    let out = bench.say(r#"{"type":"offer","sdp":"v=0"}"#);
    assert_eq!(out[0], Action::CloseViewer(ViewerId(7)), "but it may replace it");
}

#[test]
fn words_for_the_room_pass_through_after_the_welcome_only() {
    let mut bench = Bench::new(Transport::WebSocket);
    let chat = r#"{"type":"chat","text":"hello"}"#;
    assert_eq!(codes(&bench.say(chat)), [ErrorCode::HelloFirst]);
    bench.say(r#"{"type":"hello","version":1}"#);
    assert_eq!(bench.say(chat), [Action::Say(Said::Chat { text: "hello".into() })]);
    assert_eq!(codes(&bench.say(r#"{"type":"chat"}"#)), [ErrorCode::BadMessage]);
}

#[test]
fn a_socket_that_breaks_leaves_its_viewer_and_one_that_says_goodbye_takes_it_along() {
    let keep = Action::KeepViewer(ViewerId(1));
    for (input, reason) in
        [(Input::Gone, ByeReason::Left), (Input::Replaced, ByeReason::Left), (Input::Behind, ByeReason::Behind)]
    {
        let out = Bench::watching().input(input);
        assert_eq!((closed(&out), out.last()), (Some(reason), Some(&keep)));
    }
    let out = Bench::watching().say(r#"{"type":"bye"}"#);
    assert_eq!(out, [Action::Leave, Action::CloseSocket(ByeReason::Left), Action::CloseViewer(ViewerId(1))]);
    let out = Bench::watching().input(Input::Expelled(ByeReason::Kicked));
    assert_eq!((closed(&out), out.last()), (Some(ByeReason::Kicked), Some(&Action::CloseViewer(ViewerId(1)))));
}

#[test]
fn an_ice_restart_keeps_the_viewer_and_falls_back_to_a_new_one() {
    let offer = r#"{"type":"offer","sdp":"v=2","restart":true}"#;
    let mut bench = Bench::watching();
    assert_eq!(bench.say(offer), [Action::RestartIce { viewer: ViewerId(1), sdp: "v=2".into() }]);
    assert_eq!(bench.answer(1), [Action::Send(Message::Answer { sdp: "v=1".into(), viewer: 1 })]);
    bench.say(offer);
    let out = bench.input(Input::Answer(Err(OfferError::BadOffer("no".into()))));
    assert_eq!(out, [Action::CloseViewer(ViewerId(1)), Action::CreateAnswer { sdp: "v=2".into() }]);
    assert!(matches!(bench.answer(2)[..], [Action::Send(Message::Answer { viewer: 2, .. })]));
    bench.say(offer);
    let newer = r#"{"type":"offer","sdp":"v=3"}"#;
    assert_eq!(bench.say(newer), [Action::CloseViewer(ViewerId(2))]);
    assert_eq!(bench.answer(2), [Action::CreateAnswer { sdp: "v=3".into() }], "the answer nobody wants any more");
}

#[test]
fn a_ping_is_answered_with_its_own_time() {
    let mut bench = Bench::welcomed();
    assert_eq!(bench.say(r#"{"type":"ping","t":1234.5}"#), [Action::Send(Message::Pong { t: 1234.5 })]);
}

#[test]
fn a_message_of_the_limit_passes_and_one_byte_more_ends_the_session() {
    let text = |bytes: usize| format!(r#"{{"type":"offer","sdp":"{}"}}"#, "x".repeat(bytes - 25));
    let limit = Limits::default().message_bytes;
    assert_eq!(text(limit).len(), limit);
    assert!(matches!(Bench::welcomed().say(&text(limit))[..], [Action::CreateAnswer { .. }]));
    let out = Bench::welcomed().say(&text(limit + 1));
    assert_eq!((codes(&out), closed(&out)), (vec![ErrorCode::TooLarge], Some(ByeReason::TooLarge)));
}

#[test]
fn the_twenty_first_message_of_a_second_is_dropped_with_one_complaint() {
    let mut bench = Bench::new(Transport::WebSocket);
    bench.say(r#"{"type":"hello","version":1}"#);
    for _ in 0..19 {
        assert_eq!(bench.say(r#"{"type":"ping","t":1}"#).len(), 1);
    }
    assert_eq!(codes(&bench.say(r#"{"type":"ping","t":1}"#)), [ErrorCode::TooFast]);
    assert_eq!(bench.say(r#"{"type":"ping","t":1}"#), []);
    bench.wait(Duration::from_millis(50));
    assert_eq!(bench.say(r#"{"type":"ping","t":2}"#), [Action::Send(Message::Pong { t: 2.0 })]);
}

#[test]
fn a_flood_ends_the_session() {
    let mut bench = Bench::watching();
    let end = (0..100).find_map(|_| closed(&bench.input(Input::Control)));
    assert_eq!(end, Some(ByeReason::TooManyErrors));
    assert_eq!(bench.session.next_deadline(), None);
}

#[test]
fn unknown_types_are_answered_without_closing_until_there_are_too_many() {
    let mut bench = Bench::welcomed();
    bench.say(r#"{"type":"offer","sdp":"v=0"}"#);
    let mut complaints = 0;
    for _ in 0..Limits::default().mistakes {
        bench.wait(Duration::from_millis(100));
        complaints += codes(&bench.say(r#"{"type":"dance"}"#)).len();
    }
    assert_eq!(complaints, 20);
    bench.wait(Duration::from_millis(100));
    assert_eq!(closed(&bench.say(r#"{"type":"dance"}"#)), Some(ByeReason::TooManyErrors));
}

#[test]
fn one_bad_message_in_five_seconds_is_borne_for_ever() {
    let mut bench = Bench::watching();
    for _ in 0..500 {
        bench.wait(Duration::from_secs(5));
        assert_eq!(closed(&bench.input(Input::Binary)), None);
    }
}

#[test]
fn sixty_four_candidates_pass_and_the_next_is_refused_until_a_new_offer() {
    let mut bench = Bench::watching();
    let text = format!(r#"{{"type":"candidate","candidate":"{HOST}"}}"#);
    for _ in 0..64 {
        bench.wait(Duration::from_millis(50));
        assert!(matches!(bench.say(&text)[..], [Action::AddCandidate { viewer: ViewerId(1), .. }]));
    }
    bench.wait(Duration::from_millis(50));
    assert_eq!(codes(&bench.say(&text)), [ErrorCode::TooManyCandidates]);
    bench.say(r#"{"type":"offer","sdp":"v=0"}"#);
    bench.answer(2);
    bench.wait(Duration::from_secs(1));
    assert!(matches!(bench.say(&text)[..], [Action::AddCandidate { viewer: ViewerId(2), .. }]));
}

#[test]
fn a_candidate_that_could_smuggle_another_sdp_line_is_refused() {
    for line in
        ["candidate:1\r\na=setup:active", "m=video 9", "candidate:\u{e9}", &format!("candidate:{}", "1".repeat(1024))]
    {
        let mut bench = Bench::watching();
        let text = Message::Candidate { candidate: Candidate::Line(line.into()) }.to_json();
        assert_eq!(codes(&bench.say(&text)), [ErrorCode::BadCandidate], "{line:?}");
    }
}

#[test]
fn candidates_that_come_before_the_answer_are_kept_for_it() {
    let mut bench = Bench::welcomed();
    bench.say(r#"{"type":"offer","sdp":"v=0"}"#);
    assert_eq!(bench.say(&format!(r#"{{"type":"candidate","candidate":"{HOST}"}}"#)), []);
    let out = bench.answer(3);
    assert_eq!(out[1..], [Action::AddCandidate { viewer: ViewerId(3), candidate: HOST.into() }]);
}

#[test]
fn a_new_offer_replaces_the_viewer_of_the_old_one() {
    let mut bench = Bench::watching();
    let out = bench.say(r#"{"type":"offer","sdp":"v=2"}"#);
    assert_eq!(out, [Action::CloseViewer(ViewerId(1)), Action::CreateAnswer { sdp: "v=2".into() }]);
    bench.answer(2);
    let late = Input::Viewer { viewer: ViewerId(1), event: ViewerEvent::Closed(CloseReason::Lost) };
    assert_eq!(bench.input(late), []);
}

#[test]
fn offers_that_come_while_one_is_with_the_stream_wait_and_only_the_newest_is_asked() {
    let mut bench = Bench::welcomed();
    bench.say(r#"{"type":"offer","sdp":"v=0"}"#);
    assert_eq!(bench.say(r#"{"type":"offer","sdp":"v=2"}"#), []);
    assert_eq!(bench.say(r#"{"type":"offer","sdp":"v=3"}"#), []);
    assert_eq!(bench.answer(1), [Action::CloseViewer(ViewerId(1)), Action::CreateAnswer { sdp: "v=3".into() }]);
    assert!(matches!(bench.answer(2)[..], [Action::Send(Message::Answer { viewer: 2, .. })]));
}

#[test]
fn a_full_house_says_so_at_once_and_when_to_come_again() {
    let mut bench = Bench::welcomed();
    bench.say(r#"{"type":"offer","sdp":"v=0"}"#);
    let out = bench.input(Input::Answer(Err(OfferError::Full { max_viewers: 32 })));
    let [Action::Send(Message::Error { code, message, retry_after_s, .. })] = &out[..] else { panic!("{out:?}") };
    assert_eq!((*code, *retry_after_s), (ErrorCode::Full, Some(RETRY_FULL_S)));
    assert!(message.contains("32"), "{message}");
    bench.wait(Duration::from_secs(14));
    assert!(matches!(bench.say(r#"{"type":"offer","sdp":"v=0"}"#)[..], [Action::CreateAnswer { .. }]));
}

#[test]
fn a_stream_that_does_not_answer_is_reported_and_its_late_viewer_closed() {
    let mut bench = Bench::welcomed();
    bench.say(r#"{"type":"offer","sdp":"v=0"}"#);
    assert_eq!(codes(&bench.tick()), [ErrorCode::NotReady]);
    assert_eq!(bench.now, START + Duration::from_secs(3));
    assert_eq!(bench.answer(5), [Action::CloseViewer(ViewerId(5))]);
}

#[test]
fn a_viewer_that_ended_is_reported_and_may_be_offered_again() {
    for (reason, code) in [
        (CloseReason::ConnectTimeout, vec![ErrorCode::ConnectTimeout]),
        (CloseReason::Lost, vec![ErrorCode::Lost]),
        (CloseReason::Failed, vec![ErrorCode::Failed]),
        (CloseReason::Left, vec![]),
    ] {
        let mut bench = Bench::watching();
        bench.input(Input::Viewer { viewer: ViewerId(1), event: ViewerEvent::Connected });
        let out = bench.input(Input::Viewer { viewer: ViewerId(1), event: ViewerEvent::Closed(reason) });
        assert_eq!((codes(&out), closed(&out)), (code, None), "{reason:?}");
        assert!(matches!(bench.say(r#"{"type":"offer","sdp":"v=0"}"#)[..], [Action::CreateAnswer { .. }]));
    }
}

#[test]
fn the_cameras_state_is_told_when_it_changes_and_only_then() {
    let mut bench = Bench::watching();
    assert_eq!(bench.input(Input::Status(status(Camera::Live))), []);
    let away = status(Camera::Away);
    assert_eq!(bench.input(Input::Status(away.clone())), [Action::Send(Message::Status(away.clone()))]);
    assert_eq!(bench.input(Input::Status(away)), []);
}

#[test]
fn stopping_says_goodbye_and_lets_the_viewer_go() {
    let out = Bench::watching().input(Input::Stop);
    let bye = Action::Send(Message::Bye { reason: ByeReason::Shutdown });
    assert_eq!(out, [bye, Action::CloseSocket(ByeReason::Shutdown), Action::CloseViewer(ViewerId(1))]);
}

#[test]
fn a_peer_that_goes_while_its_offer_is_with_the_stream_leaves_no_viewer_behind() {
    let mut bench = Bench::welcomed();
    bench.say(r#"{"type":"offer","sdp":"v=0"}"#);
    assert_eq!(bench.input(Input::Gone), [Action::CloseSocket(ByeReason::Left)]);
    assert!(!bench.session.is_finished());
    assert_eq!(bench.answer(4), [Action::CloseViewer(ViewerId(4))]);
    assert!(bench.session.is_finished());
}

#[test]
fn a_whep_session_needs_no_hello_and_ends_with_its_viewer() {
    let mut bench = Bench::new(Transport::Whep);
    let offer = Message::Offer { sdp: "v=0".into(), restart: false };
    assert_eq!(bench.input(Input::Request(vec![offer])), [Action::CreateAnswer { sdp: "v=0".into() }]);
    assert!(matches!(bench.answer(1)[..], [Action::Send(Message::Answer { .. })]));
    assert_eq!(bench.session.next_deadline(), None);
    let out = bench.input(Input::Viewer { viewer: ViewerId(1), event: ViewerEvent::Closed(CloseReason::Left) });
    assert_eq!(closed(&out), Some(ByeReason::Ended));
}

#[test]
fn a_refused_whep_offer_ends_the_session() {
    let mut bench = Bench::new(Transport::Whep);
    bench.input(Input::Request(vec![Message::Offer { sdp: "v=0".into(), restart: false }]));
    let out = bench.input(Input::Answer(Err(OfferError::NoH264)));
    assert_eq!((codes(&out), closed(&out)), (vec![ErrorCode::NoH264], Some(ByeReason::Ended)));
}
