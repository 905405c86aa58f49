//! A viewer's data channels: "sync" (ordered, reliable) carries the room's text both ways, "telemetry" (unordered) the
//! clock and the stream's figures. A page without "telemetry" gets those on "sync".
//!
//! Owns what waits for a page that does not take its text: bounded, and given up as a whole when the bound is reached.
//! Must never wait, or grow with what a page sends. Input: messages from a peer, trusted in nothing.

use crate::output::ViewerEvent;
use crate::output::webrtc::sync_channel;
use crate::output::webrtc::viewer::Now;
use crate::units::Micros;
use bytes::BytesMut;
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelMessage};
use rtc::peer_connection::RTCPeerConnection;
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Bytes on their way to the page that the core holds. Above it text waits here, and figures are left out.
const OUTSTANDING_BYTES: usize = 16 * 1024;
/// Bytes that wait here.
const WAITING_BYTES: usize = 128 * 1024;
/// Bytes of one message from a page: 16 KiB of payload in its JSON.
const MESSAGE_BYTES: usize = 20 * 1024;
/// Of the room's messages; clock readings have a budget of their own.
const MESSAGES_PER_S: u32 = 20;
const TOO_FAST: &str = r#"{"type":"error","code":"too-fast","message":"more than 20 messages per second; this one was dropped","retry_after_s":1}"#;

type Events = mpsc::Sender<ViewerEvent>;

#[derive(Default)]
pub struct Channels {
    sync: Option<RTCDataChannelId>,
    telemetry: Option<RTCDataChannelId>,
    /// The viewer is where text for it is brought to; before, nobody is told of the channel.
    seated: bool,
    waiting: VecDeque<String>,
    waiting_bytes: usize,
    /// Text was given up; the room has to be told once there is space again.
    behind: bool,
    clock: Budget,
    said: Budget,
    /// Messages of the page that were not looked at, and texts for it that were given up.
    pub refused: u64,
    pub given_up: u64,
}

/// Messages of the current second.
#[derive(Default)]
struct Budget {
    second: u64,
    used: u32,
}

impl Budget {
    /// How many there were in this second, this one included.
    fn take(&mut self, now: Micros) -> u32 {
        let second = now.0 / 1_000_000;
        if self.second != second {
            *self = Budget { second, used: 0 };
        }
        self.used = self.used.saturating_add(1);
        self.used
    }
}

impl Channels {
    pub fn seated(&mut self, events: &Events) {
        self.seated = true;
        if self.sync.is_some() {
            tell(events, ViewerEvent::Channel(true));
        }
    }

    pub fn opened(&mut self, connection: &mut RTCPeerConnection, id: RTCDataChannelId, events: &Events) {
        let label = connection.data_channel(id).map(|channel| channel.label().to_string());
        match label.as_deref() {
            Some("sync") => {
                self.sync = Some(id);
                if self.seated {
                    tell(events, ViewerEvent::Channel(true));
                }
            }
            Some("telemetry") => self.telemetry = Some(id),
            _ => {}
        }
    }

    pub fn closed(&mut self, id: RTCDataChannelId, events: &Events) {
        if self.telemetry == Some(id) {
            self.telemetry = None;
        }
        if self.sync == Some(id) {
            self.sync = None;
            self.waiting.clear();
            self.waiting_bytes = 0;
            tell(events, ViewerEvent::Channel(false));
        }
    }

    pub fn message(
        &mut self,
        now: Now,
        connection: &mut RTCPeerConnection,
        id: RTCDataChannelId,
        message: &RTCDataChannelMessage,
        events: &Events,
    ) {
        if self.sync != Some(id) && self.telemetry != Some(id) {
            return;
        }
        let bytes = &message.data[..];
        if let Some(answer) = sync_channel::answer_bytes(now.monotonic, bytes).filter(|_| !message.is_string) {
            if self.may_answer(now) {
                send_bytes(now, connection, id, &answer);
            }
        } else if let Some(answer) = sync_channel::answer(now.monotonic, bytes) {
            if self.may_answer(now) {
                send_text(now, connection, id, answer);
            }
        } else if self.sync == Some(id) {
            self.said(now, connection, id, bytes, events);
        }
    }

    fn may_answer(&mut self, now: Now) -> bool {
        self.clock.take(now.monotonic) <= sync_channel::MAX_MESSAGES_PER_S
    }

    /// Something for the room.
    fn said(
        &mut self,
        now: Now,
        connection: &mut RTCPeerConnection,
        id: RTCDataChannelId,
        bytes: &[u8],
        events: &Events,
    ) {
        let count = self.said.take(now.monotonic);
        let text = std::str::from_utf8(bytes).ok().filter(|_| bytes.len() <= MESSAGE_BYTES);
        let taken = count <= MESSAGES_PER_S
            && text.is_some_and(|text| events.try_send(ViewerEvent::Said(text.to_string())).is_ok());
        if !taken {
            self.refused += 1;
        }
        if count == MESSAGES_PER_S + 1 {
            send_text(now, connection, id, TOO_FAST.into());
        }
    }

    /// Text of the room, in order; false when there is no channel for it.
    pub fn send(&mut self, now: Now, connection: &mut RTCPeerConnection, text: String, events: &Events) -> bool {
        if self.sync.is_none() {
            return false;
        }
        self.waiting_bytes += text.len();
        self.waiting.push_back(text);
        self.flush(now, connection, events);
        if self.waiting_bytes > WAITING_BYTES {
            self.given_up += self.waiting.len() as u64;
            self.waiting.clear();
            self.waiting_bytes = 0;
            self.behind = true;
        }
        true
    }

    /// Sends what there is space for. Call whenever the page may have taken something.
    pub fn flush(&mut self, now: Now, connection: &mut RTCPeerConnection, events: &Events) {
        let Some(id) = self.sync.filter(|_| self.behind || !self.waiting.is_empty()) else { return };
        while has_space(connection, id) {
            let Some(text) = self.waiting.pop_front() else {
                if std::mem::take(&mut self.behind) {
                    tell(events, ViewerEvent::Behind);
                }
                return;
            };
            self.waiting_bytes -= text.len();
            send_text(now, connection, id, text);
        }
    }

    /// The stream's figures: only the newest are of use, so they never wait.
    pub fn send_figures(&mut self, now: Now, connection: &mut RTCPeerConnection, text: String) {
        let Some(id) = self.telemetry.or(self.sync) else { return };
        if has_space(connection, id) {
            send_text(now, connection, id, text);
        }
    }
}

fn tell(events: &Events, event: ViewerEvent) {
    // full means nobody reads it any more
    let _ = events.try_send(event);
}

fn has_space(connection: &mut RTCPeerConnection, id: RTCDataChannelId) -> bool {
    connection.data_channel(id).is_some_and(|channel| channel.outstanding_bytes() <= OUTSTANDING_BYTES)
}

fn send_text(now: Now, connection: &mut RTCPeerConnection, id: RTCDataChannelId, text: String) {
    let sent = connection.data_channel(id).map(|mut channel| channel.send_text(now.instant, text));
    if let Some(Err(error)) = sent {
        tracing::debug!(%error, "data channel");
    }
}

fn send_bytes(now: Now, connection: &mut RTCPeerConnection, id: RTCDataChannelId, bytes: &[u8]) {
    let sent = connection.data_channel(id).map(|mut channel| channel.send(now.instant, BytesMut::from(bytes)));
    if let Some(Err(error)) = sent {
        tracing::debug!(%error, "data channel");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_counts_anew_each_second() {
        let mut budget = Budget::default();
        let counts: Vec<u32> = [1_000_000, 1_999_999, 2_000_000].map(|at| budget.take(Micros(at))).to_vec();
        assert_eq!(counts, [1, 2, 1]);
    }
}
