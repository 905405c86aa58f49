//! The media loop: one thread that takes pictures from the stream, gives each connected viewer its packets, and moves
//! datagrams through the one UDP socket.
//!
//! Owns the seated viewers and their queues (`Hub`). Must never wait for a viewer, a handshake or a full socket: what
//! a full socket does not take stays in a bounded list, and while it is not empty viewers' queues fill and drop by the
//! hub's rule. Input: the stream, the socket, the lobby.

use crate::clock::Clock;
use crate::heap_sys;
use crate::output::webrtc::demux::{Ends, Seat};
use crate::output::webrtc::entry::{Entry, Places, SharedRoutes, ToViewer, Waker, read_now};
use crate::output::webrtc::lobby::ToLobby;
use crate::output::webrtc::network::{Network, SharedNetwork};
use crate::output::webrtc::packetize::{PacketizedUnit, packetize};
use crate::output::webrtc::recent::Recent;
use crate::output::webrtc::sync_channel::{LastPicture, stream_message};
use crate::output::webrtc::tcp::TcpIce;
use crate::output::webrtc::udp_send_sys::{SendCounters, Sender};
use crate::output::webrtc::udp_sys::{MediaSocket, Outgoing, Receiver};
use crate::output::webrtc::viewer::{Now, State};
use crate::output::{CloseReason, ViewerId, ViewerStats};
use crate::stream::hub::{Bound, Hub};
use crate::stream::{Stream, Subscription};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Inbox, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub enum ToMedia {
    Seat(Box<Entry>),
    Viewer(ViewerId, ToViewer),
    /// What the lobby's viewers send over TCP.
    Frames(Vec<Outgoing>),
    /// Where STUN servers' names lead.
    StunServers(Vec<SocketAddr>),
    Shutdown,
}

pub const MEDIA_QUEUE: usize = 1024;

/// Per viewer: about half a second at 30 fps, and never more than 2 MiB.
const VIEWER_BOUND: Bound = Bound { items: 16, bytes: 2 << 20 };
/// Datagrams the socket did not take yet. Above it no viewer is given more.
const BACKLOG_DATAGRAMS: usize = 512;
/// The longest sleep, while there are no viewers.
const IDLE_WAIT: Duration = Duration::from_secs(5);
const STATS_EVERY: Duration = Duration::from_millis(250);
const TELEMETRY_EVERY: Duration = Duration::from_secs(1);

/// What the loop counts for everybody to read.
#[derive(Default)]
pub struct LoopCounters {
    /// Datagrams that belong to no viewer.
    pub stray: AtomicU64,
    /// Messages dropped because the lobby, or this loop, was busy.
    pub lobby_full: AtomicU64,
    pub media_full: AtomicU64,
    pub datagrams_sent: AtomicU64,
    pub send_calls: AtomicU64,
    pub send_refused: AtomicU64,
    pub tcp_turned_away: AtomicU64,
    /// When the loop last turned, in microseconds: the sign of life for a watchdog. At most `IDLE_WAIT` old.
    pub last_turn: AtomicU64,
}

pub struct MediaLoop {
    pub clock: Clock,
    pub stream: Arc<dyn Stream>,
    pub routes: SharedRoutes,
    pub places: Arc<Places>,
    pub socket: MediaSocket,
    pub inbox: Inbox<ToMedia>,
    pub lobby: SyncSender<ToLobby>,
    pub waker: Arc<Waker>,
    pub stats: Arc<Mutex<Vec<ViewerStats>>>,
    pub counters: Arc<LoopCounters>,
    pub network: SharedNetwork,
}

/// What a wait ended with.
struct Ready {
    udp: bool,
    /// The listener, where it is listened to, and every connection.
    tcp: Vec<bool>,
}

/// What the loop works on; apart from `MediaLoop` so that both can be borrowed at once.
struct Work {
    seated: Vec<Entry>,
    hub: Hub<ViewerId, Arc<PacketizedUnit>>,
    recent: Recent,
    subscription: Option<Box<dyn Subscription>>,
    out: Vec<Outgoing>,
    network: Network,
    tcp: TcpIce,
    last_picture: LastPicture,
    /// Who is served first in the next round, so that a full socket does not always hit the same viewers.
    first: usize,
    next_stats: Instant,
    next_telemetry: Instant,
}

impl MediaLoop {
    pub fn run(self, network: Network, tcp: TcpIce) {
        let now = read_now(&self.clock);
        let mut work = Work {
            seated: Vec::new(),
            hub: Hub::new(VIEWER_BOUND),
            recent: Recent::default(),
            subscription: None,
            out: Vec::new(),
            network,
            tcp,
            last_picture: LastPicture::default(),
            first: 0,
            next_stats: now.instant,
            next_telemetry: now.instant,
        };
        let mut receiver = Receiver::new(self.socket.clone());
        let mut sender = Sender::new(self.socket.clone());
        while self.turn(&mut work, &mut receiver, &mut sender) {}
        let now = read_now(&self.clock);
        for entry in &mut work.seated {
            entry.viewer.close(CloseReason::Shutdown);
            entry.poll(now, &mut work.out);
        }
        work.tcp.send(now.monotonic, &mut work.out);
        sender.send(&mut work.out);
    }

    /// One wait and everything that came of it. False when it is time to end.
    fn turn(&self, work: &mut Work, receiver: &mut Receiver, sender: &mut Sender) -> bool {
        self.follow_demand(work);
        let ready = self.wait(work);
        self.counters.last_turn.store(self.clock.now().0, Ordering::Relaxed);
        if !self.take_messages(work) {
            return false;
        }
        if ready.udp {
            self.receive(work, receiver);
        }
        if ready.tcp.contains(&true) {
            self.receive_by_tcp(work, &ready.tcp);
        }
        self.ask_the_network(work);
        self.run_timers(work);
        self.take_pictures(work);
        self.serve(work, sender);
        self.drop_closed(work);
        self.tell(work);
        work.tcp.send(self.clock.now(), &mut work.out);
        sender.send(&mut work.out);
        self.count(sender.counters, work.tcp.turned_away);
        true
    }

    /// Subscribed to the stream exactly while there are viewers, connecting ones included: the encoder is warm when
    /// the handshake is done.
    fn follow_demand(&self, work: &mut Work) {
        match (self.places.taken() > 0, work.subscription.is_some()) {
            (true, false) => work.subscription = Some(self.stream.subscribe(self.waker.clone())),
            (false, true) => {
                work.subscription = None;
                work.recent.clear();
                heap_sys::return_free_blocks();
            }
            _ => {}
        }
    }

    fn wait(&self, work: &Work) -> Ready {
        let (now, monotonic) = (self.clock.instant(), self.clock.now());
        let timers = work.seated.iter().map(|entry| entry.due).min();
        // without viewers nothing is due until a message comes
        let due = timers.map_or(now + IDLE_WAIT, |t| t.min(work.next_stats).min(work.next_telemetry));
        let others =
            work.network.next_due(self.places.taken() > 0).into_iter().chain(work.tcp.next_due(monotonic)).min();
        let others = others.map_or(IDLE_WAIT, |at| at.since(monotonic));
        let span = due.saturating_duration_since(now).min(others);
        let limit = Timespec { tv_sec: span.as_secs() as _, tv_nsec: span.subsec_nanos() as _ };
        let mut interest = PollFlags::IN;
        if !work.out.is_empty() {
            interest |= PollFlags::OUT;
        }
        let mut fds = vec![PollFd::new(&self.socket, interest), PollFd::new(&*self.waker, PollFlags::IN)];
        let listens = work.tcp.add_fds(monotonic, &mut fds);
        // an interrupted poll is a short one
        let _ = poll(&mut fds, Some(&limit));
        if !fds[1].revents().is_empty() {
            self.waker.drain();
        }
        let mut tcp: Vec<bool> = fds[2..].iter().map(|fd| !fd.revents().is_empty()).collect();
        if !listens {
            tcp.insert(0, false);
        }
        Ready { udp: fds[0].revents().intersects(PollFlags::IN | PollFlags::ERR), tcp }
    }

    fn take_messages(&self, work: &mut Work) -> bool {
        while let Ok(message) = self.inbox.try_recv() {
            let now = read_now(&self.clock);
            match message {
                ToMedia::Seat(entry) => {
                    tracing::info!(viewer = entry.viewer.id.0, "webrtc: viewer connected");
                    work.hub.join(entry.viewer.id);
                    work.hub.catch_up(entry.viewer.id, work.recent.since_key(now.monotonic));
                    work.seated.push(*entry);
                    if let Some(entry) = work.seated.last_mut() {
                        entry.viewer.seated();
                    }
                }
                ToMedia::Viewer(viewer, message) => {
                    // one that is not here has ended: dropping a question says so
                    if let Some(entry) = work.seated.iter_mut().find(|entry| entry.viewer.id == viewer) {
                        entry.handle(now, message, &mut work.out);
                    }
                }
                ToMedia::Frames(frames) => work.out.extend(frames),
                ToMedia::StunServers(servers) => work.network.set_servers(servers),
                ToMedia::Shutdown => return false,
            }
        }
        true
    }

    fn receive(&self, work: &mut Work, receiver: &mut Receiver) {
        let now = read_now(&self.clock);
        // a few batches a turn: pictures have their turn too, however fast datagrams come
        for _ in 0..4 {
            let more = receiver.receive(|incoming| {
                let ends = Ends { local: incoming.local, peer: incoming.peer, tcp: false };
                let found = self.routes.lock().find(incoming.peer, incoming.bytes);
                match found {
                    Some((viewer, seat)) => self.deliver(work, now, (viewer, seat), ends, incoming.bytes),
                    None if work.network.datagram(now.monotonic, ends, incoming.bytes) => {}
                    None => {
                        self.counters.stray.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            if !more {
                break;
            }
        }
    }

    fn deliver(&self, work: &mut Work, now: Now, (viewer, seat): (ViewerId, Seat), ends: Ends, bytes: &[u8]) {
        match seat {
            Seat::Lobby => {
                let datagram = ToViewer::Datagram { ends, bytes: bytes.to_vec() };
                self.tell_lobby(ToLobby::Viewer(viewer, datagram));
            }
            Seat::Media => {
                if let Some(entry) = work.seated.iter_mut().find(|entry| entry.viewer.id == viewer) {
                    entry.viewer.datagram(now, ends, bytes);
                    entry.poll(now, &mut work.out);
                }
            }
        }
    }

    fn tell_lobby(&self, message: ToLobby) {
        if self.lobby.try_send(message).is_err() {
            self.counters.lobby_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn receive_by_tcp(&self, work: &mut Work, ready: &[bool]) {
        let now = read_now(&self.clock);
        work.tcp.flush(now.monotonic);
        let frames = work.tcp.receive(&ready[1..], &self.routes.lock());
        for frame in frames {
            self.deliver(work, now, (frame.viewer, frame.seat), frame.ends, &frame.bytes);
        }
        if ready[0] {
            work.tcp.accept(now.monotonic);
        }
    }

    fn ask_the_network(&self, work: &mut Work) {
        let now = self.clock.now();
        if work.network.turn(now, self.places.taken() > 0, &mut work.out) {
            // the lobby does not wait long for this
            self.tell_lobby(ToLobby::NetworkKnown);
        }
        if work.tcp.connections() > 0 {
            work.tcp.tidy(now, &self.routes.lock());
        }
    }

    fn run_timers(&self, work: &mut Work) {
        let now = read_now(&self.clock);
        for entry in work.seated.iter_mut().filter(|entry| entry.due <= now.instant) {
            entry.viewer.timeout(now);
            entry.poll(now, &mut work.out);
        }
    }

    fn take_pictures(&self, work: &mut Work) {
        let Some(subscription) = &mut work.subscription else { return };
        while let Some(unit) = subscription.take() {
            work.last_picture = LastPicture {
                pts: unit.pts,
                captured_at: unit.captured_at,
                overlaid_at: unit.overlaid_at,
                encoded_at: unit.encoded_at,
            };
            // also while all viewers still connect: they will start with these
            let packets = Arc::new(packetize(&unit));
            work.recent.add(&packets);
            work.hub.publish(&packets);
        }
        let asked = work.seated.iter_mut().fold(false, |asked, entry| asked | entry.viewer.take_key_request());
        if asked || work.hub.wants_key() {
            subscription.request_key();
        }
    }

    /// Gives viewers their pictures, one each per round, until all queues are empty or the socket is full.
    fn serve(&self, work: &mut Work, sender: &mut Sender) {
        let count = work.seated.len();
        work.first = if count == 0 { 0 } else { (work.first + 1) % count };
        let now = read_now(&self.clock);
        let mut busy = count > 0;
        while std::mem::take(&mut busy) {
            for at in 0..count {
                let entry = &mut work.seated[(work.first + at) % count];
                let viewer = &entry.viewer;
                if viewer.state() != State::Connected || viewer.is_silent(now) || viewer.is_searching() {
                    continue;
                }
                if entry.viewer.is_over_tcp() && work.tcp.is_backed_up(entry.viewer.id) {
                    continue;
                }
                if work.out.len() >= BACKLOG_DATAGRAMS {
                    sender.send(&mut work.out);
                    if work.out.len() >= BACKLOG_DATAGRAMS {
                        return;
                    }
                }
                if let Some(unit) = work.hub.take(entry.viewer.id) {
                    entry.viewer.send(now, &unit, &mut work.out);
                    if entry.viewer.is_over_tcp() {
                        // at once: whether there is room for the next one is known only then
                        work.tcp.send(now.monotonic, &mut work.out);
                    }
                    busy = true;
                }
            }
        }
    }

    fn drop_closed(&self, work: &mut Work) {
        let hub = &mut work.hub;
        let before = work.seated.len();
        work.seated.retain(|entry| match entry.viewer.state() {
            State::Closed(reason) => {
                let counters = hub.counters(entry.viewer.id).unwrap_or_default();
                tracing::info!(
                    viewer = entry.viewer.id.0,
                    ?reason,
                    pictures = counters.taken,
                    dropped = counters.dropped,
                    "webrtc: viewer left"
                );
                hub.leave(entry.viewer.id);
                false
            }
            _ => true,
        });
        if work.seated.len() < before {
            // the next turn may be a long way off
            work.next_stats = self.clock.instant();
        }
    }

    fn tell(&self, work: &mut Work) {
        let now = read_now(&self.clock);
        if now.instant >= work.next_telemetry {
            work.next_telemetry = now.instant + TELEMETRY_EVERY;
            self.tell_pages(work, now);
        }
        if now.instant >= work.next_stats {
            work.next_stats = now.instant + STATS_EVERY;
            let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
            stats.clear();
            stats.extend(work.seated.iter().map(|entry| entry.viewer.stats(dropped(&work.hub, entry))));
            self.network.set_tcp_connections(work.tcp.connections());
        }
    }

    fn tell_pages(&self, work: &mut Work, now: Now) {
        if work.seated.is_empty() || work.last_picture.captured_at.0 == 0 {
            return;
        }
        let status = self.stream.status();
        for entry in &mut work.seated {
            if let Some(text) = stream_message(work.last_picture, &status, dropped(&work.hub, entry)) {
                entry.viewer.send_figures(now, text);
                entry.poll(now, &mut work.out);
            }
        }
    }

    fn count(&self, sent: SendCounters, tcp_turned_away: u64) {
        self.counters.datagrams_sent.store(sent.datagrams, Ordering::Relaxed);
        self.counters.send_calls.store(sent.system_calls, Ordering::Relaxed);
        self.counters.send_refused.store(sent.refused, Ordering::Relaxed);
        self.counters.tcp_turned_away.store(tcp_turned_away, Ordering::Relaxed);
    }
}

fn dropped(hub: &Hub<ViewerId, Arc<PacketizedUnit>>, entry: &Entry) -> u64 {
    hub.counters(entry.viewer.id).map_or(0, |counters| counters.dropped)
}
