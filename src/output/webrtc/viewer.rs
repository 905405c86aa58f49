//! One viewer: a sans-IO WebRTC peer connection and what we know about it.
//!
//! Owns the peer connection from offer to close. Datagrams, pictures and time go in; datagrams to send and life-cycle
//! changes come out. Must never touch a socket, read a clock or wait. Driven by the lobby while connecting, then by the
//! media loop.

use crate::media::srtp::SrtpProfile;
use crate::output::webrtc::channels::Channels;
use crate::output::webrtc::complaint;
use crate::output::webrtc::demux::{self, DatagramKind, Ends, TransactionId};
use crate::output::webrtc::feedback::Feedback;
use crate::output::webrtc::handshake::Handshake;
use crate::output::webrtc::negotiation::{self, Common, Negotiated, Terms};
use crate::output::webrtc::packetize::PacketizedUnit;
use crate::output::webrtc::path::Path;
use crate::output::webrtc::srtp;
use crate::output::webrtc::tried::Attempt;
use crate::output::webrtc::udp_sys::Outgoing;
use crate::output::webrtc::video_track::{VideoTrack, ntp_time};
use crate::output::{CloseReason, OfferError, SelectedPath, ViewerEvent, ViewerId, ViewerStats};
use crate::units::Micros;
use bytes::BytesMut;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::peer_connection::transport::{
    RTCDtlsTransportState, RTCIceCandidateInit, RTCIceCandidateType, RTCIceProtocol,
};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// ICE and DTLS must be done by then.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Without a sign of life pictures are held back, then the viewer is closed. Checks of consent alone are too rare a sign:
/// every 2.5 s from Chromium, but every 4 to 6 s from Firefox and others (RFC 7675); RTCP comes every second or so.
const SILENT_AFTER: Duration = Duration::from_secs(4);
/// The core queues packets on several floors; draining it this often keeps them all short.
const PACKETS_PER_DRAIN: usize = 8;

/// Now, in the three clocks a viewer needs.
#[derive(Clone, Copy)]
pub struct Now {
    pub instant: Instant,
    pub monotonic: Micros,
    /// Monotonic zero on the wall clock, for the abs-capture-time extension.
    pub wall_offset_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Connecting,
    Connected,
    Closed(CloseReason),
}

pub struct Viewer {
    pub id: ViewerId,
    pub ufrag: String,
    connection: RTCPeerConnection,
    sender: RTCRtpSenderId,
    track_id: String,
    track: VideoTrack,
    state: State,
    /// ICE has chosen no path yet, or none since it was restarted.
    searching: bool,
    events: mpsc::Sender<ViewerEvent>,
    feedback: Feedback,
    handshake: Handshake,
    srtp: Option<SrtpProfile>,
    channels: Channels,
    joined_at: Micros,
    connected_at: Option<Micros>,
    last_heard: Micros,
    peer: Option<SocketAddr>,
    path: Path,
    selected: Option<SelectedPath>,
    attempt: Attempt,
    /// The browser's last check while connecting, and where it came from.
    unanswered: Option<(SocketAddr, Vec<u8>)>,
    /// The last check that nominates, and how it came. It counts when the core has answered it.
    nominating: Option<(TransactionId, Ends)>,
    pictures_sent: u64,
    key_requests_seen: u64,
    reports_seen: u64,
}

pub struct OfferedViewer {
    pub id: ViewerId,
    pub offer: String,
    pub events: mpsc::Sender<ViewerEvent>,
    pub attempt: Attempt,
}

impl Viewer {
    /// Makes a viewer of an offer and the answer to it.
    pub fn accept(
        now: Now,
        common: &Common,
        offered: OfferedViewer,
        terms: &Terms,
    ) -> Result<(Viewer, String), OfferError> {
        let feedback = Feedback::default();
        let Negotiated { connection, sender, track_id, answer } =
            negotiation::first(now, common, &feedback, offered.offer, terms)?;
        let viewer = Viewer {
            id: offered.id,
            ufrag: answer.ufrag,
            connection,
            sender,
            track_id,
            track: VideoTrack::new(common),
            state: State::Connecting,
            searching: true,
            events: offered.events,
            feedback,
            handshake: Handshake::new(&common.srtp),
            srtp: None,
            channels: Channels::default(),
            joined_at: now.monotonic,
            connected_at: None,
            last_heard: now.monotonic,
            peer: None,
            path: Path::default(),
            selected: None,
            attempt: offered.attempt,
            unanswered: None,
            nominating: None,
            pictures_sent: 0,
            key_requests_seen: 0,
            reports_seen: 0,
        };
        Ok((viewer, answer.sdp))
    }

    /// Finds the path anew (ICE restart) and gives the answer. The core forgets the old path at once: until the new one
    /// stands pictures wait in the viewer's queue, see `is_searching`. After an error the viewer goes on as it was, or is closed by its own timers.
    pub fn restart(&mut self, now: Now, offer: String, terms: &Terms) -> Result<String, OfferError> {
        let answer = negotiation::again(now, &mut self.connection, offer, terms)?;
        if answer.ufrag != self.ufrag {
            self.searching = true;
            self.unanswered = None;
            self.path = Path::default();
        }
        self.ufrag = answer.ufrag;
        Ok(answer.sdp)
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn datagram(&mut self, now: Now, ends: Ends, bytes: &[u8]) {
        if demux::is_nomination(bytes) {
            self.nominating = demux::check_transaction(bytes).map(|check| (check, ends));
        }
        self.take_in(now, ends, bytes);
        if self.searching {
            self.answer_at_once(now, ends, bytes);
        }
    }

    /// Browsers nominate with their first check (USE-CANDIDATE). The core answers such a check only when its own check
    /// of that path has succeeded, that is, the browser's next one 50 ms or more later. So the check is kept, and shown
    /// to the core again as soon as its own check succeeded.
    fn answer_at_once(&mut self, now: Now, ends: Ends, bytes: &[u8]) {
        if demux::check_transaction(bytes).is_some() {
            self.attempt.check_received();
            self.unanswered = Some((ends.peer, bytes.to_vec()));
        } else if demux::is_check_success(bytes)
            && let Some((_, check)) = self.unanswered.take_if(|(from, _)| *from == ends.peer)
        {
            self.take_in(now, ends, &check);
        }
    }

    fn take_in(&mut self, now: Now, ends: Ends, bytes: &[u8]) {
        let shown = match demux::kind(bytes) {
            DatagramKind::Dtls => self.handshake.datagram(bytes),
            _ => Some(Cow::Borrowed(bytes)),
        };
        let Some(shown) = shown else { return };
        let seen = self.path.seen_by(ends);
        let transport = TransportContext {
            local_addr: seen.local,
            peer_addr: seen.peer,
            ecn: None,
            transport_protocol: if seen.tcp { TransportProtocol::TCP } else { TransportProtocol::UDP },
        };
        let datagram = TaggedBytesMut { now: now.instant, transport, message: BytesMut::from(&shown[..]) };
        // An error is a datagram the core did not like: the next one may be fine, and ICE times out if none is.
        if let Err(error) = self.connection.handle_read(datagram) {
            tracing::debug!(viewer = self.id.0, error = complaint::of_core(&error), "datagram refused");
        }
    }

    pub fn candidate(&mut self, candidate: String) {
        self.attempt.candidate(&candidate);
        let candidate = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
        if let Err(error) = self.connection.add_remote_candidate(candidate) {
            // mDNS names (".local") end here: their addresses come to us as peer reflexive
            tracing::debug!(viewer = self.id.0, error = complaint::of_core(&error), "candidate ignored");
        }
    }

    pub fn timeout(&mut self, now: Now) {
        if let Err(error) = self.connection.handle_timeout(now.instant) {
            tracing::debug!(viewer = self.id.0, %error, "timer");
        }
        if self.events.is_closed() {
            // whoever asked for it has ended; the word of that may have found the lobby's queue full
            self.close(CloseReason::Left);
        }
        if self.state == State::Connecting && now.monotonic.since(self.joined_at) >= CONNECT_DEADLINE {
            let tried = self.attempt.verdict();
            tracing::info!(viewer = self.id.0, "webrtc: no path: {tried}");
            let _ = self.events.try_send(ViewerEvent::Tried(Box::new(tried)));
            self.close(CloseReason::ConnectTimeout);
        }
    }

    /// When `timeout` wants to be called next.
    pub fn next_timeout(&mut self, now: Now) -> Instant {
        let core = self.connection.poll_timeout().unwrap_or(now.instant + Duration::from_secs(1));
        let mut next = core.max(now.instant + Duration::from_millis(1));
        if self.state == State::Connecting {
            let left = (self.joined_at + CONNECT_DEADLINE).since(now.monotonic);
            next = next.min(now.instant + left.max(Duration::from_millis(1)));
        }
        next
    }

    /// Takes everything the core has: events, messages, datagrams. Call after each input.
    pub fn poll(&mut self, now: Now, out: &mut Vec<Outgoing>) {
        self.drain(now, out);
        while let Some(event) = self.connection.poll_event() {
            self.event(now, event);
        }
        if self.searching && self.has_path() {
            self.path_found();
        }
        if self.state == State::Connected && self.peer_said_goodbye() {
            self.close(CloseReason::Left);
        }
        while let Some(tagged) = self.connection.poll_read() {
            if let RTCMessage::DataChannelMessage(id, message) = tagged.message {
                self.channels.message(now, &mut self.connection, id, &message, &self.events);
            }
        }
        self.channels.flush(now, &mut self.connection, &self.events);
        self.drain(now, out);
        let reports = self.feedback.counters().reports;
        if std::mem::replace(&mut self.reports_seen, reports) != reports {
            self.last_heard = now.monotonic;
        }
    }

    fn drain(&mut self, now: Now, out: &mut Vec<Outgoing>) {
        let before = self.path.in_use();
        while let Some(datagram) = self.connection.poll_write() {
            let transport = datagram.transport;
            let tcp = transport.transport_protocol == TransportProtocol::TCP;
            let known = Ends { local: transport.local_addr, peer: transport.peer_addr, tcp };
            if let Some(check) = demux::success_transaction(&datagram.message) {
                // we answered a check that carried the right MESSAGE-INTEGRITY: the viewer lives, and lives there
                self.last_heard = now.monotonic;
                self.path.check_succeeded(now.monotonic, known);
                if let Some((_, ends)) = self.nominating.take_if(|(nominating, _)| *nominating == check) {
                    self.path.nominated(now.monotonic, ends);
                }
            } else if demux::kind(&datagram.message) == DatagramKind::Media {
                self.path.media_by(now.monotonic, known);
            }
            let ends = self.path.goes_by(known);
            self.peer = Some(ends.peer);
            out.push(Outgoing { local: ends.local.ip(), peer: ends.peer, tcp: ends.tcp, bytes: datagram.message });
        }
        if self.path.in_use() != before {
            self.note_path();
        }
    }

    fn event(&mut self, now: Now, event: RTCPeerConnectionEvent) {
        match event {
            RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => match state {
                RTCPeerConnectionState::Connected if self.state == State::Connecting => self.connected(now),
                RTCPeerConnectionState::Failed => self.close(self.failure()),
                RTCPeerConnectionState::Closed => self.close(CloseReason::Left),
                _ => {}
            },
            RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(RTCIceConnectionState::Failed) => {
                self.close(self.failure());
            }
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => {
                self.channels.opened(&mut self.connection, id, &self.events);
            }
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(id)) => {
                self.channels.closed(id, &self.events);
            }
            _ => {}
        }
    }

    /// The peer's DTLS close_notify: the core notes it on the transport but raises no event for it.
    fn peer_said_goodbye(&mut self) -> bool {
        let sender = self.connection.rtp_sender(self.sender);
        sender.and_then(|sender| sender.transport().map(|dtls| dtls.state())) == Some(RTCDtlsTransportState::Closed)
    }

    fn has_path(&mut self) -> bool {
        let sender = self.connection.rtp_sender(self.sender);
        let dtls = sender.as_ref().and_then(|sender| sender.transport());
        dtls.is_some_and(|dtls| dtls.ice_transport().get_selected_candidate_pair().is_some())
    }

    fn path_found(&mut self) {
        self.searching = false;
        self.unanswered = None;
        self.note_path();
    }

    /// For people: the pair the core has selected, or what stands in for it.
    fn note_path(&mut self) {
        let Some(sender) = self.connection.rtp_sender(self.sender) else { return };
        let Some(ice) = sender.transport().map(|dtls| dtls.ice_transport()) else { return };
        let Some(pair) = ice.get_selected_candidate_pair() else { return };
        let (mut remote, mut tcp) = (pair.remote().typ, pair.local().protocol == RTCIceProtocol::Tcp);
        if let Some(ends) = self.path.in_use() {
            let (ip, port) = (ends.peer.ip().to_string(), ends.peer.port());
            let known = ice.get_remote_candidates().into_iter().find(|c| c.address == ip && c.port == port);
            (remote, tcp) = (known.map_or(RTCIceCandidateType::Prflx, |c| c.typ), ends.tcp);
        }
        self.selected = Some(SelectedPath {
            local: candidate_type(pair.local().typ),
            remote: candidate_type(remote),
            protocol: if tcp { "tcp" } else { "udp" },
        });
    }

    fn failure(&self) -> CloseReason {
        if self.state == State::Connecting { CloseReason::Failed } else { CloseReason::Lost }
    }

    fn connected(&mut self, now: Now) {
        let Some(mut sender) = self.connection.rtp_sender(self.sender) else { return };
        if !self.track.negotiated(&sender.get_parameters().rtp_parameters) {
            return self.close(CloseReason::Failed);
        }
        self.srtp = srtp::agreed(now.instant, &mut self.connection);
        self.state = State::Connected;
        self.connected_at = Some(now.monotonic);
        self.last_heard = now.monotonic;
        // full means nobody reads it any more
        let _ = self.events.try_send(ViewerEvent::Connected);
    }

    /// Sends one picture. The caller has checked that the viewer is connected.
    pub fn send(&mut self, now: Now, unit: &PacketizedUnit, out: &mut Vec<Outgoing>) {
        let capture_time = ntp_time(unit.captured_at, now.wall_offset_us);
        for at in 0..unit.payloads.len() {
            let Some(packet) = self.track.packet(unit, at, &capture_time) else { return };
            let Some(mut sender) = self.connection.rtp_sender(self.sender) else { return };
            if let Err(error) = sender.write_rtp(now.instant, packet) {
                tracing::debug!(viewer = self.id.0, track = self.track_id, %error, "packet not sent");
                return;
            }
            if at % PACKETS_PER_DRAIN == PACKETS_PER_DRAIN - 1 {
                self.drain(now, out);
            }
        }
        self.drain(now, out);
        self.pictures_sent += 1;
    }

    /// Whether the viewer asked for a key picture since this was last called.
    pub fn take_key_request(&mut self) -> bool {
        let requests = self.feedback.counters().key_requests;
        std::mem::replace(&mut self.key_requests_seen, requests) != requests
    }

    /// Neither a check of consent nor RTCP for a while: the page sleeps or its network is gone. Pictures would only fill the path.
    pub fn is_silent(&self, now: Now) -> bool {
        now.monotonic.since(self.last_heard) >= SILENT_AFTER
    }

    /// The core has no path and would drop what it is given; packets with numbers that never went out look like loss.
    pub fn is_searching(&self) -> bool {
        self.searching
    }

    /// Pictures go by a TCP connection, which may be backed up.
    pub fn is_over_tcp(&self) -> bool {
        self.selected.is_some_and(|path| path.protocol == "tcp")
    }

    pub fn close(&mut self, reason: CloseReason) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        self.state = State::Closed(reason);
        let (refused, given_up) = (self.channels.refused, self.channels.given_up);
        if refused + given_up > 0 {
            tracing::debug!(viewer = self.id.0, refused, given_up, "data channel: messages from and for the page");
        }
        // queues a DTLS close_notify for the next drain
        if let Err(error) = self.connection.close() {
            tracing::debug!(viewer = self.id.0, %error, "close");
        }
        let _ = self.events.try_send(ViewerEvent::Closed(reason));
    }

    /// Text for it is brought to where it is now.
    pub fn seated(&mut self) {
        self.channels.seated(&self.events);
    }

    /// Text of the room, on the "sync" channel.
    pub fn send_text(&mut self, now: Now, text: String) {
        if !self.channels.send(now, &mut self.connection, text, &self.events) {
            tracing::debug!(viewer = self.id.0, "no data channel for a text");
        }
    }

    pub fn send_figures(&mut self, now: Now, text: String) {
        self.channels.send_figures(now, &mut self.connection, text);
    }

    pub fn stats(&self, pictures_dropped: u64) -> ViewerStats {
        let counters = self.feedback.counters();
        ViewerStats {
            viewer: self.id,
            joined_at: self.joined_at,
            connected_at: self.connected_at,
            peer: self.peer,
            path: self.selected,
            srtp: self.srtp,
            pictures_sent: self.pictures_sent,
            pictures_dropped,
            packets_sent: counters.packets_sent,
            bytes_sent: counters.bytes_sent,
            packets_resent: counters.packets_resent,
            key_requests: counters.key_requests,
            loss: counters.loss,
            round_trip_ms: counters.round_trip.map(|span| span.as_secs_f64() * 1000.0),
        }
    }
}

fn candidate_type(kind: RTCIceCandidateType) -> &'static str {
    match kind {
        RTCIceCandidateType::Host => "host",
        RTCIceCandidateType::Srflx => "srflx",
        RTCIceCandidateType::Prflx => "prflx",
        RTCIceCandidateType::Relay => "relay",
        _ => "unknown",
    }
}
