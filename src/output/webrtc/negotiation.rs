//! One viewer's negotiation: from an offer to a peer connection of the core and the answer, and again for an ICE restart.
//!
//! Owns what we offer (codec, extensions, candidates) and how the core is set. Must never keep a connection. Input:
//! offers of browsers, which `answer.rs` has looked at, and where we can be reached.

use crate::media::srtp::SrtpProfile;
use crate::output::OfferError;
use crate::output::webrtc::answer;
use crate::output::webrtc::feedback::Feedback;
use crate::output::webrtc::reach::Reach;
use crate::output::webrtc::srtp::in_dtls;
use crate::output::webrtc::viewer::Now;
use rtc::interceptor::{NackResponderBuilder, Registry, SenderReportBuilder, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::certificate::RTCCertificate;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_RTX, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind,
};
use std::time::Duration;

const ICE_DISCONNECTED: Duration = Duration::from_secs(5);
const ICE_FAILED: Duration = Duration::from_secs(10);
const ICE_KEEPALIVE: Duration = Duration::from_secs(2);
/// Checks of one pair, every 200 ms. Long enough for a relay whose permission waits for our answer to arrive.
const ICE_CHECKS: u16 = 25;
/// Packets kept for retransmission, about 1.5 s at 1.5 Mbit/s. A power of two.
const RESEND_PACKETS: u16 = 256;
/// What a page may send on the data channels before it is read: some messages of the longest kind. What the core keeps of
/// many small pieces is a hundred times as much.
const UNREAD_BYTES: u32 = 64 * 1024;

pub const PLAYOUT_DELAY_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
pub const CAPTURE_TIME_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// What all viewers have in common.
pub struct Common {
    pub certificate: RTCCertificate,
    pub ssrc: u32,
    /// The playout-delay extension's 3 bytes: two 12-bit numbers in units of 10 ms.
    pub playout_delay: [u8; 3],
    /// How packets may be encrypted, the best first.
    pub srtp: Vec<SrtpProfile>,
}

/// What an offer is answered with, besides the codec.
pub struct Terms {
    pub reach: Reach,
    /// Of the stream's real SPS.
    pub profile_level_id: [u8; 3],
}

pub struct Negotiated {
    pub connection: RTCPeerConnection,
    pub sender: RTCRtpSenderId,
    pub track_id: String,
    pub answer: Answered,
}

pub struct Answered {
    pub sdp: String,
    /// Our ICE name: what the peer's checks are found by.
    pub ufrag: String,
}

/// Makes a connection of an offer.
pub fn first(
    now: Now,
    common: &Common,
    feedback: &Feedback,
    offer: String,
    terms: &Terms,
) -> Result<Negotiated, OfferError> {
    let profile = answer::choose_profile(&offer)?;
    let mut connection = build(now, common, feedback, profile).map_err(bad)?;
    let track = track(common.ssrc, profile);
    let track_id = track.track_id().to_string();
    let sender = connection.add_track(track).map_err(bad)?;
    let description = RTCSessionDescription::offer(offer).map_err(bad)?;
    connection.set_remote_description(now.instant, description).map_err(bad)?;
    let answer = answer_now(now, &mut connection, terms)?;
    Ok(Negotiated { connection, sender, track_id, answer })
}

/// Answers a later offer of the same peer. With new ICE credentials in it the core starts ICE anew, under new ones of
/// ours; DTLS, SRTP and the data channels go on.
pub fn again(
    now: Now,
    connection: &mut RTCPeerConnection,
    offer: String,
    terms: &Terms,
) -> Result<Answered, OfferError> {
    answer::choose_profile(&offer)?;
    let description = RTCSessionDescription::offer(offer).map_err(bad)?;
    connection.set_remote_description(now.instant, description).map_err(bad)?;
    answer_now(now, connection, terms)
}

fn answer_now(now: Now, connection: &mut RTCPeerConnection, terms: &Terms) -> Result<Answered, OfferError> {
    for candidate in terms.reach.own_candidates() {
        let candidate = RTCIceCandidateInit { candidate, ..RTCIceCandidateInit::default() };
        connection.add_local_candidate(candidate).map_err(bad)?;
    }
    connection.add_local_candidate(RTCIceCandidateInit::default()).map_err(bad)?;
    let answer = connection.create_answer(None).map_err(bad)?;
    connection.set_local_description(now.instant, answer).map_err(bad)?;
    let sdp = connection.local_description().map(|d| d.sdp).unwrap_or_default();
    let ufrag = answer::ice_ufrag(&sdp).unwrap_or_default().to_owned();
    if !answer::sends_video(&sdp) || ufrag.is_empty() {
        return Err(OfferError::NoH264);
    }
    let sdp = answer::with_candidates(&sdp, &terms.reach.outside_candidates());
    Ok(Answered { sdp: answer::state_real_level(&sdp, terms.profile_level_id), ufrag })
}

fn bad(error: rtc::shared::error::Error) -> OfferError {
    OfferError::BadOffer(error.to_string())
}

fn build(
    now: Now,
    common: &Common,
    feedback: &Feedback,
    profile: &str,
) -> rtc::shared::error::Result<RTCPeerConnection> {
    let registry = Registry::new()
        .with(Slot::NackResponder, NackResponderBuilder::new().with_size(RESEND_PACKETS).build())
        .with(Slot::SenderReport, SenderReportBuilder::new().build())
        // nearest to the wire: sees what really goes out and all that comes in
        .with(Slot::from(500), feedback.interceptor(common.ssrc));
    // ICE credentials are the core's own, drawn anew at each restart; fixed ones would stay the same then
    let settings = SettingEngineBuilder::new()
        .with_include_loopback_candidate(true)
        // joining the mDNS group fails on machines without a multicast route, and we never resolve peers' names
        .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
        .with_host_acceptance_min_wait(Some(Duration::ZERO))
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_ice_timeouts(Some(ICE_DISCONNECTED), Some(ICE_FAILED), Some(ICE_KEEPALIVE))
        .with_ice_connection_attempts(None, Some(ICE_CHECKS))
        // the browser starts DTLS as soon as its check succeeded; being the client ourselves costs a lost ClientHello
        .with_answering_dtls_role(RTCDtlsRole::Server)
        .with_sctp_max_receive_buffer_size(UNREAD_BYTES)
        .with_srtp_protection_profiles(common.srtp.iter().copied().map(in_dtls).collect())
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
