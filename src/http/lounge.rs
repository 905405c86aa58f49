//! The pump of the room: the one `Room`, and for each seat the ways by which it hears of it.
//!
//! Owns the room and carries out what it decides: who comes in is in `lounge/entrance.rs`, how a seat is told in
//! `lounge/line.rs`, who watches in `lounge/table.rs`. Must never wait for a seat: who does not take what it is sent
//! loses its socket, not the room its pace. Input: the sockets (`ws.rs`), WHEP clients (`whep.rs`), viewers' data
//! channels, the stream's word for how things are, and at the start the room that an earlier run left in the state folder.

mod entrance;
mod line;
mod table;

pub use entrance::{Visitor, refusal};
pub use line::{Order, Place, TEXTS};

use super::Shared;
use super::call::Call;
use super::kept::Kept;
use super::state::StateFolder;
use super::viewer_log::ViewerLog;
use super::watchers::{Numbers, Rates};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::metrics::Count;
use crate::output::{ViewerDoor, ViewerEvent, ViewerId};
use crate::signal::message::{ErrorCode, Heard, Message};
use crate::signal::room::snapshot::Snapshot;
use crate::signal::room::words::{Said, SeatId, Told};
use crate::signal::room::{Action, Input, LinkWish, Links, Moment, Room, Rules};
use crate::stream::Stream;
use line::Line;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::{debug, info};

const ROOM_FILE: &str = "room.json";
/// The room is written no more often than that.
const WRITTEN_EVERY: Duration = Duration::from_secs(2);
/// How often deadlines are looked at, and how long several changes of the state are gathered into one.
const TICK: Duration = Duration::from_millis(250);
const GATHER: Duration = Duration::from_millis(50);
/// How often hosts who look are told who watches.
const TABLE_EVERY: Duration = Duration::from_secs(2);
/// How often each viewer gets a line in the log of viewers.
const LOG_EVERY: Duration = Duration::from_secs(10);

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
