//! `/ws`: pumps JSON messages between a WebSocket, its session and the room.
//!
//! Must never hold more than a bounded number of bytes for a peer that does not read. Input: frames from anybody who
//! passed the origin and password checks.

use super::call::Call;
use super::connections::{InUse, Use};
use super::lounge::{self, Order, Place, Visitor};
use super::{Live, Shared, plain};
use crate::clock;
use crate::output::ViewerId;
use crate::signal::message::{ByeReason, Message, Status};
use crate::signal::session::{Action, Input, Session, Transport};
use crate::units::Micros;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::debug;

pub const PATH: &str = "/ws";
/// The session judges a message by its exact limit and says so; this much more and the socket itself gives up.
const HEADROOM_BYTES: usize = 4096;

pub async fn upgrade(shared: Arc<Shared>, request: Request<Body>) -> Response<Body> {
    let visitor = Visitor::of(&shared, &request);
    let Some(used) = request.extensions().get::<Arc<Use>>().cloned() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "a request without a connection");
    };
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(refused) => {
            debug!("ws: not an upgrade: {refused}");
            return plain(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket only");
        }
    };
    let message_bytes = shared.limits.session.message_bytes + HEADROOM_BYTES;
    upgrade
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_write_buffer_size(shared.limits.unsent_bytes)
        .max_message_size(message_bytes)
        .max_frame_size(message_bytes)
        .on_upgrade(move |socket| Pump::new(socket, visitor, used, shared).run())
        .into_response()
}

struct Pump {
    socket: WebSocket,
    session: Session,
    call: Call,
    visitor: Visitor,
    /// From the welcome on.
    place: Option<Place>,
    used: Arc<Use>,
    /// From the first offer on: before, it gives way to newcomers.
    in_use: Option<InUse>,
    shared: Arc<Shared>,
    _live: Live,
}

enum Heard {
    Frame(Option<Result<Frame, axum::Error>>),
    Door(Input<'static>),
    /// From the room, for the page.
    Told(Utf8Bytes),
    Order(Order),
    Status,
    Stop,
    /// All connections are taken, and this one has not asked for the picture.
    GiveWay,
    Deadline,
}

impl Pump {
    fn new(socket: WebSocket, visitor: Visitor, used: Arc<Use>, shared: Arc<Shared>) -> Pump {
        shared.requests.ws_sessions.inc();
        let session = Session::new(
            Transport::WebSocket,
            shared.limits.session.clone(),
            shared.greeting(),
            shared.status.borrow().clone(),
            shared.clock.now(),
        );
        let call = Call::new(shared.door.clone(), visitor.from);
        Pump { socket, session, call, visitor, place: None, used, in_use: None, _live: Live::new(&shared), shared }
    }

    async fn run(mut self) {
        let mut status = self.shared.status.subscribe();
        status.mark_changed();
        let mut stop = self.shared.stop.subscribe();
        let mut stopping = false;
        while !self.session.is_finished() {
            let deadline = self.session.next_deadline().map(|at| at.since(self.shared.clock.now()));
            let heard = tokio::select! {
                frame = self.socket.recv() => Heard::Frame(frame),
                input = self.call.next() => Heard::Door(input),
                word = next_word(&mut self.place) => word,
                changed = status.changed() => if changed.is_ok() { Heard::Status } else { Heard::Stop },
                _ = stop.wait_for(|stop| *stop), if !stopping => Heard::Stop,
                () = self.used.gives_way(), if self.in_use.is_none() => Heard::GiveWay,
                _ = until(deadline) => Heard::Deadline,
            };
            stopping |= matches!(heard, Heard::Stop);
            let now = self.shared.clock.now();
            let mut actions = self.digest(now, heard, &mut status).await;
            self.perform(now, &mut actions).await;
            if actions.iter().any(|a| matches!(a, Action::CloseSocket(_))) {
                break;
            }
        }
        if let Some(place) = &self.place {
            self.shared.lounge.socket_gone(place);
        }
        self.drain().await;
        let Pump { socket, call, place, shared, _live, .. } = self;
        drop(socket);
        if let Some(mut place) = place
            && call.viewer().is_some()
        {
            lounge::keep(&shared, &mut place, call).await;
        }
    }

    async fn digest(&mut self, now: Micros, heard: Heard, status: &mut watch::Receiver<Status>) -> Vec<Action> {
        let mut actions = Vec::new();
        let text: Utf8Bytes;
        let input = match heard {
            Heard::Frame(Some(Ok(Frame::Text(bytes)))) => {
                text = bytes;
                Input::Text(text.as_str())
            }
            Heard::Frame(Some(Ok(Frame::Binary(_)))) => Input::Binary,
            Heard::Frame(Some(Ok(Frame::Ping(_) | Frame::Pong(_)))) => Input::Control,
            Heard::Frame(Some(Ok(Frame::Close(_))) | None) => Input::Gone,
            Heard::Frame(Some(Err(e))) => {
                debug!("ws: read: {e}");
                if is_broken_line(&e) { Input::Gone } else { Input::Unreadable }
            }
            Heard::Door(input) => {
                if let (Some(place), Input::Viewer { event, .. }) = (&self.place, &input) {
                    self.shared.lounge.on_viewer(place, event);
                }
                input
            }
            Heard::Told(text) => {
                if self.send(Frame::Text(text)).await {
                    return actions;
                }
                Input::Gone
            }
            Heard::Order(Order::End(reason)) => Input::Expelled(reason),
            Heard::Order(Order::Behind) => Input::Behind,
            Heard::Order(Order::HandOver(give)) => {
                self.session.handle(now, Input::Replaced, &mut actions);
                if actions.iter().any(|action| matches!(action, Action::KeepViewer(_))) {
                    let call =
                        std::mem::replace(&mut self.call, Call::new(self.shared.door.clone(), self.visitor.from));
                    // nobody waits for it any more: dropping it ends the viewer
                    drop(give.send(call));
                }
                return actions;
            }
            Heard::Status => Input::Status(status.borrow_and_update().clone()),
            Heard::Stop => Input::Stop,
            Heard::GiveWay if self.place.is_none() => Input::Expelled(ByeReason::HelloTimeout),
            Heard::GiveWay => Input::Expelled(ByeReason::OfferTimeout),
            Heard::Deadline => Input::Tick,
        };
        self.session.handle(now, input, &mut actions);
        actions
    }

    /// Carries the actions out. A peer that takes nothing ends the session.
    async fn perform(&mut self, now: Micros, actions: &mut Vec<Action>) {
        let mut broken = false;
        let mut at = 0;
        while at < actions.len() {
            self.tell_room(&actions[at]);
            if matches!(actions[at], Action::CreateAnswer { .. } | Action::RestartIce { .. }) {
                self.in_use.get_or_insert_with(|| Use::begin(&self.used));
            }
            let sent = match self.call.act(actions[at].clone()) {
                Some(Action::Join { name, resume }) => {
                    self.join(now, name, resume, actions).await;
                    true
                }
                Some(Action::Send(message)) if !broken => self.send(Frame::text(message.to_json())).await,
                Some(Action::CloseSocket(reason)) if !broken => {
                    self.hang_up(reason).await;
                    true
                }
                _ => true,
            };
            if !sent && !broken {
                broken = true;
                self.session.handle(now, Input::Gone, actions);
            }
            at += 1;
        }
    }

    async fn join(&mut self, now: Micros, name: String, resume: Option<String>, actions: &mut Vec<Action>) {
        let input = match self.shared.lounge.join(&self.visitor, name, resume).await {
            Ok(joined) => {
                self.place = Some(joined.place);
                if let Some(call) = joined.call {
                    self.call = call;
                    self.in_use = Some(Use::begin(&self.used));
                }
                Input::Seated(joined.seated)
            }
            Err(away) => Input::TurnedAway(away),
        };
        self.session.handle(now, input, actions);
    }

    /// What of an action the room has to know.
    fn tell_room(&self, action: &Action) {
        let (Some(place), lounge) = (&self.place, &self.shared.lounge) else { return };
        match action {
            Action::Say(said) => lounge.said(place, said.clone()),
            Action::Leave => lounge.leaves(place),
            Action::CloseViewer(_) => lounge.set_viewer(place, None),
            Action::Send(Message::Answer { viewer, .. }) => lounge.set_viewer(place, Some(ViewerId(*viewer))),
            _ => {}
        }
    }

    async fn send(&mut self, frame: Frame) -> bool {
        let limit = self.shared.limits.stall_within;
        match clock::within(limit, self.socket.send(frame)).await {
            Some(Ok(())) => true,
            Some(Err(e)) => {
                debug!("ws: write: {e}");
                false
            }
            None => {
                debug!("ws: the peer does not read; closing it");
                false
            }
        }
    }

    /// Close frame, then a moment for the peer to read it before the connection goes.
    async fn hang_up(&mut self, reason: ByeReason) {
        let frame = CloseFrame { code: close_code_of(reason), reason: Utf8Bytes::default() };
        let farewell = async {
            if self.socket.send(Frame::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        // longer than a round trip, shorter than anybody waits for a shutdown
        let _ = clock::within(Duration::from_millis(300), farewell).await;
    }

    /// An offer still with the stream may yet bring a viewer that nobody wants.
    async fn drain(&mut self) {
        let wait = self.shared.limits.session.answer_within;
        while !self.session.is_finished() {
            let Some(input) = clock::within(wait, self.call.next()).await else { return };
            let mut actions = Vec::new();
            self.session.handle(self.shared.clock.now(), input, &mut actions);
            for action in actions {
                self.tell_room(&action);
                self.call.act(action);
            }
        }
    }
}

async fn next_word(place: &mut Option<Place>) -> Heard {
    let Some(place) = place else { return std::future::pending().await };
    tokio::select! {
        Some(text) = place.texts.recv() => Heard::Told(text),
        Some(order) = place.orders.recv() => Heard::Order(order),
        // the seat is no more; the order that says why came before
        else => std::future::pending().await,
    }
}

/// The connection failed, as they do; anything else is a peer that does not keep to the protocol.
fn is_broken_line(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() || error.to_string().ends_with("without closing handshake") {
            return true;
        }
        cause = error.source();
    }
    false
}

pub async fn until(span: Option<Duration>) {
    match span {
        Some(span) => clock::sleep(span).await,
        None => std::future::pending().await,
    }
}

fn close_code_of(reason: ByeReason) -> u16 {
    match reason {
        ByeReason::Left | ByeReason::Ended | ByeReason::Other => close_code::NORMAL,
        ByeReason::Shutdown => close_code::AWAY,
        ByeReason::TooLarge => close_code::SIZE,
        ByeReason::HelloTimeout
        | ByeReason::OfferTimeout
        | ByeReason::Silent
        | ByeReason::TooManyErrors
        | ByeReason::Kicked
        | ByeReason::Revoked
        | ByeReason::Closed
        | ByeReason::Behind
        | ByeReason::Version => close_code::POLICY,
    }
}
