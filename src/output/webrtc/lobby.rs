//! Where viewers connect: offers are answered and handshakes done on a thread of their own, because DTLS may take tens
//! of milliseconds on a small CPU and pictures must not wait for it.
//!
//! Owns viewers from offer to connected, then hands them to the media loop. Must never hold a picture.
//! Input: offers and candidates from signalling; datagrams the media loop received for viewers that are here.

use crate::clock::Clock;
use crate::output::webrtc::entry::{Entry, Place, SharedRoutes, Waker, read_now};
use crate::output::webrtc::media_loop::ToMedia;
use crate::output::webrtc::udp_sys::{MediaSocket, Outgoing, Sender};
use crate::output::webrtc::viewer::{Common, OfferedViewer, State, Viewer};
use crate::output::{Answer, CloseReason, Offer, OfferError, ViewerId, ViewerStats};
use crate::stream::{Stream, Wake};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

pub enum ToLobby {
    Offer { viewer: ViewerId, offer: Offer, place: Place, reply: oneshot::Sender<Result<Answer, OfferError>> },
    Candidate(ViewerId, String),
    Close(ViewerId),
    Datagram { viewer: ViewerId, local: SocketAddr, peer: SocketAddr, bytes: Vec<u8> },
    Shutdown,
}

/// Messages waiting for the lobby; what does not fit is dropped (datagrams are sent again by their protocols).
pub const LOBBY_QUEUE: usize = 256;
/// Addresses offered to browsers; machines with container bridges have many.
const MAX_ADDRESSES: usize = 16;

pub struct Lobby {
    pub clock: Clock,
    pub common: Common,
    pub stream: Arc<dyn Stream>,
    pub routes: SharedRoutes,
    pub socket: MediaSocket,
    pub bind: IpAddr,
    pub inbox: Receiver<ToLobby>,
    pub media: SyncSender<ToMedia>,
    pub waker: Arc<Waker>,
    pub stats: Arc<Mutex<Vec<ViewerStats>>>,
}

impl Lobby {
    pub fn run(self) {
        let mut sender = Sender::new(self.socket.clone());
        let mut entries: HashMap<ViewerId, Entry> = HashMap::new();
        let mut out = Vec::new();
        loop {
            let now = read_now(&self.clock);
            let due = entries.values().map(|entry| entry.due).min();
            let wait = due.map_or(Duration::from_secs(3600), |due| due.saturating_duration_since(now.instant));
            match self.inbox.recv_timeout(wait) {
                Ok(ToLobby::Shutdown) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(message) => self.handle(message, &mut entries, &mut out),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.run_timers(&mut entries, &mut out);
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
        sender.send(&mut out);
    }

    fn handle(&self, message: ToLobby, entries: &mut HashMap<ViewerId, Entry>, out: &mut Vec<Outgoing>) {
        let now = read_now(&self.clock);
        match message {
            ToLobby::Offer { viewer, offer, place, reply } => {
                let answer = self.accept(viewer, offer, place, entries, out);
                if let Err(error) = &answer {
                    tracing::info!(viewer = viewer.0, "webrtc: offer refused: {error}");
                }
                // nobody waits any more: the viewer times out by itself
                let _ = reply.send(answer);
            }
            ToLobby::Candidate(viewer, candidate) => match entries.get_mut(&viewer) {
                Some(entry) => {
                    entry.viewer.candidate(candidate);
                    entry.poll(now, out);
                }
                None => self.forward(ToMedia::Candidate(viewer, candidate)),
            },
            ToLobby::Close(viewer) => match entries.remove(&viewer) {
                Some(mut entry) => {
                    entry.viewer.close(CloseReason::Left);
                    entry.poll(now, out);
                }
                None => self.forward(ToMedia::Close(viewer)),
            },
            ToLobby::Datagram { viewer, local, peer, bytes } => match entries.get_mut(&viewer) {
                Some(entry) => {
                    entry.viewer.datagram(now, local, peer, &bytes);
                    entry.poll(now, out);
                }
                // it was handed over while this was waiting
                None => self.forward(ToMedia::Datagram { viewer, local, peer, bytes }),
            },
            ToLobby::Shutdown => {}
        }
    }

    fn accept(
        &self,
        viewer: ViewerId,
        offer: Offer,
        place: Place,
        entries: &mut HashMap<ViewerId, Entry>,
        out: &mut Vec<Outgoing>,
    ) -> Result<Answer, OfferError> {
        let now = read_now(&self.clock);
        let offered = OfferedViewer {
            id: viewer,
            offer: offer.sdp,
            events: offer.events,
            local: local_addresses(self.bind, self.socket.port()),
            profile_level_id: self.stream.profile_level_id(),
        };
        let (made, sdp) = Viewer::accept(now, &self.common, offered)?;
        let mut entry = Entry::new(now, made, place, self.routes.clone());
        entry.poll(now, out);
        entries.insert(viewer, entry);
        Ok(Answer { viewer, sdp })
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
        // a full inbox means the media loop hangs; the viewer is dropped here and its page reconnects
        if self.media.try_send(message).is_ok() {
            self.waker.wake();
        }
    }

    fn publish_stats(&self, entries: &HashMap<ViewerId, Entry>) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.clear();
        stats.extend(entries.values().map(|entry| entry.viewer.stats(0)));
    }
}

/// Where browsers may reach us: the bound address, or every address of the machine when bound to all of them.
/// Loopback only when there is nothing else; IPv6 link-local never (it needs a zone the browser does not know).
fn local_addresses(bind: IpAddr, port: u16) -> Vec<SocketAddr> {
    if !bind.is_unspecified() {
        return vec![SocketAddr::new(bind, port)];
    }
    let mut all: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter(|i| !i.is_link_local())
        .map(|i| i.ip())
        .collect();
    if all.iter().any(|ip| !ip.is_loopback()) {
        all.retain(|ip| !ip.is_loopback());
    }
    // IPv4 first: it is the one that works in most houses
    all.sort_by_key(|ip| ip.is_ipv6());
    all.truncate(MAX_ADDRESSES);
    all.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_bound_address_is_the_only_candidate() {
        let bind = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(local_addresses(bind, 7), [SocketAddr::new(bind, 7)]);
    }

    #[test]
    fn all_addresses_means_something_reachable() {
        let all = local_addresses(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7);
        assert!(!all.is_empty() && all.len() <= MAX_ADDRESSES);
        let loopbacks = all.iter().filter(|a| a.ip().is_loopback()).count();
        assert!(loopbacks == 0 || loopbacks == all.len(), "loopback only when there is nothing else: {all:?}");
    }
}
