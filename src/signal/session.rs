//! One signalling session, sans-IO: a WebSocket page or a WHEP client from first word to last.
//!
//! Owns the order of things (hello, welcome, offer, answer), the quotas and the deadlines, and the one viewer of the
//! session. What is for the room passes through unread. Must never open a socket, wait or read a clock. Input: what the
//! pump saw and `now`; output: actions, in order.

mod picture;

use super::bucket::Bucket;
use super::message::{ByeReason, ErrorCode, Heard, Message, Refused, Status, VERSION};
use super::room::TurnedAway;
use super::room::words::{Said, Seated};
use crate::output::{Answer, OfferError, Tried, ViewerEvent, ViewerId};
use crate::units::Micros;
use picture::no_reply;
use std::time::Duration;

/// What one peer may do, and how long it may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes: usize,
    pub messages_per_s: u32,
    /// Candidates per offer.
    pub candidates: u32,
    /// Bytes of one candidate line.
    pub candidate_bytes: usize,
    /// Bad messages at once before the session ends; one is forgiven every 5 s.
    pub mistakes: u32,
    pub hello_within: Duration,
    /// From welcome to the first offer; from then on somebody may be there without a picture.
    pub offer_within: Duration,
    /// The stream's reply to an offer.
    pub answer_within: Duration,
    pub ping_every: Duration,
    /// Silence after which a page is gone.
    pub dead_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message_bytes: 64 * 1024,
            messages_per_s: 20,
            candidates: 64,
            candidate_bytes: 1024,
            mistakes: 20,
            hello_within: Duration::from_secs(10),
            offer_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(3),
            ping_every: Duration::from_secs(15),
            dead_after: Duration::from_secs(30),
        }
    }
}

/// How long a refused viewer should wait before it asks again.
pub const RETRY_FULL_S: u32 = 5;
pub const RETRY_NOT_READY_S: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// hello first; pings; may offer again and again.
    WebSocket,
    /// The offer is the first word and the only one; ends with its viewer.
    Whep,
}

#[derive(Debug)]
pub enum Input<'a> {
    /// WebSocket: a text message.
    Text(&'a str),
    /// WHEP: one request, already taken apart; counts as one message.
    Request(Vec<Message>),
    /// WebSocket: a binary message, which nobody should send.
    Binary,
    /// WebSocket: a ping or pong frame.
    Control,
    /// WebSocket: a frame too large or broken; nothing more can be read.
    Unreadable,
    /// The reply to `CreateAnswer`.
    Answer(Result<Answer, OfferError>),
    /// The reply to `CreateAnswer` will never come.
    NoAnswer,
    Viewer {
        viewer: ViewerId,
        event: ViewerEvent,
    },
    Status(Status),
    /// The reply to `Join`.
    Seated(Box<Seated>),
    /// The reply to `Join`.
    TurnedAway(TurnedAway),
    /// rtcam is stopping.
    Stop,
    /// The socket is gone, without a word. Its viewer may live on.
    Gone,
    /// Another socket has taken the seat over, and the viewer with it.
    Replaced,
    /// The peer does not take what it is sent.
    Behind,
    /// The room has ended the seat.
    Expelled(ByeReason),
    /// `next_deadline` has come.
    Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Send(Message),
    /// Ask the room for a seat; one `Seated` or `TurnedAway` comes back, before anything else.
    Join {
        name: String,
        resume: Option<String>,
    },
    /// For the room.
    Say(Said),
    /// The seat is given up.
    Leave,
    /// Ask the stream; one `Answer` or `NoAnswer` comes back. Never two at a time.
    CreateAnswer {
        sdp: String,
    },
    /// Ask the stream to find the viewer's path anew; one `Answer` or `NoAnswer` comes back.
    RestartIce {
        viewer: ViewerId,
        sdp: String,
    },
    AddCandidate {
        viewer: ViewerId,
        candidate: String,
    },
    CloseViewer(ViewerId),
    /// The session is over, its viewer is not.
    KeepViewer(ViewerId),
    /// The last word to the peer; only `CloseViewer` or `KeepViewer` may follow.
    CloseSocket(ByeReason),
}

/// What `welcome` says of this server.
#[derive(Clone, Debug)]
pub struct Greeting {
    pub server: String,
    pub viewer_limit: u32,
    /// RTCIceServer objects for the page.
    pub ice_servers: Vec<serde_json::Value>,
}

pub struct Session {
    transport: Transport,
    limits: Limits,
    greeting: Greeting,
    /// The latest known.
    status: Status,
    phase: Phase,
    messages: Bucket,
    mistakes: Bucket,
    /// A too-fast peer is told once per second, not once per message.
    complaints: Bucket,
    heard_at: Micros,
    ping_at: Micros,
    /// An offer has to come by then.
    offer_by: Option<Micros>,
    /// Version spoken, while the room is asked for a seat.
    joining: Option<u32>,
    asked: Option<Asked>,
    /// An offer that came while another was with the stream.
    waiting: Option<String>,
    viewer: Option<ViewerId>,
    /// Why that viewer finds no path; its end follows.
    tried: Option<Box<Tried>>,
    candidates_left: u32,
    /// Candidates that came before the answer.
    early: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Hello { by: Micros },
    Open,
    Closed,
}

/// An offer the stream is working on.
#[derive(Clone, Debug)]
struct Asked {
    by: Micros,
    /// Somebody still waits for it. An answer nobody wants is closed when it comes.
    wanted: bool,
    /// An ICE restart: the offer, for the case that it cannot be done.
    restart: Option<String>,
}

impl Session {
    pub fn new(transport: Transport, limits: Limits, greeting: Greeting, status: Status, now: Micros) -> Session {
        let phase = match transport {
            Transport::WebSocket => Phase::Hello { by: now + limits.hello_within },
            Transport::Whep => Phase::Open,
        };
        Session {
            messages: Bucket::per_second(limits.messages_per_s, now),
            mistakes: Bucket::new(limits.mistakes, Duration::from_secs(5), now),
            complaints: Bucket::per_second(1, now),
            heard_at: now,
            ping_at: now + limits.ping_every,
            offer_by: None,
            joining: None,
            asked: None,
            waiting: None,
            viewer: None,
            tried: None,
            candidates_left: limits.candidates,
            early: Vec::new(),
            transport,
            limits,
            greeting,
            status,
            phase,
        }
    }

    pub fn handle(&mut self, now: Micros, input: Input, out: &mut Vec<Action>) {
        match input {
            Input::Answer(reply) => self.on_answer(now, Some(reply), out),
            Input::NoAnswer => self.on_answer(now, None, out),
            _ if self.phase == Phase::Closed => {}
            Input::Text(text) => self.on_text(now, text, out),
            Input::Request(messages) => self.on_request(now, messages, out),
            Input::Binary => {
                if self.admit(now, out) {
                    self.mistake(now, ErrorCode::BadMessage, "messages are JSON text, not binary", out);
                }
            }
            Input::Control => {
                self.admit(now, out);
            }
            Input::Unreadable => self.on_unreadable(out),
            Input::Viewer { viewer, event } => self.on_viewer(viewer, event, out),
            Input::Status(status) => self.on_status(status, out),
            Input::Seated(seated) => self.on_seated(now, seated, out),
            Input::TurnedAway(away) => self.on_turned_away(away, out),
            Input::Stop => self.close(ByeReason::Shutdown, out),
            Input::Gone => self.end(ByeReason::Left, self.keeps(), out),
            Input::Replaced => self.close_and_keep(ByeReason::Left, out),
            Input::Behind => self.close_and_keep(ByeReason::Behind, out),
            Input::Expelled(reason) => self.close(reason, out),
            Input::Tick => self.on_tick(now, out),
        }
    }

    /// When `Tick` is due; None: never (a WHEP session with a viewer lives as long as that).
    pub fn next_deadline(&self) -> Option<Micros> {
        let answer_by = self.asked.as_ref().filter(|a| a.wanted).map(|a| a.by);
        let phase_by = match self.phase {
            Phase::Closed => return None,
            Phase::Hello { by } => Some(by),
            Phase::Open => match self.transport {
                Transport::WebSocket => Some(self.ping_at.min(self.heard_at + self.limits.dead_after)),
                Transport::Whep => None,
            },
        };
        [answer_by, phase_by, self.offer_by].into_iter().flatten().min()
    }

    /// Closed, and no answer is on its way that would have to be closed too.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Closed && self.asked.is_none()
    }

    fn on_text(&mut self, now: Micros, text: &str, out: &mut Vec<Action>) {
        if !self.admit(now, out) {
            return;
        }
        if text.len() > self.limits.message_bytes {
            return self.on_unreadable(out);
        }
        match Heard::parse(text) {
            Ok(Heard::Message(message)) => self.dispatch(now, message, out),
            Ok(Heard::Said(said)) if self.phase == Phase::Open => out.push(Action::Say(said)),
            Ok(Heard::Said(_)) => self.hello_first(now, out),
            Err(Refused { code, message }) => self.mistake(now, code, &message, out),
        }
    }

    fn on_request(&mut self, now: Micros, messages: Vec<Message>, out: &mut Vec<Action>) {
        if !self.admit(now, out) {
            return;
        }
        for message in messages {
            if self.phase != Phase::Closed {
                self.dispatch(now, message, out);
            }
        }
    }

    /// Counts one thing received; false: over the rate, not to be looked at.
    fn admit(&mut self, now: Micros, out: &mut Vec<Action>) -> bool {
        self.heard_at = self.heard_at.max(now);
        if self.messages.take(now) {
            return true;
        }
        if !self.mistakes.take(now) {
            self.close(ByeReason::TooManyErrors, out);
        } else if self.complaints.take(now) {
            let words = format!("more than {} messages per second; this one was dropped", self.limits.messages_per_s);
            out.push(error(ErrorCode::TooFast, &words, Some(1)));
        }
        false
    }

    fn dispatch(&mut self, now: Micros, message: Message, out: &mut Vec<Action>) {
        let greeted = self.phase == Phase::Open;
        match message {
            Message::Hello { version, name, resume, .. } if !greeted => self.on_hello(now, version, name, resume, out),
            Message::Bye { .. } => self.leave(out),
            Message::Ping { t } => out.push(Action::Send(Message::Pong { t })),
            Message::Pong { .. } => {}
            _ if !greeted => self.hello_first(now, out),
            Message::Offer { sdp, restart } => self.on_offer(now, sdp, restart, out),
            Message::Candidate { candidate } => self.on_candidate(now, candidate.line(), out),
            // a page's own complaint: it has told its user, nothing is left for us to do
            Message::Error { .. } => {}
            Message::Hello { .. } => self.mistake(now, ErrorCode::BadMessage, "hello was said already", out),
            Message::Welcome { .. } | Message::Answer { .. } | Message::Status(_) => {
                self.mistake(now, ErrorCode::BadMessage, "only the server sends this type", out);
            }
        }
    }

    fn hello_first(&mut self, now: Micros, out: &mut Vec<Action>) {
        self.mistake(now, ErrorCode::HelloFirst, "the first message must be hello", out);
    }

    fn on_hello(
        &mut self,
        now: Micros,
        version: u32,
        name: Option<String>,
        resume: Option<String>,
        out: &mut Vec<Action>,
    ) {
        if version == 0 {
            out.push(error(ErrorCode::Version, &format!("this server speaks versions 1 to {VERSION}"), None));
            return self.close(ByeReason::Version, out);
        }
        self.phase = Phase::Open;
        self.ping_at = now + self.limits.ping_every;
        self.joining = Some(version.min(VERSION));
        out.push(Action::Join { name: name.unwrap_or_default(), resume });
    }

    fn on_seated(&mut self, now: Micros, seated: Box<Seated>, out: &mut Vec<Action>) {
        let Some(version) = self.joining.take() else { return };
        self.viewer = seated.viewer.map(ViewerId);
        self.offer_by = self.viewer.is_none().then_some(now + self.limits.offer_within);
        out.push(Action::Send(Message::Welcome {
            version,
            server: self.greeting.server.clone(),
            viewer_limit: self.greeting.viewer_limit,
            status: self.status.clone(),
            seated,
            ice_servers: self.greeting.ice_servers.clone(),
        }));
    }

    fn on_turned_away(&mut self, away: TurnedAway, out: &mut Vec<Action>) {
        let reason = if away.code == ErrorCode::Refused { ByeReason::Revoked } else { ByeReason::Closed };
        out.push(error(away.code, &away.words, Some(away.retry_after_s)));
        self.close(reason, out);
    }

    fn on_status(&mut self, status: Status, out: &mut Vec<Action>) {
        if status == self.status {
            return;
        }
        self.status = status;
        // before hello the page does not know our version; welcome will tell
        if self.phase == Phase::Open && self.transport == Transport::WebSocket {
            out.push(Action::Send(Message::Status(self.status.clone())));
        }
    }

    fn on_tick(&mut self, now: Micros, out: &mut Vec<Action>) {
        if let Phase::Hello { by } = self.phase {
            if now >= by {
                self.close(ByeReason::HelloTimeout, out);
            }
            return;
        }
        if self.offer_by.is_some_and(|by| now >= by) {
            return self.close(ByeReason::OfferTimeout, out);
        }
        if let Some(asked) = self.asked.as_mut().filter(|a| a.wanted && now >= a.by) {
            asked.wanted = false;
            if asked.restart.is_some() {
                self.close_viewer(out);
            }
            self.refuse(&no_reply(), out);
        }
        if self.transport == Transport::WebSocket && self.phase == Phase::Open {
            self.check_life(now, out);
        }
    }

    fn check_life(&mut self, now: Micros, out: &mut Vec<Action>) {
        if now >= self.heard_at + self.limits.dead_after {
            self.close_and_keep(ByeReason::Silent, out);
        } else if now >= self.ping_at {
            self.ping_at = now + self.limits.ping_every;
            out.push(Action::Send(Message::Ping { t: (now.0 / 1000) as f64 }));
        }
    }

    fn on_unreadable(&mut self, out: &mut Vec<Action>) {
        let words = format!("a message of more than {} bytes, or a broken one", self.limits.message_bytes);
        out.push(error(ErrorCode::TooLarge, &words, None));
        self.close(ByeReason::TooLarge, out);
    }

    /// Tells the peer what was wrong; too many of these end the session.
    fn mistake(&mut self, now: Micros, code: ErrorCode, words: &str, out: &mut Vec<Action>) {
        if self.mistakes.take(now) {
            out.push(error(code, words, None));
        } else {
            self.close(ByeReason::TooManyErrors, out);
        }
    }

    /// We end it: say why.
    fn close(&mut self, reason: ByeReason, out: &mut Vec<Action>) {
        out.push(Action::Send(Message::Bye { reason }));
        self.end(reason, false, out);
    }

    /// Only the socket is of no use any more.
    fn close_and_keep(&mut self, reason: ByeReason, out: &mut Vec<Action>) {
        out.push(Action::Send(Message::Bye { reason }));
        self.end(reason, self.keeps(), out);
    }

    /// The peer ended it for good: nobody listens any more.
    fn leave(&mut self, out: &mut Vec<Action>) {
        out.push(Action::Leave);
        self.end(ByeReason::Left, false, out);
    }

    /// A page's viewer belongs to its seat, and lives on without the socket.
    fn keeps(&self) -> bool {
        self.transport == Transport::WebSocket && self.asked.is_none()
    }

    fn end(&mut self, reason: ByeReason, keep: bool, out: &mut Vec<Action>) {
        self.phase = Phase::Closed;
        self.offer_by = None;
        self.waiting = None;
        self.early.clear();
        if let Some(asked) = &mut self.asked {
            asked.wanted = false;
        }
        out.push(Action::CloseSocket(reason));
        let fate = if keep { Action::KeepViewer } else { Action::CloseViewer };
        out.extend(self.viewer.take().map(fate));
    }
}

fn error(code: ErrorCode, message: &str, retry_after_s: Option<u32>) -> Action {
    Action::Send(Message::Error { code, message: message.to_string(), retry_after_s, tried: None })
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "session_random_tests.rs"]
mod random_tests;
