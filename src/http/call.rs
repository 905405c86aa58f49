//! The stream's side of one session: carries a session's actions to the viewer door and the door's replies back.
//!
//! Owns at most one question and one viewer. Must never leave a viewer behind: dropping it closes what it holds.

use crate::output::{Answer, CloseReason, Offer, OfferError, ViewerDoor, ViewerEvent, ViewerId};
use crate::signal::session::{Action, Input};
use std::future::pending;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Connected and Closed, with room to spare: the door drops what does not fit.
const EVENTS: usize = 4;

pub struct Call {
    door: Arc<dyn ViewerDoor>,
    asked: Option<oneshot::Receiver<Result<Answer, OfferError>>>,
    events: Option<mpsc::Receiver<ViewerEvent>>,
    viewer: Option<ViewerId>,
}

impl Call {
    pub fn new(door: Arc<dyn ViewerDoor>) -> Call {
        Call { door, asked: None, events: None, viewer: None }
    }

    /// The next thing the door says; never, while nothing is going on. Cancel-safe.
    pub async fn next(&mut self) -> Input<'static> {
        if let Some(asked) = &mut self.asked {
            let reply = asked.await;
            self.asked = None;
            return match reply {
                Ok(reply) => {
                    self.viewer = reply.as_ref().ok().map(|answer| answer.viewer);
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
            Action::CreateAnswer { sdp } => {
                let (events, receiver) = mpsc::channel(EVENTS);
                self.events = Some(receiver);
                self.asked = Some(self.door.offer(Offer { sdp, events }));
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
            Action::Send(_) | Action::CloseSocket(_) => Some(action),
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
