//! The offer, its answer and the viewer that came of it: what a session knows of its picture.
//!
//! At most one offer is on its way, at most one waits behind it, and of several the last one counts. Must never leave a
//! viewer behind that nobody wanted any more. Input: what the peer offers, what the door says.

use super::{Action, Asked, RETRY_FULL_S, RETRY_NOT_READY_S, Session, Transport, error};
use crate::output::{Answer, CloseReason, OfferError, Tried, ViewerEvent, ViewerId};
use crate::signal::message::{ByeReason, ErrorCode, Message};
use crate::units::Micros;

impl Session {
    pub(super) fn on_offer(&mut self, now: Micros, sdp: String, restart: bool, out: &mut Vec<Action>) {
        self.offer_by = None;
        self.candidates_left = self.limits.candidates;
        self.early.clear();
        if let Some(viewer) = self.viewer.filter(|_| restart && self.asked.is_none()) {
            let by = now + self.limits.answer_within;
            self.asked = Some(Asked { by, wanted: true, restart: Some(sdp.clone()) });
            return out.push(Action::RestartIce { viewer, sdp });
        }
        self.close_viewer(out);
        match &mut self.asked {
            Some(asked) => {
                asked.wanted = false;
                self.waiting = Some(sdp);
            }
            None => self.ask(now, sdp, out),
        }
    }

    pub(super) fn close_viewer(&mut self, out: &mut Vec<Action>) {
        out.extend(self.viewer.take().map(Action::CloseViewer));
    }

    fn ask(&mut self, now: Micros, sdp: String, out: &mut Vec<Action>) {
        self.asked = Some(Asked { by: now + self.limits.answer_within, wanted: true, restart: None });
        out.push(Action::CreateAnswer { sdp });
    }

    /// `sdp`: the offer.
    fn on_restarted(&mut self, now: Micros, sdp: String, reply: Option<Answer>, out: &mut Vec<Action>) {
        match reply.filter(|answer| Some(answer.viewer) == self.viewer) {
            Some(answer) => out.push(Action::Send(Message::Answer { sdp: answer.sdp, viewer: answer.viewer.0 })),
            // the client has our certificate and cannot take another answer: it goes on as it was
            None if self.transport == Transport::Whep => {
                let words = "the path cannot be found anew; delete this session and post a new offer";
                out.push(error(ErrorCode::NotReady, words, None));
            }
            None => {
                self.close_viewer(out);
                self.ask(now, sdp, out);
            }
        }
    }

    pub(super) fn on_answer(&mut self, now: Micros, reply: Option<Result<Answer, OfferError>>, out: &mut Vec<Action>) {
        let Some(asked) = self.asked.take() else { return };
        match reply {
            reply if asked.restart.is_some() => {
                // unwanted: the offer after it has closed the viewer
                if let Some(sdp) = asked.restart.filter(|_| asked.wanted) {
                    self.on_restarted(now, sdp, reply.and_then(Result::ok), out);
                }
            }
            Some(Ok(answer)) if asked.wanted => self.seat(answer, out),
            Some(Ok(answer)) => out.push(Action::CloseViewer(answer.viewer)),
            Some(Err(refusal)) if asked.wanted => self.refuse(&refusal, out),
            None if asked.wanted => self.refuse(&no_reply(), out),
            Some(Err(_)) | None => {}
        }
        if let Some(sdp) = self.waiting.take() {
            self.ask(now, sdp, out);
        }
    }

    fn seat(&mut self, answer: Answer, out: &mut Vec<Action>) {
        let viewer = answer.viewer;
        self.viewer = Some(viewer);
        out.push(Action::Send(Message::Answer { sdp: answer.sdp, viewer: viewer.0 }));
        out.extend(self.early.drain(..).map(|candidate| Action::AddCandidate { viewer, candidate }));
    }

    pub(super) fn refuse(&mut self, refusal: &OfferError, out: &mut Vec<Action>) {
        let (code, retry_after_s) = match refusal {
            OfferError::Full { .. } => (ErrorCode::Full, Some(RETRY_FULL_S)),
            OfferError::NoH264 => (ErrorCode::NoH264, None),
            OfferError::BadOffer(_) => (ErrorCode::BadOffer, None),
            OfferError::NotReady(_) => (ErrorCode::NotReady, Some(RETRY_NOT_READY_S)),
        };
        out.push(error(code, &refusal.to_string(), retry_after_s));
        self.viewer_is_over(out);
    }

    pub(super) fn on_candidate(&mut self, now: Micros, line: &str, out: &mut Vec<Action>) {
        if self.candidates_left == 0 {
            let words = format!("more than {} candidates for one offer", self.limits.candidates);
            return self.mistake(now, ErrorCode::TooManyCandidates, &words, out);
        }
        if !is_candidate(line, self.limits.candidate_bytes) {
            return self.mistake(now, ErrorCode::BadCandidate, "not an ICE candidate line", out);
        }
        self.candidates_left -= 1;
        match self.viewer {
            Some(viewer) => out.push(Action::AddCandidate { viewer, candidate: line.to_string() }),
            None if self.asked.is_some() => self.early.push(line.to_string()),
            // its viewer has just ended: as harmless as it is useless
            None => {}
        }
    }

    pub(super) fn on_viewer(&mut self, viewer: ViewerId, event: ViewerEvent, out: &mut Vec<Action>) {
        if self.viewer != Some(viewer) {
            return;
        }
        let reason = match event {
            ViewerEvent::Closed(reason) => reason,
            ViewerEvent::Tried(tried) => {
                self.tried = Some(tried);
                return;
            }
            _ => return,
        };
        self.viewer = None;
        let tried = self.tried.take();
        let (code, words, retry_after_s) = match reason {
            CloseReason::Shutdown => return self.close(ByeReason::Shutdown, out),
            CloseReason::Left => return self.viewer_is_over(out),
            CloseReason::ConnectTimeout => {
                out.push(no_connection(tried));
                return self.viewer_is_over(out);
            }
            CloseReason::GaveWay => {
                (ErrorCode::Full, "every place is taken, and you had not connected yet", RETRY_FULL_S)
            }
            CloseReason::Lost => (ErrorCode::Lost, "the WebRTC connection was lost", 1),
            CloseReason::Failed => (ErrorCode::Failed, "the WebRTC connection failed", 1),
        };
        out.push(error(code, words, Some(retry_after_s)));
        self.viewer_is_over(out);
    }

    /// No viewer any more: a page may offer again, a WHEP session ends.
    fn viewer_is_over(&mut self, out: &mut Vec<Action>) {
        self.early.clear();
        match self.transport {
            Transport::WebSocket => {}
            Transport::Whep => self.close(ByeReason::Ended, out),
        }
    }
}

fn no_connection(tried: Option<Box<Tried>>) -> Action {
    let message = match &tried {
        Some(tried) => format!("no WebRTC connection within 10 s: {tried}"),
        None => "no WebRTC connection within 10 s; is UDP blocked on the way?".into(),
    };
    let tried = tried.and_then(|tried| serde_json::to_value(tried).ok());
    Action::Send(Message::Error { code: ErrorCode::ConnectTimeout, message, retry_after_s: Some(1), tried })
}

pub(super) fn no_reply() -> OfferError {
    OfferError::NotReady("the offer was not answered in time".into())
}

/// Empty (the end) or one `candidate:` line without anything that could start another line of SDP.
fn is_candidate(line: &str, max_bytes: usize) -> bool {
    line.is_empty()
        || (line.starts_with("candidate:")
            && line.len() <= max_bytes
            && line.bytes().all(|b| (0x20..0x7f).contains(&b)))
}
