//! The stream's side of one session: carries a session's actions to the viewer door and the door's replies back.
//!
//! Owns at most one question and one viewer. Must never leave a viewer behind: dropping it closes what it holds.

use crate::output::{Answer, CloseReason, Offer, OfferError, ViewerDoor, ViewerEvent, ViewerId};
use crate::signal::session::{Action, Input};
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What a page says on its data channel in a second or two, with room to spare: the door drops what does not fit.
const EVENTS: usize = 64;

pub struct Call {
    door: Arc<dyn ViewerDoor>,
    /// The network its offers come from.
    from: IpAddr,
    asked: Option<oneshot::Receiver<Result<Answer, OfferError>>>,
    events: Option<mpsc::Receiver<ViewerEvent>>,
    viewer: Option<ViewerId>,
    /// The question is about the viewer that is there.
    restarting: bool,
}

impl Call {
    pub fn new(door: Arc<dyn ViewerDoor>, from: IpAddr) -> Call {
        Call { door, from, asked: None, events: None, viewer: None, restarting: false }
    }

    /// The viewer it holds.
    pub fn viewer(&self) -> Option<ViewerId> {
        self.viewer
    }

    /// The next thing the door says; never, while nothing is going on. Cancel-safe.
    pub async fn next(&mut self) -> Input<'static> {
        if let Some(asked) = &mut self.asked {
            let reply = asked.await;
            self.asked = None;
            return match reply {
                Ok(reply) => {
                    if !std::mem::take(&mut self.restarting) {
                        self.viewer = reply.as_ref().ok().map(|answer| answer.viewer);
                    }
                    Input::Answer(reply)
                }
                Err(_) => Input::NoAnswer,
            };
        }
        match (self.viewer, &mut self.events) {
            (Some(viewer), Some(events)) => {
                // a door that drops its end has given the viewer up
                let event = events.recv().await.unwrap_or(ViewerEvent::Closed(CloseReason::Failed));
                if matches!(event, ViewerEvent::Closed(_)) {
                    self.viewer = None;
                }
                Input::Viewer { viewer, event }
            }
            _ => pending().await,
        }
    }

    /// Does what concerns the door; hands back what concerns the peer.
    pub fn act(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::RestartIce { viewer, sdp } => {
                self.restarting = true;
                self.asked = Some(self.door.restart(viewer, sdp));
                None
            }
            Action::CreateAnswer { sdp } => {
                self.restarting = false;
                let (events, receiver) = mpsc::channel(EVENTS);
                self.events = Some(receiver);
                self.asked = Some(self.door.offer(Offer { sdp, from: self.from, events }));
                None
            }
            Action::AddCandidate { viewer, candidate } => {
                self.door.add_candidate(viewer, candidate);
                None
            }
            Action::CloseViewer(viewer) => {
                self.viewer = self.viewer.filter(|v| *v != viewer);
                self.door.close(viewer);
                None
            }
            other => Some(other),
        }
    }
}

impl Drop for Call {
    /// A session that ran to its end has closed its viewer; this is for one that was cut off.
    fn drop(&mut self) {
        if let Some(viewer) = self.viewer {
            self.door.close(viewer);
        }
    }
}
