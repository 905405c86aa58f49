//! What the lobby and the media loop share: how a viewer is driven, how it is handed over, who knows where it is.

use crate::clock::Clock;
use crate::output::webrtc::demux::{self, Ends, Routes};
use crate::output::webrtc::negotiation::Terms;
use crate::output::webrtc::udp_sys::Outgoing;
use crate::output::webrtc::viewer::{Now, Viewer};
use crate::output::{Answer, CloseReason, OfferError};
use rustix::event::{EventfdFlags, eventfd};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;

pub fn read_now(clock: &Clock) -> Now {
    let monotonic = clock.now();
    Now { instant: clock.instant(), monotonic, wall_offset_us: clock.wall().0 as i64 - monotonic.0 as i64 }
}

/// Wakes the media loop out of its poll. Cheap, never blocks.
pub struct Waker(OwnedFd);

impl Waker {
    pub fn new() -> std::io::Result<Waker> {
        Ok(Waker(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
    }

    pub fn drain(&self) {
        let mut count = [0; 8];
        // nothing to read: somebody drained it before
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl crate::stream::Wake for Waker {
    fn wake(&self) {
        // a full counter (2^64-1) would mean it is awake already
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// How many viewers there are, connecting ones included; a bound and the reason to encode at all.
pub struct Places {
    taken: AtomicU32,
    max: u32,
    waker: Arc<Waker>,
}

/// One viewer's place; free again when dropped.
pub struct Place(Arc<Places>);

impl Places {
    pub fn new(max: u32, waker: Arc<Waker>) -> Arc<Places> {
        Arc::new(Places { taken: AtomicU32::new(0), max, waker })
    }

    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        crate::stream::Wake::wake(&*self.waker);
        Some(Place(self.clone()))
    }

    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Acquire)
    }

    pub fn max(&self) -> u32 {
        self.max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        crate::stream::Wake::wake(&*self.0.waker);
    }
}

/// Who gets which datagram; read by the media loop, written by both.
#[derive(Clone, Default)]
pub struct SharedRoutes(Arc<Mutex<Routes>>);

impl SharedRoutes {
    pub fn lock(&self) -> MutexGuard<'_, Routes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What comes for one viewer, wherever it is: the lobby passes on what is for one that is connected.
pub enum ToViewer {
    Candidate(String),
    Close,
    /// Text of the room for the page.
    Say(String),
    Datagram {
        ends: Ends,
        bytes: Vec<u8>,
    },
    Restart {
        sdp: String,
        terms: Box<Terms>,
        reply: oneshot::Sender<Result<Answer, OfferError>>,
    },
}

/// A viewer with what must live and die with it.
pub struct Entry {
    pub viewer: Viewer,
    /// The network its offer came from.
    pub from: IpAddr,
    pub due: Instant,
    routes: SharedRoutes,
    _place: Place,
}

impl Entry {
    pub fn new(now: Now, viewer: Viewer, from: IpAddr, place: Place, routes: SharedRoutes) -> Entry {
        routes.lock().add(viewer.id, viewer.ufrag.clone());
        Entry { viewer, from, due: now.instant, routes, _place: place }
    }

    pub fn handle(&mut self, now: Now, message: ToViewer, out: &mut Vec<Outgoing>) {
        match message {
            ToViewer::Candidate(candidate) => self.viewer.candidate(candidate),
            ToViewer::Close => self.viewer.close(CloseReason::Left),
            ToViewer::Say(text) => self.viewer.send_text(now, text),
            ToViewer::Datagram { ends, bytes } => self.viewer.datagram(now, ends, &bytes),
            // nobody waits any more: ICE times out
            ToViewer::Restart { sdp, terms, reply } => drop(reply.send(self.restart(now, sdp, &terms))),
        }
        self.poll(now, out);
    }

    /// An ICE restart: from now on the viewer is found by its new name.
    fn restart(&mut self, now: Now, offer: String, terms: &Terms) -> Result<Answer, OfferError> {
        let sdp = self.viewer.restart(now, offer, terms)?;
        self.routes.lock().rename(self.viewer.id, &self.viewer.ufrag);
        tracing::info!(viewer = self.viewer.id.0, "webrtc: ICE starts anew");
        Ok(Answer { viewer: self.viewer.id, sdp })
    }

    /// Takes what the viewer has to send, learns from it where the viewer is, and sets the next timer.
    pub fn poll(&mut self, now: Now, out: &mut Vec<Outgoing>) {
        let before = out.len();
        self.viewer.poll(now, out);
        for sent in &out[before..] {
            // a TCP connection belongs to its viewer by itself
            if demux::is_check_success(&sent.bytes) && !sent.tcp {
                self.routes.lock().learn(sent.peer, self.viewer.id);
            } else if let Some(check) = demux::check_transaction(&sent.bytes) {
                self.routes.lock().expect_answer(self.viewer.id, check);
            }
        }
        self.due = self.viewer.next_timeout(now);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.routes.lock().remove(self.viewer.id);
    }
}
