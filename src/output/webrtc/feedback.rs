//! What viewers report back, seen next to the wire: key requests (PLI, FIR), receiver reports, resent packets.
//!
//! An interceptor of the WebRTC core that looks and counts, and takes out requests to send again beyond what a viewer may
//! ask for; it must never change or hold anything else. The counters are read by the loop that drives the viewer.

use crate::output::webrtc::resend_limit::ResendLimit;
use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp::packet::Packet as RtcpPacket;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counters since the viewer joined.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub key_requests: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub packets_resent: u64,
    /// RTCP packets received: a sign of life beyond ICE.
    pub reports: u64,
    /// 0.0..=1.0, from the last receiver report.
    pub loss: f64,
    pub round_trip: Option<Duration>,
}

/// Shared between the interceptor inside the peer connection and the loop outside.
#[derive(Clone, Default)]
pub struct Feedback(Arc<Mutex<Counters>>);

impl Feedback {
    pub fn counters(&self) -> Counters {
        *self.lock()
    }

    pub fn interceptor(&self, ssrc: u32) -> Watch {
        let (reads, writes) = (VecDeque::new(), VecDeque::new());
        Watch { feedback: self.clone(), ssrc, reads, writes, resends: ResendLimit::default(), last_report: None }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Watch {
    feedback: Feedback,
    /// Of the video stream; anything else going out as RTP is a retransmission (RFC 4588). Peers without RFC 4588 get
    /// theirs under this one, too.
    ssrc: u32,
    reads: VecDeque<TaggedPacket>,
    writes: VecDeque<TaggedPacket>,
    resends: ResendLimit,
    /// Middle 32 bits of the NTP time in our last sender report, and when it went out.
    last_report: Option<(u32, Instant)>,
}

impl Watch {
    fn limit_resends(&mut self, packets: &mut Vec<Box<dyn RtcpPacket>>) {
        packets.retain_mut(|packet| {
            let Some(request) = packet.as_any().downcast_ref::<TransportLayerNack>() else { return true };
            let allowed = self.resends.allowed(request);
            let is_any = allowed.is_some();
            if let Some(allowed) = allowed {
                *packet = Box::new(allowed);
            }
            is_any
        });
    }

    fn look_at_report(&self, counters: &mut Counters, report: &ReceptionReport, now: Instant) {
        if report.ssrc != self.ssrc {
            return;
        }
        counters.loss = f64::from(report.fraction_lost) / 256.0;
        if let Some((ntp, sent_at)) = self.last_report
            && ntp == report.last_sender_report
        {
            // RFC 3550 section 6.4.1: DLSR in units of 1/65536 s
            let held = Duration::from_micros(u64::from(report.delay) * 1_000_000 / 65536);
            counters.round_trip = now.checked_duration_since(sent_at).and_then(|span| span.checked_sub(held));
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Watch {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut tagged: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &mut tagged.message.packet {
            self.limit_resends(packets);
            let mut counters = self.feedback.lock();
            counters.reports += 1;
            for packet in packets.iter() {
                let packet = packet.as_any();
                if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
                    counters.key_requests += 1;
                } else if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
                    report.reports.iter().for_each(|r| self.look_at_report(&mut counters, r, tagged.now));
                }
            }
        }
        self.reads.push_back(tagged);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.reads.pop_front()
    }

    fn handle_write(&mut self, tagged: TaggedPacket) -> Result<(), Error> {
        let again = tagged.message.has(&Attribute::Retransmission);
        match &tagged.message.packet {
            Packet::Rtp(packet) => {
                let mut counters = self.feedback.lock();
                counters.packets_sent += 1;
                counters.bytes_sent += packet.payload.len() as u64;
                if again || packet.header.ssrc != self.ssrc {
                    counters.packets_resent += 1;
                } else {
                    self.resends.sent();
                }
            }
            Packet::Rtcp(packets) => {
                for packet in packets {
                    if let Some(report) = packet.as_any().downcast_ref::<SenderReport>() {
                        self.last_report = Some(((report.ntp_time >> 16) as u32, tagged.now));
                    }
                }
            }
            _ => {}
        }
        self.writes.push_back(tagged);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.writes.pop_front()
    }
}

impl Interceptor for Watch {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;
    use rtc::interceptor::AttributedPacket;
    use rtc::rtcp::transport_feedbacks::transport_layer_nack::NackPair;
    use rtc::shared::TransportContext;

    const SSRC: u32 = 7;

    fn tagged(now: Instant, packet: Packet) -> TaggedPacket {
        TaggedPacket { now, transport: TransportContext::default(), message: AttributedPacket::new(packet) }
    }

    #[test]
    fn a_receiver_report_gives_loss_and_round_trip() {
        let feedback = Feedback::default();
        let mut watch = feedback.interceptor(SSRC);
        let sent = Instant::now();
        let report = SenderReport { ssrc: SSRC, ntp_time: 0x1111_2222_3333_4444, ..SenderReport::default() };
        watch.handle_write(tagged(sent, Packet::Rtcp(vec![Box::new(report)]))).expect("looking never fails");
        let reception = ReceptionReport {
            ssrc: SSRC,
            fraction_lost: 64,
            last_sender_report: 0x2222_3333,
            delay: 65536 / 2,
            ..ReceptionReport::default()
        };
        let answer = ReceiverReport { reports: vec![reception], ..ReceiverReport::default() };
        let back = sent + Duration::from_millis(530);
        watch.handle_read(tagged(back, Packet::Rtcp(vec![Box::new(answer)]))).expect("looking never fails");
        let counters = feedback.counters();
        assert_eq!((counters.loss, counters.round_trip), (0.25, Some(Duration::from_millis(30))));
        assert!(watch.poll_read().is_some() && watch.poll_write().is_some(), "both packets go on");
    }

    #[test]
    fn a_picture_loss_indication_is_a_key_request_and_other_ssrcs_are_retransmissions() {
        let feedback = Feedback::default();
        let mut watch = feedback.interceptor(SSRC);
        let now = Instant::now();
        watch.handle_read(tagged(now, Packet::Rtcp(vec![Box::new(PictureLossIndication::default())]))).expect("ok");
        for ssrc in [SSRC, SSRC + 1] {
            let mut packet = rtc::rtp::Packet::default();
            packet.header.ssrc = ssrc;
            watch.handle_write(tagged(now, Packet::Rtp(packet))).expect("ok");
        }
        let counters = feedback.counters();
        assert_eq!((counters.key_requests, counters.packets_sent, counters.packets_resent), (1, 2, 1));
    }

    #[test]
    fn of_requests_to_send_again_only_as_many_go_on_as_packets_were_sent() {
        let mut watch = Feedback::default().interceptor(SSRC);
        let now = Instant::now();
        let mut packet = rtc::rtp::Packet::default();
        packet.header.ssrc = SSRC;
        watch.handle_write(tagged(now, Packet::Rtp(packet))).expect("ok");
        let pair = NackPair { packet_id: 1, lost_packets: 3 };
        let request = TransportLayerNack { sender_ssrc: 1, media_ssrc: SSRC, nacks: vec![pair; 300] };
        let loss = PictureLossIndication::default();
        for wanted in [vec![1], vec![]] {
            let both: Vec<Box<dyn RtcpPacket>> = vec![Box::new(request.clone()), Box::new(loss.clone())];
            watch.handle_read(tagged(now, Packet::Rtcp(both))).expect("ok");
            let Some(Packet::Rtcp(on)) = watch.poll_read().map(|tagged| tagged.message.packet) else { panic!("RTCP") };
            let requests = on.iter().filter_map(|packet| packet.as_any().downcast_ref::<TransportLayerNack>());
            let asked: Vec<u16> =
                requests.flat_map(|request| request.nacks.iter().flat_map(NackPair::packet_list)).collect();
            assert_eq!(asked, wanted);
            assert!(on.iter().any(|packet| packet.as_any().is::<PictureLossIndication>()), "the rest goes on");
        }
    }
}
