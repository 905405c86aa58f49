//! One viewer's video track: a picture's payloads, cut once for all viewers, become this viewer's RTP packets.
//!
//! Owns what of a packet belongs to the viewer: payload type, sequence number, header extensions. Must never touch a
//! payload or the connection. Input: what was negotiated, and packetized pictures.

use crate::output::webrtc::negotiation::{CAPTURE_TIME_URI, Common, PLAYOUT_DELAY_URI};
use crate::output::webrtc::packetize::PacketizedUnit;
use crate::units::Micros;
use bytes::{BufMut, Bytes, BytesMut};
use rtc::peer_connection::configuration::media_engine::MIME_TYPE_H264;
use rtc::rtp::Packet;
use rtc::rtp::header::Header;
use rtc::rtp_transceiver::rtp_sender::RTCRtpParameters;

pub struct VideoTrack {
    ssrc: u32,
    playout_delay: Bytes,
    next_sequence: u16,
    stream: Option<StreamParameters>,
}

/// What was negotiated.
#[derive(Clone, Copy, Debug)]
struct StreamParameters {
    payload_type: u8,
    playout_delay_id: Option<u8>,
    capture_time_id: Option<u8>,
}

impl VideoTrack {
    pub fn new(common: &Common) -> VideoTrack {
        let playout_delay = Bytes::copy_from_slice(&common.playout_delay);
        VideoTrack { ssrc: common.ssrc, playout_delay, next_sequence: 0, stream: None }
    }

    /// Takes what was negotiated. False: there is no H.264 in it.
    pub fn negotiated(&mut self, parameters: &RTCRtpParameters) -> bool {
        let extension = |uri: &str| {
            parameters.header_extensions.iter().find(|e| e.uri == uri).and_then(|e| u8::try_from(e.id).ok())
        };
        let codec = parameters.codecs.iter().find(|c| c.rtp_codec.mime_type.eq_ignore_ascii_case(MIME_TYPE_H264));
        self.stream = codec.map(|codec| StreamParameters {
            payload_type: codec.payload_type,
            playout_delay_id: extension(PLAYOUT_DELAY_URI),
            capture_time_id: extension(CAPTURE_TIME_URI),
        });
        self.stream.is_some()
    }

    /// The packet of a picture's payload `at`; None before `negotiated`. `capture_time`: the picture's, see `ntp_time`.
    pub fn packet(&mut self, unit: &PacketizedUnit, at: usize, capture_time: &Bytes) -> Option<Packet> {
        let stream = self.stream?;
        let payload = unit.payloads.get(at)?.clone();
        let mut header = Header {
            version: 2,
            marker: at + 1 == unit.payloads.len(),
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
        Some(Packet { header, payload })
    }
}

/// A capture instant as NTP time in 32.32 bits: the abs-capture-time extension. `wall_offset_us`: monotonic zero on the
/// wall clock.
pub fn ntp_time(captured_at: Micros, wall_offset_us: i64) -> Bytes {
    const UNIX_TO_NTP_S: u64 = 2_208_988_800;
    let unix_us = captured_at.0.saturating_add_signed(wall_offset_us);
    let seconds = (unix_us / 1_000_000).wrapping_add(UNIX_TO_NTP_S) & 0xffff_ffff;
    let fraction = ((unix_us % 1_000_000) << 32) / 1_000_000;
    let mut bytes = BytesMut::with_capacity(8);
    bytes.put_u64(seconds << 32 | fraction);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Pts90k;
    use rtc::rtp_transceiver::rtp_sender::{RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters};

    fn track() -> VideoTrack {
        VideoTrack { ssrc: 7, playout_delay: Bytes::from_static(&[0, 1, 2]), next_sequence: u16::MAX, stream: None }
    }

    fn picture(payloads: &[&'static [u8]]) -> PacketizedUnit {
        let payloads = payloads.iter().map(|bytes| Bytes::from_static(bytes)).collect();
        PacketizedUnit { payloads, key: true, pts: Pts90k(90), captured_at: Micros(0), bytes: 0 }
    }

    fn agreed(mime_type: &str) -> RTCRtpParameters {
        let rtp_codec = RTCRtpCodec { mime_type: mime_type.into(), ..RTCRtpCodec::default() };
        let extension = |uri: &str, id| RTCRtpHeaderExtensionParameters { uri: uri.into(), id, encrypted: false };
        RTCRtpParameters {
            codecs: vec![RTCRtpCodecParameters { rtp_codec, payload_type: 96 }],
            header_extensions: vec![extension(CAPTURE_TIME_URI, 3)],
            ..RTCRtpParameters::default()
        }
    }

    #[test]
    fn packets_have_what_was_negotiated_and_the_last_of_a_picture_its_marker() {
        let (mut track, unit, time) = (track(), picture(&[b"a", b"b"]), Bytes::from_static(&[9; 8]));
        assert!(track.packet(&unit, 0, &time).is_none(), "nothing is negotiated yet");
        assert!(!track.negotiated(&agreed("video/VP8")) && track.negotiated(&agreed("video/h264")));
        let packets: Vec<Packet> = (0..3).filter_map(|at| track.packet(&unit, at, &time)).collect();
        let heads: Vec<(u16, bool)> = packets.iter().map(|p| (p.header.sequence_number, p.header.marker)).collect();
        assert_eq!(heads, [(u16::MAX, false), (0, true)]);
        for packet in &packets {
            let header = &packet.header;
            assert_eq!((header.payload_type, header.ssrc, header.timestamp), (96, 7, 90));
            assert_eq!((header.get_extension_ids(), header.get_extension(3)), (vec![3], Some(time.clone())));
        }
    }

    #[test]
    fn capture_time_counts_from_1900_in_binary_fractions() {
        // half a second after the unix epoch
        let bytes = ntp_time(Micros(1_500_000), -1_000_000);
        assert_eq!(bytes[..], [0x83, 0xaa, 0x7e, 0x80, 0x80, 0, 0, 0]);
    }
}
