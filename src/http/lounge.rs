//! The pump of the room: the one `Room`, and for each seat the ways by which it hears of it.
//!
//! Owns the lines to the seats: a bounded queue to each WebSocket, and the viewer whose data channel may be used. Must
//! never wait for a seat: who does not take what it is sent loses its socket, not the room its pace. Input: the sockets
//! (`ws.rs`), WHEP clients (`whep.rs`), viewers' data channels, and the stream's word for how things are.

use super::call::Call;
use super::viewer_log::ViewerLog;
use super::watchers::{Numbers, Rates};
use super::{Shared, plain, retry_after};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::metrics::{Count, RoomFigures, ViewerFigures};
use crate::output::{ViewerDoor, ViewerEvent, ViewerId};
use crate::signal::identity::Identity;
use crate::signal::message::{ByeReason, ErrorCode, Heard, Message};
use crate::signal::room::people::Arrival;
use crate::signal::room::words::{Said, SeatId, Seated, Told, ViewerRow};
use crate::signal::room::{Action, Input, LinkWish, Links, Moment, Room, Rules, TurnedAway};
use crate::stream::Stream;
use crate::units::Micros;
use axum::body::Body;
use axum::extract::ws::Utf8Bytes;
use axum::http::{Request, Response, StatusCode};
use serde_json::json;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

/// Messages waiting for one WebSocket.
pub const TEXTS: usize = 256;
const ORDERS: usize = 8;
/// How often deadlines are looked at, and how long several changes of the state are gathered into one.
const TICK: Duration = Duration::from_millis(250);
const GATHER: Duration = Duration::from_millis(20);
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
}

impl Visitor {
    pub fn of(request: &Request<Body>) -> Visitor {
        let identity = request.extensions().get::<Identity>().cloned().unwrap_or_else(Identity::at_home);
        let ends = request.extensions().get::<super::Ends>();
        let from = ends.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ends| super::listener::network(ends.peer.ip()));
        Visitor { identity, from }
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
        texts: usize,
    ) -> Lounge {
        let rules = Rules::new(&config.room, config.webrtc.max_viewers);
        let room = Room::new(rules, config.camera.presets.clone());
        let inner =
            Inner { room, lines: HashMap::new(), last_epoch: 0, rates: Rates::default(), numbers: Numbers::default() };
        let (inner, log, counts) = (Mutex::new(inner), open_log(config), Counts::default());
        let lounge = Lounge { inner, clock, door, stream, links, log, texts, counts };
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
        info!(seat = seat.0, role = ?seated.seat.role, resumed = seated.resumed, "room: somebody is here");
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
        let mut line = Line { epoch, texts: talks.then_some(text_in), orders: order_in, viewer: None, channel: false };
        let older = inner.lines.remove(&seat).and_then(|older| {
            (line.viewer, line.channel) = (older.viewer, older.channel);
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
                    info!(seat = seat.0, ?reason, "room: somebody has left");
                    self.note(self.moment(), "left", json!({"seat": seat, "reason": reason}));
                    if let Some(line) = inner.lines.remove(&seat) {
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
            LinkWish::Revoke { id } => {
                self.step(inner, Input::Revoked { link: &id });
                self.links.revoke(&id).and_then(|()| self.links.list()).map(|links| vec![Told::Links { links }])
            }
        };
        let told = told.unwrap_or_else(|message| vec![Told::Error { code: ErrorCode::Refused, message }]);
        told.iter().for_each(|told| self.tell(inner, seat, told));
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

    fn tell_table(&self, now: Micros) {
        let lookers: Vec<SeatId> = self.inner().room.people().filter(|seat| seat.table).map(|seat| seat.id).collect();
        if lookers.is_empty() {
            return;
        }
        let table = Told::Viewers { list: self.table(now) };
        let mut inner = self.inner();
        lookers.into_iter().for_each(|seat| self.tell(&mut inner, seat, &table));
    }

    /// Everybody in the room, with what is known of their viewers.
    pub fn table(&self, now: Micros) -> Vec<ViewerRow> {
        let stats = self.door.viewers();
        let mut inner = self.inner();
        let Inner { room, rates, .. } = &mut *inner;
        rates.rows(now, room.people(), &stats)
    }

    /// For `/metrics`.
    pub fn figures(&self) -> RoomFigures {
        let rows = self.table(self.clock.now());
        let mut inner = self.inner();
        RoomFigures {
            people: inner.room.len(),
            joined: self.counts.joined.read(),
            resumed: self.counts.resumed.read(),
            turned_away: self.counts.turned_away.read(),
            behind: self.counts.behind.read(),
            chat_lines: self.counts.chat_lines.read(),
            relayed: self.counts.relayed.read(),
            log_lines_lost: self.log.as_ref().map_or(0, ViewerLog::lost),
            viewers: inner.numbers.of(&rows).into_iter().map(figures_of).collect(),
        }
    }

    fn log_table(&self, now: Micros) {
        if self.log.is_some() {
            for row in self.table(now) {
                self.note(self.moment(), "viewer", json!(row));
            }
        }
    }

    /// One line for the log of viewers.
    fn note(&self, at: Moment, event: &str, mut what: serde_json::Value) {
        let Some(log) = &self.log else { return };
        if let Some(fields) = what.as_object_mut() {
            fields.insert("at_ms".into(), json!(at.unix_ms));
            fields.insert("event".into(), json!(event));
        }
        log.write(what.to_string());
    }

    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), unix_ms: self.clock.wall().0 / 1000 }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn figures_of((number, row): (usize, ViewerRow)) -> ViewerFigures {
    let report = row.report.unwrap_or_default();
    ViewerFigures {
        number,
        kbps: row.kbps,
        loss: row.loss,
        round_trip_ms: row.round_trip_ms,
        page_fps: report.fps,
        page_freezes: report.freezes,
        page_latency_ms: report.latency_ms,
    }
}

fn open_log(config: &Config) -> Option<ViewerLog> {
    let path = &config.log.viewers_file;
    if path.as_os_str().is_empty() {
        return None;
    }
    let log = ViewerLog::start(path, u64::from(config.log.viewers_file_mb) << 20);
    log.inspect_err(|error| warn!("log of viewers {}: {error}; none is written", path.display())).ok()
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
    let status = if away.code == ErrorCode::Closed { StatusCode::FORBIDDEN } else { StatusCode::SERVICE_UNAVAILABLE };
    retry_after(plain(status, &away.words), away.retry_after_s)
}
