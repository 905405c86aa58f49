//! How much a viewer may ask to be sent again (RTCP NACK, RFC 4585 section 6.2.1).
//!
//! A datagram of requests names up to 6,000 packets, each of which may be asked for again at once: five thousand times its
//! own size. So every packet sent allows one to be sent again, saved up over some seconds. Pure. Input: requests of a
//! peer, trusted in nothing.

use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

/// Saved up at most: all that can be sent again, four times.
const MOST: u32 = 1024;

#[derive(Default)]
pub struct ResendLimit {
    left: u32,
}

impl ResendLimit {
    /// A packet went out for the first time.
    pub fn sent(&mut self) {
        self.left = (self.left + 1).min(MOST);
    }

    /// What of a request counts, from its start. None: nothing.
    pub fn allowed(&mut self, request: &TransportLayerNack) -> Option<TransportLayerNack> {
        let nacks: Vec<NackPair> = request.nacks.iter().map_while(|pair| self.allowed_of_pair(*pair)).collect();
        (!nacks.is_empty()).then_some(TransportLayerNack { nacks, ..*request })
    }

    fn allowed_of_pair(&mut self, mut pair: NackPair) -> Option<NackPair> {
        self.left = self.left.checked_sub(1)?;
        while pair.lost_packets.count_ones() > self.left {
            pair.lost_packets &= pair.lost_packets - 1;
        }
        self.left -= pair.lost_packets.count_ones();
        Some(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(pairs: usize, lost_packets: u16) -> TransportLayerNack {
        let nacks = vec![NackPair { packet_id: 7, lost_packets }; pairs];
        TransportLayerNack { sender_ssrc: 1, media_ssrc: 2, nacks }
    }

    fn asked(request: Option<TransportLayerNack>) -> usize {
        request.map_or(0, |request| request.nacks.iter().map(|pair| pair.packet_list().len()).sum())
    }

    #[test]
    fn what_browsers_ask_for_passes_as_it_is() {
        let mut limit = ResendLimit::default();
        (0..100).for_each(|_| limit.sent());
        let lost = request(2, 0b101);
        assert_eq!(limit.allowed(&lost), Some(lost));
    }

    #[test]
    fn nobody_is_sent_more_again_than_was_sent() {
        let mut limit = ResendLimit::default();
        assert_eq!(limit.allowed(&request(1, 0)), None, "nothing was sent");
        (0..20).for_each(|_| limit.sent());
        assert_eq!(asked(limit.allowed(&request(360, 0xffff))), 20);
        assert_eq!(limit.allowed(&request(360, 0xffff)), None);
        (0..100_000).for_each(|_| limit.sent());
        let many: usize = (0..10).map(|_| asked(limit.allowed(&request(360, 0xffff)))).sum();
        assert_eq!(many, MOST as usize, "what is saved up has an end");
    }
}
