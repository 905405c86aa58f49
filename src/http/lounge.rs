//! The pump of the room: the one `Room`, and for each seat the ways by which it hears of it.
//!
//! Owns the lines to the seats: a bounded queue to each WebSocket, and the viewer whose data channel may be used. Must
//! never wait for a seat: who does not take what it is sent loses its socket, not the room its pace. Input: the sockets
//! (`ws.rs`), WHEP clients (`whep.rs`), viewers' data channels, the stream's word for how things are, and at the start
//! the room that an earlier run left in the state folder.

mod table;

use super::call::Call;
use super::kept::Kept;
use super::state::StateFolder;
use super::viewer_log::ViewerLog;
use super::watchers::{Numbers, Rates};
use super::{Shared, plain, retry_after};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::metrics::Count;
use crate::output::{ViewerDoor, ViewerEvent, ViewerId};
use crate::signal::identity::Identity;
use crate::signal::message::{ByeReason, ErrorCode, Heard, Message};
use crate::signal::room::people::Arrival;
use crate::signal::room::snapshot::Snapshot;
use crate::signal::room::words::{Said, SeatId, Seated, Told};
use crate::signal::room::{Action, Input, LinkWish, Links, Moment, Room, Rules, TurnedAway};
use crate::stream::Stream;
use axum::body::Body;
use axum::extract::ws::Utf8Bytes;
use axum::http::{Request, Response, StatusCode};
use serde_json::json;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info};

const ROOM_FILE: &str = "room.json";
/// The room is written no more often than that.
const WRITTEN_EVERY: Duration = Duration::from_secs(2);
/// Messages waiting for one WebSocket.
pub const TEXTS: usize = 256;
const ORDERS: usize = 8;
/// How often deadlines are looked at, and how long several changes of the state are gathered into one.
const TICK: Duration = Duration::from_millis(250);
const GATHER: Duration = Duration::from_millis(50);
/// How often hosts who look are told who watches.
const TABLE_EVERY: Duration = Duration::from_secs(2);
/// How often each viewer gets a line in the log of viewers.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// An older socket gives the viewer up at once, unless it hangs.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(1);

/// What the lounge counts.
#[derive(Debug, Default)]
pub struct Counts {
    pub joined: Count,
    pub resumed: Count,
    pub turned_away: Count,
    /// Sockets closed because they did not take what they were sent.
    pub behind: Count,
    pub chat_lines: Count,
    pub relayed: Count,
}

pub struct Lounge {
    inner: Mutex<Inner>,
    clock: Clock,
    door: Arc<dyn ViewerDoor>,
    stream: Arc<dyn Stream>,
    links: Arc<dyn Links>,
    kept: Arc<Kept>,
    log: Option<ViewerLog>,
    /// Messages that may wait for one socket.
    texts: usize,
    counts: Counts,
}

struct Inner {
    room: Room,
    lines: HashMap<SeatId, Line>,
    last_epoch: u64,
    rates: Rates,
    numbers: Numbers,
}

/// The ways to one seat.
struct Line {
    /// Of the task that serves the seat; an older one has nothing to say any more.
    epoch: u64,
    /// While its WebSocket is open.
    texts: Option<mpsc::Sender<Utf8Bytes>>,
    orders: mpsc::Sender<Order>,
    viewer: Option<ViewerId>,
    /// The viewer's "sync" channel is open.
    channel: bool,
    /// It has asked for the picture: until then it is not worth a line in the log, of which a crowd could make thousands.
    is_logged: bool,
}

/// What the lounge wants of the task that serves a seat.
pub enum Order {
    End(ByeReason),
    /// Too many messages wait for its socket.
    Behind,
    /// Another socket has come for the seat; it gets the viewer.
    HandOver(oneshot::Sender<Call>),
}

/// What the task that serves a seat holds.
pub struct Place {
    pub seat: SeatId,
    epoch: u64,
    pub texts: mpsc::Receiver<Utf8Bytes>,
    pub orders: mpsc::Receiver<Order>,
    lounge: Arc<Lounge>,
}

impl Drop for Place {
    /// For a task that was cut off; one that ran to its end has said so before.
    fn drop(&mut self) {
        self.lounge.part(self.seat, self.epoch);
    }
}

/// Who comes in, as their request says.
#[derive(Clone)]
pub struct Visitor {
    pub identity: Identity,
    pub from: IpAddr,
    /// They came with a cookie of ours.
    pub logged_in: bool,
}

impl Visitor {
    pub fn of(shared: &Shared, request: &Request<Body>) -> Visitor {
        let identity = request.extensions().get::<Identity>().cloned().unwrap_or_else(Identity::at_home);
        let ends = request.extensions().get::<super::Ends>();
        let from = ends.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ends| super::connections::network(ends.peer.ip()));
        let logged_in = shared.gate.by_cookie(request.headers()).is_some();
        Visitor { identity, from, logged_in }
    }
}

/// A seat, and the viewer that came with it.
pub struct Joined {
    pub place: Place,
    pub seated: Box<Seated>,
    pub call: Option<Call>,
}

impl Lounge {
    pub fn new(
        config: &Config,
        clock: Clock,
        door: Arc<dyn ViewerDoor>,
        stream: Arc<dyn Stream>,
        links: Arc<dyn Links>,
        state: Option<Arc<StateFolder>>,
        texts: usize,
    ) -> Lounge {
        let rules = Rules::new(&config.room, config.webrtc.max_viewers);
        let mut room = Room::new(rules, config.camera.presets.clone());
        let kept = Kept::new(state, ROOM_FILE, "seats of the room", WRITTEN_EVERY, clock.clone());
        if let Some(snapshot) = kept.read(Snapshot::parse) {
            room.restore(moment(&clock), snapshot);
        }
        let inner =
            Inner { room, lines: HashMap::new(), last_epoch: 0, rates: Rates::default(), numbers: Numbers::default() };
        let (inner, log, counts) = (Mutex::new(inner), table::open_log(config), Counts::default());
        let lounge = Lounge { inner, clock, door, stream, links, kept, log, texts, counts };
        lounge.look_at_stream();
        lounge
    }

    /// A page with an open socket.
    pub async fn join(
        self: &Arc<Self>,
        visitor: &Visitor,
        name: String,
        resume: Option<String>,
    ) -> Result<Joined, TurnedAway> {
        let (place, mut seated, older) = self.admit(visitor, name, resume, true)?;
        let call = match older {
            Some(older) => clock::within(HAND_OVER_WITHIN, older).await.and_then(Result::ok),
            None => None,
        };
        let viewer = call.as_ref().and_then(Call::viewer);
        if seated.viewer.is_some() && viewer.is_none() {
            self.set_viewer(&place, None);
        }
        seated.viewer = viewer.map(|viewer| viewer.0);
        seated.logged_in = visitor.logged_in;
        Ok(Joined { place, seated, call })
    }

    /// A WHEP client: it watches and neither hears nor says anything.
    pub fn join_silently(self: &Arc<Self>, visitor: &Visitor) -> Result<Place, TurnedAway> {
        self.admit(visitor, "WHEP".into(), None, false).map(|(place, _, _)| place)
    }

    /// Synchronous, so that nothing is told to the seat before its queue is there.
    #[allow(clippy::type_complexity)]
    fn admit(
        self: &Arc<Self>,
        visitor: &Visitor,
        wish: String,
        resume: Option<String>,
        talks: bool,
    ) -> Result<(Place, Box<Seated>, Option<oneshot::Receiver<Call>>), TurnedAway> {
        if !self.links.is_good(&visitor.identity) {
            // revoked between their request and their hello
            self.counts.turned_away.inc();
            let words = "the link you came by is no longer good; ask for a new one".into();
            return Err(TurnedAway { code: ErrorCode::Refused, words, retry_after_s: 60 });
        }
        let away = |words: &str| TurnedAway { code: ErrorCode::NotReady, words: words.into(), retry_after_s: 2 };
        let token = super::gate::random_hex().ok_or_else(|| away("the system gives no random numbers"))?;
        let arrival = Arrival {
            identity: visitor.identity.clone(),
            wish,
            resume,
            // 128 bits are plenty
            token: token[..32].to_string(),
            from: visitor.from,
            talks,
        };
        let mut inner = self.inner();
        let mut actions = Vec::new();
        let at = self.moment();
        let joined = inner.room.join(at, arrival, &mut actions);
        let seated = match joined {
            Ok(seated) => seated,
            Err(away) => {
                self.counts.turned_away.inc();
                self.perform(&mut inner, actions);
                return Err(away);
            }
        };
        let counter = if seated.resumed { &self.counts.resumed } else { &self.counts.joined };
        counter.inc();
        let seat = seated.seat.id;
        let (place, older) = self.seat(&mut inner, seat, talks);
        inner.room.handle(at, Input::Socket { seat, open: talks }, &mut actions);
        self.perform(&mut inner, actions);
        debug!(seat = seat.0, role = ?seated.seat.role, resumed = seated.resumed, "room: somebody is here");
        if !seated.resumed {
            self.note(at, "joined", json!({"seat": seat, "name": seated.seat.name, "role": seated.seat.role}));
        }
        Ok((place, Box::new(seated), older))
    }

    /// The line of a seat; an older task is asked for the viewer it holds.
    fn seat(
        self: &Arc<Self>,
        inner: &mut Inner,
        seat: SeatId,
        talks: bool,
    ) -> (Place, Option<oneshot::Receiver<Call>>) {
        inner.last_epoch += 1;
        let epoch = inner.last_epoch;
        let (text_in, texts) = mpsc::channel(self.texts);
        let (order_in, orders) = mpsc::channel(ORDERS);
        let texts_in = talks.then_some(text_in);
        let mut line =
            Line { epoch, texts: texts_in, orders: order_in, viewer: None, channel: false, is_logged: false };
        let older = inner.lines.remove(&seat).and_then(|older| {
            (line.viewer, line.channel, line.is_logged) = (older.viewer, older.channel, older.is_logged);
            let (give, call) = oneshot::channel();
            older.orders.try_send(Order::HandOver(give)).is_ok().then_some(call)
        });
        inner.lines.insert(seat, line);
        (Place { seat, epoch, texts, orders, lounge: self.clone() }, older)
    }

    /// The seat's socket is gone; its viewer may live on.
    pub fn socket_gone(&self, place: &Place) {
        self.with_line(place, |line| line.texts = None);
        self.tell_room(place, |seat| Input::Socket { seat, open: false });
    }

    /// The seat watches through another viewer now, or through none.
    pub fn set_viewer(&self, place: &Place, viewer: Option<ViewerId>) {
        let (mut changed, mut had_channel) = (false, false);
        self.with_line(place, |line| {
            changed = line.viewer != viewer;
            if changed {
                had_channel = line.channel;
                (line.viewer, line.channel) = (viewer, false);
            }
            if viewer.is_some() && !std::mem::replace(&mut line.is_logged, true) {
                info!(seat = place.seat.0, "room: somebody watches");
            }
        });
        if changed {
            self.tell_room(place, |seat| Input::Viewer { seat, viewer });
        }
        if had_channel {
            // its last words may never have arrived
            self.tell_room(place, |seat| Input::Behind { seat });
        }
    }

    pub fn leaves(&self, place: &Place) {
        self.tell_room(place, |seat| Input::Leaves { seat });
    }

    pub fn said(&self, place: &Place, said: Said) {
        self.tell_room(place, |seat| Input::Said { seat, said });
    }

    /// What a viewer's own thread says.
    pub fn on_viewer(&self, place: &Place, event: &ViewerEvent) {
        match event {
            ViewerEvent::Connected => self.tell_room(place, |seat| Input::Watching { seat }),
            ViewerEvent::Channel(open) => self.with_line(place, |line| line.channel = *open),
            ViewerEvent::Behind => self.tell_room(place, |seat| Input::Behind { seat }),
            ViewerEvent::Said(text) => self.said_by_channel(place, text),
            // for the session: it tells the page
            ViewerEvent::Tried(_) => {}
            ViewerEvent::Closed(_) => self.set_viewer(place, None),
        }
    }

    /// The data channel carries everything but what is about the connection itself.
    fn said_by_channel(&self, place: &Place, text: &str) {
        match Heard::parse(text) {
            Ok(Heard::Said(said)) => self.said(place, said),
            Ok(Heard::Message(Message::Bye { .. })) => self.leaves(place),
            Ok(Heard::Message(Message::Ping { t })) => self.answer(place, &Message::Pong { t }),
            Ok(Heard::Message(_)) => {}
            Err(refused) => {
                let (code, message) = (refused.code, refused.message);
                self.answer(place, &Message::Error { code, message, retry_after_s: None, tried: None });
            }
        }
    }

    fn answer(&self, place: &Place, message: &Message) {
        let inner = self.inner();
        if let Some(viewer) = inner.lines.get(&place.seat).and_then(|line| line.viewer) {
            self.door.send(viewer, message.to_json());
        }
    }

    /// The task of the seat has ended.
    fn part(&self, seat: SeatId, epoch: u64) {
        let mut inner = self.inner();
        if inner.lines.get(&seat).is_none_or(|line| line.epoch != epoch) {
            return;
        }
        inner.lines.remove(&seat);
        let at = self.moment();
        let mut actions = Vec::new();
        inner.room.handle(at, Input::Socket { seat, open: false }, &mut actions);
        inner.room.handle(at, Input::Viewer { seat, viewer: None }, &mut actions);
        self.perform(&mut inner, actions);
    }

    fn with_line(&self, place: &Place, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.inner().lines.get_mut(&place.seat).filter(|line| line.epoch == place.epoch) {
            change(line);
        }
    }

    /// Only the newest task of a seat speaks for it.
    fn tell_room<'a>(&self, place: &Place, input: impl FnOnce(SeatId) -> Input<'a>) {
        let mut inner = self.inner();
        if inner.lines.get(&place.seat).is_some_and(|line| line.epoch == place.epoch) {
            self.step(&mut inner, input(place.seat));
        }
    }

    fn step(&self, inner: &mut Inner, input: Input) {
        let mut actions = Vec::new();
        inner.room.handle(self.moment(), input, &mut actions);
        self.perform(inner, actions);
    }

    fn perform(&self, inner: &mut Inner, actions: Vec<Action>) {
        if actions.iter().any(changes_snapshot) {
            self.kept.touch();
        }
        for action in actions {
            match action {
                Action::Tell { to, told } => self.tell(inner, to, &told),
                Action::TellAll { told, but } => self.tell_all(inner, &told, but),
                Action::Adjust { seat, changes } => {
                    let failed = changes.into_iter().find_map(|change| self.stream.adjust(change).err());
                    if let Some(error) = failed {
                        self.step(inner, Input::NotAdjusted { seat, error });
                    }
                }
                Action::End { seat, reason } => {
                    self.note(self.moment(), "left", json!({"seat": seat, "reason": reason}));
                    if let Some(line) = inner.lines.remove(&seat) {
                        if line.is_logged {
                            info!(seat = seat.0, ?reason, "room: somebody has left");
                        }
                        // full or closed: its task ends by itself
                        let _ = line.orders.try_send(Order::End(reason));
                    }
                }
                Action::Links { seat, wish } => self.on_links(inner, seat, wish),
            }
        }
    }

    fn tell(&self, inner: &mut Inner, to: SeatId, told: &Told) {
        if matches!(told, Told::Relay { .. }) {
            self.counts.relayed.inc();
        }
        if let Some(line) = inner.lines.get_mut(&to) {
            self.send(line, told.prefers_channel(), &Utf8Bytes::from(told.to_json()));
        }
    }

    fn tell_all(&self, inner: &mut Inner, told: &Told, but: Option<SeatId>) {
        if matches!(told, Told::Chat(_)) {
            self.counts.chat_lines.inc();
        }
        let text = Utf8Bytes::from(told.to_json());
        for (seat, line) in &mut inner.lines {
            if Some(*seat) != but {
                self.send(line, told.prefers_channel(), &text);
            }
        }
    }

    fn send(&self, line: &mut Line, prefers_channel: bool, text: &Utf8Bytes) {
        let by_channel = line.viewer.filter(|_| line.channel && (prefers_channel || line.texts.is_none()));
        if let Some(viewer) = by_channel
            && self.door.send(viewer, text.to_string())
        {
            return;
        }
        let Some(texts) = &line.texts else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = texts.try_send(text.clone()) {
            self.counts.behind.inc();
            line.texts = None;
            let _ = line.orders.try_send(Order::Behind);
        }
    }

    fn on_links(&self, inner: &mut Inner, seat: SeatId, wish: LinkWish) {
        let told = match wish {
            LinkWish::Make { role, for_s, name } => {
                self.links.make(role, for_s, &name).map(|link| vec![Told::Link { link }])
            }
            LinkWish::List => self.links.list().map(|links| vec![Told::Links { links }]),
            LinkWish::Revoke { id } => self.links.revoke(&id).and_then(|()| {
                // from here on nobody comes in by it; who did goes
                self.step(inner, Input::Revoked { link: &id });
                self.links.list().map(|links| vec![Told::Links { links }])
            }),
        };
        let told = told.unwrap_or_else(|message| vec![Told::Error { code: ErrorCode::Refused, message }]);
        told.iter().for_each(|told| self.tell(inner, seat, told));
    }

    /// The room goes to the state folder, for as long as it is polled.
    pub async fn keep_room(&self) {
        self.kept.follow(|| self.inner().room.snapshot().to_text()).await;
    }

    pub async fn keep_room_at_last(&self) {
        self.kept.finish(|| self.inner().room.snapshot().to_text()).await;
    }

    fn look_at_stream(&self) {
        let adjustable = self.stream.adjustable().borrow().clone();
        self.step(&mut self.inner(), Input::Adjustable(&adjustable));
    }

    fn tick(&self) {
        let mut inner = self.inner();
        let now = self.clock.now();
        if inner.room.next_deadline().is_some_and(|at| at <= now) {
            self.step(&mut inner, Input::Tick);
        }
        for link in self.links.newly_revoked() {
            self.step(&mut inner, Input::Revoked { link: &link });
        }
    }

    fn moment(&self) -> Moment {
        moment(&self.clock)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn moment(clock: &Clock) -> Moment {
    Moment { now: clock.now(), unix_ms: clock.wall().0 / 1000 }
}

/// Whether what the next run finds may be another room after it.
fn changes_snapshot(action: &Action) -> bool {
    match action {
        Action::End { .. } => true,
        Action::Tell { told, .. } | Action::TellAll { told, .. } => matches!(
            told,
            Told::Peers(_) | Told::Control(_) | Told::Room { .. } | Told::Accept { .. } | Told::Hangup { .. }
        ),
        Action::Adjust { .. } | Action::Links { .. } => false,
    }
}

/// Deadlines, the stream's news and the table of who watches, while the port is open.
pub async fn run(shared: Arc<Shared>) {
    let lounge = &shared.lounge;
    let mut adjustable = lounge.stream.adjustable();
    let mut next_table = shared.clock.now();
    let mut next_log = next_table;
    loop {
        let news = async {
            // a stream without anything to adjust may drop its end
            if adjustable.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        if clock::within(TICK, news).await.is_some() {
            let now_so = adjustable.borrow_and_update().clone();
            lounge.step(&mut lounge.inner(), Input::Adjustable(&now_so));
            clock::sleep(GATHER).await;
        }
        lounge.tick();
        let now = shared.clock.now();
        if now >= next_table {
            next_table = now + TABLE_EVERY;
            lounge.tell_table(now);
        }
        if now >= next_log {
            next_log = now + LOG_EVERY;
            lounge.log_table(now);
        }
    }
}

/// Goes on with a viewer whose WebSocket is gone, until it ends, the page comes back, or the room ends the seat.
pub async fn keep(shared: &Shared, place: &mut Place, mut call: Call) {
    debug!(seat = place.seat.0, "room: the socket is gone, the picture is not");
    let mut stop = shared.stop.subscribe();
    while call.viewer().is_some() {
        tokio::select! {
            input = call.next() => {
                if let crate::signal::session::Input::Viewer { event, .. } = input {
                    shared.lounge.on_viewer(place, &event);
                }
            }
            order = place.orders.recv() => match order {
                // nobody waits for it any more: the viewer ends with the call
                Some(Order::HandOver(give)) => return drop(give.send(call)),
                Some(Order::Behind) => {}
                Some(Order::End(_)) | None => return,
            },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// For a WHEP client that found no seat.
pub fn refusal(away: &TurnedAway) -> Response<Body> {
    let status = match away.code {
        ErrorCode::Closed | ErrorCode::Refused => StatusCode::FORBIDDEN,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    retry_after(plain(status, &away.words), away.retry_after_s)
}
