//! Where viewers connect: offers are answered and handshakes done on a thread of their own, because DTLS may take tens
//! of milliseconds on a small CPU and pictures must not wait for it.
//!
//! Owns viewers from offer to connected, then hands them to the media loop. Must never hold a picture.
//! Input: offers and candidates from signalling; datagrams the media loop received for viewers that are here.

use crate::clock::Clock;
use crate::output::giving_way::who_goes;
use crate::output::webrtc::complaint;
use crate::output::webrtc::entry::{Entry, Place, Places, SharedRoutes, ToViewer, Waker, read_now};
use crate::output::webrtc::media_loop::{LoopCounters, ToMedia};
use crate::output::webrtc::negotiation::Common;
use crate::output::webrtc::reacher::Reacher;
use crate::output::webrtc::tried::Attempt;
use crate::output::webrtc::udp_send_sys::Sender;
use crate::output::webrtc::udp_sys::{MediaSocket, Outgoing};
use crate::output::webrtc::viewer::{OfferedViewer, State, Viewer};
use crate::output::{Answer, CloseReason, Offer, OfferError, ViewerId, ViewerStats};
use crate::stream::Wake;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

pub enum ToLobby {
    Offer {
        viewer: ViewerId,
        offer: Offer,
        /// None: all are taken, and somebody may give way.
        place: Option<Place>,
        reply: oneshot::Sender<Result<Answer, OfferError>>,
    },
    Viewer(ViewerId, ToViewer),
    /// What it is answered with the lobby knows.
    Restart {
        viewer: ViewerId,
        sdp: String,
        reply: oneshot::Sender<Result<Answer, OfferError>>,
    },
    /// What STUN servers say is all known now: offers need not wait for it.
    NetworkKnown,
    Shutdown,
}

/// Messages waiting for the lobby; what does not fit is dropped (datagrams are sent again by their protocols).
pub const LOBBY_QUEUE: usize = 256;

pub struct Lobby {
    pub clock: Clock,
    pub common: Common,
    pub places: Arc<Places>,
    pub routes: SharedRoutes,
    pub socket: MediaSocket,
    pub reacher: Reacher,
    pub inbox: Receiver<ToLobby>,
    pub media: SyncSender<ToMedia>,
    pub waker: Arc<Waker>,
    pub stats: Arc<Mutex<Vec<ViewerStats>>>,
    pub counters: Arc<LoopCounters>,
}

/// An offer put off.
struct Waiting {
    until: Instant,
    message: ToLobby,
}

impl Lobby {
    pub fn run(self) {
        let mut sender = Sender::new(self.socket.clone());
        let mut entries: HashMap<ViewerId, Entry> = HashMap::new();
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut out = Vec::new();
        loop {
            let now = read_now(&self.clock);
            let due = entries.values().map(|entry| entry.due).chain(waiting.iter().map(|offer| offer.until)).min();
            let wait = due.map_or(Duration::from_secs(3600), |due| due.saturating_duration_since(now.instant));
            match self.inbox.recv_timeout(wait) {
                Ok(ToLobby::Shutdown) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(ToLobby::NetworkKnown) => waiting.iter_mut().for_each(|offer| offer.until = now.instant),
                Ok(message) => match self.put_off(message) {
                    Ok(offer) => waiting.push(offer),
                    Err(message) => self.handle(message, &mut entries, &mut out),
                },
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = read_now(&self.clock).instant;
            for offer in waiting.extract_if(.., |offer| offer.until <= now) {
                self.handle(offer.message, &mut entries, &mut out);
            }
            self.run_timers(&mut entries, &mut out);
            self.send_by_tcp(&mut out);
            sender.send(&mut out);
            // handshake datagrams that the socket refuses are sent again by DTLS and ICE
            out.clear();
            self.hand_over(&mut entries);
            self.publish_stats(&entries);
        }
        let now = read_now(&self.clock);
        for entry in entries.values_mut() {
            entry.viewer.close(CloseReason::Shutdown);
            entry.poll(now, &mut out);
        }
        self.send_by_tcp(&mut out);
        sender.send(&mut out);
    }

    /// Offers wait a moment for what STUN servers say, if that helps; each holds a place, so there are not many.
    fn put_off(&self, message: ToLobby) -> Result<Waiting, ToLobby> {
        let wait = match &message {
            ToLobby::Offer { place: Some(_), .. } => self.reacher.worth_waiting(self.clock.now()),
            _ => None,
        };
        match wait {
            Some(wait) => Ok(Waiting { until: self.clock.instant() + wait, message }),
            None => Err(message),
        }
    }

    /// The connections are the media loop's.
    fn send_by_tcp(&self, out: &mut Vec<Outgoing>) {
        let frames: Vec<Outgoing> = out.extract_if(.., |datagram| datagram.tcp).collect();
        if !frames.is_empty() {
            self.forward(ToMedia::Frames(frames));
        }
    }

    fn handle(&self, message: ToLobby, entries: &mut HashMap<ViewerId, Entry>, out: &mut Vec<Outgoing>) {
        match message {
            ToLobby::Offer { viewer, offer, place, reply } => {
                let answer = self.accept(viewer, offer, place, entries, out);
                if let Err(error) = &answer {
                    tracing::info!(viewer = viewer.0, "webrtc: offer refused: {}", complaint::of_offer(error));
                }
                // nobody waits any more: the viewer times out by itself
                let _ = reply.send(answer);
            }
            ToLobby::Viewer(viewer, message) => self.pass_on(viewer, message, entries, out),
            ToLobby::Restart { viewer, sdp, reply } => {
                let message = ToViewer::Restart { sdp, terms: Box::new(self.reacher.terms()), reply };
                self.pass_on(viewer, message, entries, out);
            }
            ToLobby::NetworkKnown | ToLobby::Shutdown => {}
        }
    }

    fn pass_on(
        &self,
        viewer: ViewerId,
        message: ToViewer,
        entries: &mut HashMap<ViewerId, Entry>,
        out: &mut Vec<Outgoing>,
    ) {
        match entries.get_mut(&viewer) {
            Some(entry) => entry.handle(read_now(&self.clock), message, out),
            // it is connected, or was handed over while this was waiting
            None => self.forward(ToMedia::Viewer(viewer, message)),
        }
    }

    fn accept(
        &self,
        viewer: ViewerId,
        offer: Offer,
        place: Option<Place>,
        entries: &mut HashMap<ViewerId, Entry>,
        out: &mut Vec<Outgoing>,
    ) -> Result<Answer, OfferError> {
        if place.is_none() && entries.is_empty() {
            return Err(self.full());
        }
        let now = read_now(&self.clock);
        let terms = self.reacher.terms();
        let attempt = Attempt::new(&terms.reach, self.reacher.nat(), &offer.sdp);
        let offered = OfferedViewer { id: viewer, offer: offer.sdp, events: offer.events, attempt };
        let (made, sdp) = Viewer::accept(now, &self.common, offered, &terms)?;
        // only for an offer that is good
        let place = match place {
            Some(place) => place,
            None => self.make_room(offer.from, entries, out)?,
        };
        let mut entry = Entry::new(now, made, offer.from, place, self.routes.clone());
        entry.poll(now, out);
        entries.insert(viewer, entry);
        Ok(Answer { viewer, sdp })
    }

    /// Of those who have not connected one gives way, so that who offers and never comes does not keep others out.
    fn make_room(
        &self,
        newcomer: IpAddr,
        entries: &mut HashMap<ViewerId, Entry>,
        out: &mut Vec<Outgoing>,
    ) -> Result<Place, OfferError> {
        let mut silent: Vec<(ViewerId, IpAddr)> = entries.iter().map(|(id, entry)| (*id, entry.from)).collect();
        silent.sort_unstable();
        let goes = who_goes(silent.into_iter().map(|(id, from)| (from, id)), newcomer);
        if let Some(mut entry) = goes.and_then(|id| entries.remove(&id)) {
            tracing::debug!(viewer = entry.viewer.id.0, "webrtc: not connected yet, gives way to a newcomer");
            entry.viewer.close(CloseReason::GaveWay);
            entry.poll(read_now(&self.clock), out);
        }
        // free by now, unless another newcomer was quicker
        self.places.take().ok_or_else(|| self.full())
    }

    fn full(&self) -> OfferError {
        OfferError::Full { max_viewers: self.places.max() }
    }

    fn run_timers(&self, entries: &mut HashMap<ViewerId, Entry>, out: &mut Vec<Outgoing>) {
        let now = read_now(&self.clock);
        for entry in entries.values_mut().filter(|entry| entry.due <= now.instant) {
            entry.viewer.timeout(now);
            entry.poll(now, out);
        }
    }

    /// Connected viewers go to the media loop, closed ones away.
    fn hand_over(&self, entries: &mut HashMap<ViewerId, Entry>) {
        let leaving: Vec<ViewerId> =
            entries.iter().filter(|(_, e)| e.viewer.state() != State::Connecting).map(|(id, _)| *id).collect();
        for id in leaving {
            let Some(entry) = entries.remove(&id) else { continue };
            match entry.viewer.state() {
                State::Connected => {
                    self.routes.lock().seat(id);
                    self.forward(ToMedia::Seat(Box::new(entry)));
                }
                State::Closed(reason) => tracing::info!(viewer = id.0, ?reason, "webrtc: viewer gone while connecting"),
                State::Connecting => {}
            }
        }
    }

    fn forward(&self, message: ToMedia) {
        // a full inbox means the media loop hangs; a viewer is dropped here and its page reconnects
        match self.media.try_send(message) {
            Ok(()) => self.waker.wake(),
            Err(_) => drop(self.counters.media_full.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn publish_stats(&self, entries: &HashMap<ViewerId, Entry>) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.clear();
        stats.extend(entries.values().map(|entry| entry.viewer.stats(0)));
    }
}
