//! One viewer: a sans-IO WebRTC peer connection and what we know about it.
//!
//! Owns the peer connection from offer to close. Datagrams, pictures and time go in; datagrams to send and life-cycle
//! changes come out. Must never touch a socket, read a clock or wait. Driven by the lobby while connecting, then by the
//! media loop.

use crate::output::webrtc::channels::Channels;
use crate::output::webrtc::demux::DatagramKind;
use crate::output::webrtc::feedback::Feedback;
use crate::output::webrtc::packetize::PacketizedUnit;
use crate::output::webrtc::path::Path;
use crate::output::webrtc::udp_sys::Outgoing;
use crate::output::webrtc::{answer, demux};
use crate::output::{CloseReason, OfferError, ViewerEvent, ViewerId, ViewerStats};
use crate::units::Micros;
use bytes::{BufMut, Bytes, BytesMut};
use rtc::interceptor::{NackResponderBuilder, Registry, SenderReportBuilder, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::certificate::RTCCertificate;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_RTX, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCDtlsRole, RTCDtlsTransportState, RTCIceCandidate, RTCIceCandidateInit,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// ICE and DTLS must be done by then.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Without a sign of life (RFC 7675 consent, RTCP) pictures are held back, then the viewer is closed.
const SILENT_AFTER: Duration = Duration::from_secs(4);
const ICE_DISCONNECTED: Duration = Duration::from_secs(5);
const ICE_FAILED: Duration = Duration::from_secs(10);
const ICE_KEEPALIVE: Duration = Duration::from_secs(2);
/// Packets kept for retransmission, about 1.5 s at 1.5 Mbit/s. A power of two.
const RESEND_PACKETS: u16 = 256;
/// The core queues packets on several floors; draining it this often keeps them all short.
const PACKETS_PER_DRAIN: usize = 8;

const PLAYOUT_DELAY_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
const CAPTURE_TIME_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// What all viewers have in common.
pub struct Common {
    pub certificate: RTCCertificate,
    pub ssrc: u32,
    /// The playout-delay extension's 3 bytes: two 12-bit numbers in units of 10 ms.
    pub playout_delay: [u8; 3],
}

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
    ssrc: u32,
    playout_delay: Bytes,
    stream: Option<StreamParameters>,
    next_sequence: u16,
    state: State,
    events: mpsc::Sender<ViewerEvent>,
    feedback: Feedback,
    channels: Channels,
    joined_at: Micros,
    connected_at: Option<Micros>,
    last_heard: Micros,
    peer: Option<SocketAddr>,
    path: Path,
    /// The browser's last check while connecting, and where it came from.
    unanswered: Option<(SocketAddr, Vec<u8>)>,
    pictures_sent: u64,
    key_requests_seen: u64,
}

/// What was negotiated.
#[derive(Clone, Copy, Debug)]
struct StreamParameters {
    payload_type: u8,
    playout_delay_id: Option<u8>,
    capture_time_id: Option<u8>,
}

pub struct OfferedViewer {
    pub id: ViewerId,
    pub offer: String,
    pub events: mpsc::Sender<ViewerEvent>,
    /// Every address browsers may reach us by.
    pub local: Vec<SocketAddr>,
    pub profile_level_id: [u8; 3],
}

impl Viewer {
    /// Makes a viewer of an offer and the answer to it.
    pub fn accept(now: Now, common: &Common, offered: OfferedViewer) -> Result<(Viewer, String), OfferError> {
        let profile = answer::choose_profile(&offered.offer)?;
        let bad = |error: rtc::shared::error::Error| OfferError::BadOffer(error.to_string());
        let feedback = Feedback::default();
        let ufrag = random_text(8);
        let mut connection = build(now, common, &feedback, &ufrag, profile).map_err(bad)?;
        let track = track(common.ssrc, profile);
        let track_id = track.track_id().to_string();
        let sender = connection.add_track(track).map_err(bad)?;
        let description = RTCSessionDescription::offer(offered.offer).map_err(bad)?;
        connection.set_remote_description(now.instant, description).map_err(bad)?;
        for address in &offered.local {
            connection.add_local_candidate(host_candidate(*address).map_err(bad)?).map_err(bad)?;
        }
        connection.add_local_candidate(RTCIceCandidateInit::default()).map_err(bad)?;
        let answer = connection.create_answer(None).map_err(bad)?;
        connection.set_local_description(now.instant, answer).map_err(bad)?;
        let sdp = connection.local_description().map(|d| d.sdp).unwrap_or_default();
        if !answer::sends_video(&sdp) {
            return Err(OfferError::NoH264);
        }
        let viewer = Viewer {
            id: offered.id,
            ufrag,
            connection,
            sender,
            track_id,
            ssrc: common.ssrc,
            playout_delay: Bytes::copy_from_slice(&common.playout_delay),
            stream: None,
            next_sequence: 0,
            state: State::Connecting,
            events: offered.events,
            feedback,
            channels: Channels::default(),
            joined_at: now.monotonic,
            connected_at: None,
            last_heard: now.monotonic,
            peer: None,
            path: Path::default(),
            unanswered: None,
            pictures_sent: 0,
            key_requests_seen: 0,
        };
        Ok((viewer, answer::state_real_level(&sdp, offered.profile_level_id)))
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn datagram(&mut self, now: Now, local: SocketAddr, peer: SocketAddr, bytes: &[u8]) {
        self.take_in(now, local, peer, bytes);
        if self.state == State::Connecting {
            self.answer_at_once(now, local, peer, bytes);
        }
    }

    /// Browsers nominate with their first check (USE-CANDIDATE). The core answers such a check only when its own check
    /// of that path has succeeded, that is, the browser's next one 50 ms or more later. So the check is kept, and shown
    /// to the core again as soon as its own check succeeded.
    fn answer_at_once(&mut self, now: Now, local: SocketAddr, peer: SocketAddr, bytes: &[u8]) {
        if demux::check_transaction(bytes).is_some() {
            self.unanswered = Some((peer, bytes.to_vec()));
        } else if demux::is_check_success(bytes)
            && let Some((_, check)) = self.unanswered.take_if(|(from, _)| *from == peer)
        {
            self.take_in(now, local, peer, &check);
        }
    }

    fn take_in(&mut self, now: Now, local: SocketAddr, peer: SocketAddr, bytes: &[u8]) {
        let transport = TransportContext {
            local_addr: local,
            peer_addr: self.path.seen_from(peer),
            ecn: None,
            transport_protocol: TransportProtocol::UDP,
        };
        let datagram = TaggedBytesMut { now: now.instant, transport, message: BytesMut::from(bytes) };
        // An error is a datagram the core did not like: the next one may be fine, and ICE times out if none is.
        if let Err(error) = self.connection.handle_read(datagram) {
            tracing::debug!(viewer = self.id.0, %error, "datagram refused");
        }
    }

    pub fn candidate(&mut self, candidate: String) {
        let candidate = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
        if let Err(error) = self.connection.add_remote_candidate(candidate) {
            // mDNS names (".local") end here: their addresses come to us as peer reflexive
            tracing::debug!(viewer = self.id.0, %error, "candidate ignored");
        }
    }

    pub fn timeout(&mut self, now: Now) {
        if let Err(error) = self.connection.handle_timeout(now.instant) {
            tracing::debug!(viewer = self.id.0, %error, "timer");
        }
        if self.state == State::Connecting && now.monotonic.since(self.joined_at) >= CONNECT_DEADLINE {
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
    }

    fn drain(&mut self, now: Now, out: &mut Vec<Outgoing>) {
        while let Some(datagram) = self.connection.poll_write() {
            let known = datagram.transport.peer_addr;
            if demux::is_check_success(&datagram.message) {
                // we answered a check that carried the right MESSAGE-INTEGRITY: the viewer lives, and lives there
                self.last_heard = now.monotonic;
                self.path.check_succeeded(now.monotonic, known);
            } else if demux::kind(&datagram.message) == DatagramKind::Media {
                self.path.media_to(now.monotonic, known);
            }
            let peer = self.path.goes_to(known);
            self.peer = Some(peer);
            out.push(Outgoing { local: datagram.transport.local_addr.ip(), peer, bytes: datagram.message });
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

    fn failure(&self) -> CloseReason {
        if self.state == State::Connecting { CloseReason::Failed } else { CloseReason::Lost }
    }

    fn connected(&mut self, now: Now) {
        let Some(mut sender) = self.connection.rtp_sender(self.sender) else { return };
        let parameters = &sender.get_parameters().rtp_parameters;
        let extension = |uri: &str| {
            parameters.header_extensions.iter().find(|e| e.uri == uri).and_then(|e| u8::try_from(e.id).ok())
        };
        let stream = parameters.codecs.iter().find(|c| c.rtp_codec.mime_type.eq_ignore_ascii_case(MIME_TYPE_H264)).map(
            |codec| StreamParameters {
                payload_type: codec.payload_type,
                playout_delay_id: extension(PLAYOUT_DELAY_URI),
                capture_time_id: extension(CAPTURE_TIME_URI),
            },
        );
        if stream.is_none() {
            return self.close(CloseReason::Failed);
        }
        self.stream = stream;
        self.state = State::Connected;
        self.unanswered = None;
        self.connected_at = Some(now.monotonic);
        self.last_heard = now.monotonic;
        // full means nobody reads it any more
        let _ = self.events.try_send(ViewerEvent::Connected);
    }

    /// Sends one picture. The caller has checked that the viewer is connected.
    pub fn send(&mut self, now: Now, unit: &PacketizedUnit, out: &mut Vec<Outgoing>) {
        let Some(stream) = self.stream else { return };
        let capture_time = ntp_time(unit.captured_at, now.wall_offset_us);
        let last = unit.payloads.len().saturating_sub(1);
        for (at, payload) in unit.payloads.iter().enumerate() {
            let mut header = rtc::rtp::header::Header {
                version: 2,
                marker: at == last,
                payload_type: stream.payload_type,
                sequence_number: self.next_sequence,
                timestamp: unit.pts.rtp(),
                ssrc: self.ssrc,
                ..Default::default()
            };
            self.next_sequence = self.next_sequence.wrapping_add(1);
            // on every packet, so that all are equally long (one segmented send) and none is special when lost
            if let Some(id) = stream.playout_delay_id {
                let _ = header.set_extension(id, self.playout_delay.clone());
            }
            if let Some(id) = stream.capture_time_id {
                let _ = header.set_extension(id, capture_time.clone());
            }
            let packet = rtc::rtp::Packet { header, payload: payload.clone() };
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

    /// No check of consent for a while: the page sleeps or its network is gone. Pictures would only fill the path.
    pub fn is_silent(&self, now: Now) -> bool {
        now.monotonic.since(self.last_heard) >= SILENT_AFTER
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

fn build(
    now: Now,
    common: &Common,
    feedback: &Feedback,
    ufrag: &str,
    profile: &str,
) -> rtc::shared::error::Result<RTCPeerConnection> {
    let registry = Registry::new()
        .with(Slot::NackResponder, NackResponderBuilder::new().with_size(RESEND_PACKETS).build())
        .with(Slot::SenderReport, SenderReportBuilder::new().build())
        // nearest to the wire: sees what really goes out and all that comes in
        .with(Slot::from(500), feedback.interceptor(common.ssrc));
    let settings = SettingEngineBuilder::new()
        .with_include_loopback_candidate(true)
        // joining the mDNS group fails on machines without a multicast route, and we never resolve peers' names
        .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_ice_timeouts(Some(ICE_DISCONNECTED), Some(ICE_FAILED), Some(ICE_KEEPALIVE))
        // the browser starts DTLS as soon as its check succeeded; being the client ourselves costs a lost ClientHello
        .with_answering_dtls_role(RTCDtlsRole::Server)
        .with_ice_credentials(ufrag.to_string(), random_text(24))
        .build();
    RTCPeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().with_certificates(vec![common.certificate.clone()]).build())
        .with_setting_engine(settings)
        .with_media_engine(media_engine(profile)?)
        .with_interceptor_registry(registry)
        .build(now.instant)
}

fn h264(profile: &str) -> RTCRtpCodec {
    let feedback = |kind: &str, parameter: &str| RTCPFeedback { typ: kind.into(), parameter: parameter.into() };
    RTCRtpCodec {
        mime_type: MIME_TYPE_H264.into(),
        clock_rate: 90000,
        channels: 0,
        // only the profile is compared; the level is set to the real one in the finished answer
        sdp_fmtp_line: format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}1f"),
        rtcp_feedback: vec![feedback("ccm", "fir"), feedback("nack", ""), feedback("nack", "pli")],
    }
}

fn media_engine(profile: &str) -> rtc::shared::error::Result<MediaEngine> {
    let mut engine = MediaEngine::default();
    let codec = RTCRtpCodecParameters { rtp_codec: h264(profile), payload_type: 102 };
    engine.register_codec(codec, RtpCodecKind::Video)?;
    let resend = RTCRtpCodec {
        mime_type: MIME_TYPE_RTX.into(),
        clock_rate: 90000,
        channels: 0,
        sdp_fmtp_line: "apt=102".into(),
        rtcp_feedback: vec![],
    };
    engine.register_codec(RTCRtpCodecParameters { rtp_codec: resend, payload_type: 103 }, RtpCodecKind::Video)?;
    for uri in [PLAYOUT_DELAY_URI, CAPTURE_TIME_URI] {
        let extension = RTCRtpHeaderExtensionCapability { uri: uri.into() };
        engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
    }
    Ok(engine)
}

fn track(ssrc: u32, profile: &str) -> MediaStreamTrack {
    let coding = RTCRtpCodingParameters {
        ssrc: Some(ssrc),
        rtx: Some(RTCRtpRtxParameters { ssrc: ssrc.wrapping_add(1) }),
        ..Default::default()
    };
    let encoding =
        RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec: h264(profile), ..Default::default() };
    MediaStreamTrack::new("rtcam".into(), "rtcam-video".into(), "camera".into(), RtpCodecKind::Video, vec![encoding])
}

fn host_candidate(address: SocketAddr) -> rtc::shared::error::Result<RTCIceCandidateInit> {
    let base_config = CandidateConfig {
        network: "udp".into(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        ..Default::default()
    };
    let candidate = CandidateHostConfig { base_config, ..Default::default() }.new_candidate_host()?;
    RTCIceCandidate::from(&candidate).to_json()
}

/// A capture instant as NTP time in 32.32 bits: the abs-capture-time extension.
fn ntp_time(captured_at: Micros, wall_offset_us: i64) -> Bytes {
    const UNIX_TO_NTP_S: u64 = 2_208_988_800;
    let unix_us = captured_at.0.saturating_add_signed(wall_offset_us);
    let seconds = (unix_us / 1_000_000).wrapping_add(UNIX_TO_NTP_S) & 0xffff_ffff;
    let fraction = ((unix_us % 1_000_000) << 32) / 1_000_000;
    let mut bytes = BytesMut::with_capacity(8);
    bytes.put_u64(seconds << 32 | fraction);
    bytes.freeze()
}

/// Letters and digits from the system's random source (RFC 8445 section 5.3 wants 24 and 128 bits: 5 bits each).
fn random_text(letters: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = vec![0u8; letters];
    getrandom::fill(&mut bytes).expect("Linux has a random source once it has booted");
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capture_time_counts_from_1900_in_binary_fractions() {
        // half a second after the unix epoch
        let bytes = ntp_time(Micros(1_500_000), -1_000_000);
        assert_eq!(bytes[..], [0x83, 0xaa, 0x7e, 0x80, 0x80, 0, 0, 0]);
    }

    #[test]
    fn ice_names_are_long_and_differ() {
        let (a, b) = (random_text(24), random_text(24));
        assert!(a.len() == 24 && a != b && a.chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
