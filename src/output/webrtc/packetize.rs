//! One access unit to RTP payloads, once for all viewers (RFC 6184, packetization-mode 1).
//!
//! Owns the split: SPS, PPS and other small NAL units travel together (STAP-A), large ones in fragments (FU-A) that are
//! all equally long but the last, so that the kernel can segment one send (UDP_SEGMENT). Pure; must never copy a
//! picture more than once. Input: access units from the hub.

use crate::media::h264::{nal_type, nal_units};
use crate::media::packet::AccessUnit;
use crate::stream::hub::Item;
use crate::units::{Micros, Pts90k};
use bytes::{BufMut, Bytes, BytesMut};
use std::ops::Range;
use std::sync::Arc;

/// Longest RTP payload. With 12 bytes of header, 20 of extensions and 16 of SRTP tag over UDP and IPv6 it stays below
/// 1280 bytes, the least MTU of IPv6 (RFC 8200 section 5).
pub const MAX_PAYLOAD: usize = 1160;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// An access unit ready to be given RTP headers. All payloads share one allocation.
#[derive(Debug)]
pub struct PacketizedUnit {
    pub payloads: Vec<Bytes>,
    pub key: bool,
    pub pts: Pts90k,
    pub captured_at: Micros,
    pub bytes: usize,
}

impl Item for Arc<PacketizedUnit> {
    fn is_key(&self) -> bool {
        self.key
    }
    fn size(&self) -> usize {
        self.bytes
    }
}

pub fn packetize(unit: &AccessUnit) -> PacketizedUnit {
    let mut out = Payloads::with_capacity(unit.bytes.len());
    for nal in nal_units(&unit.bytes) {
        out.add(nal);
    }
    let (payloads, bytes) = out.finish();
    PacketizedUnit { payloads, key: unit.key, pts: unit.pts, captured_at: unit.captured_at, bytes }
}

struct Payloads {
    buffer: BytesMut,
    cuts: Vec<Range<usize>>,
    /// Where the aggregation packet being filled starts, and how many NAL units it holds.
    open: Option<(usize, usize)>,
}

impl Payloads {
    fn with_capacity(bytes: usize) -> Payloads {
        let packets = bytes / MAX_PAYLOAD + 4;
        Payloads { buffer: BytesMut::with_capacity(bytes + packets * 4), cuts: Vec::with_capacity(packets), open: None }
    }

    fn add(&mut self, nal: &[u8]) {
        // the length field of an aggregation unit is 16 bits; MAX_PAYLOAD is far below
        if nal.len() > MAX_PAYLOAD {
            self.close();
            return self.fragment(nal);
        }
        if self.open.is_some_and(|(start, _)| self.buffer.len() - start + 2 + nal.len() > MAX_PAYLOAD) {
            self.close();
        }
        let (start, count) = self.open.unwrap_or_else(|| {
            self.buffer.put_u8(STAP_A);
            (self.buffer.len() - 1, 0)
        });
        // F and NRI of the aggregate: OR and maximum over its units (RFC 6184 section 5.7)
        let header = self.buffer[start];
        let nri = (header & 0x60).max(nal[0] & 0x60);
        self.buffer[start] = STAP_A | (header | nal[0]) & 0x80 | nri;
        self.buffer.put_u16(nal.len() as u16);
        self.buffer.put_slice(nal);
        self.open = Some((start, count + 1));
    }

    /// Ends the aggregation packet; one holding a single unit becomes a single NAL unit packet.
    fn close(&mut self) {
        let Some((start, count)) = self.open.take() else { return };
        let header = if count == 1 { 3 } else { 0 };
        self.cuts.push(start + header..self.buffer.len());
    }

    fn fragment(&mut self, nal: &[u8]) {
        let indicator = nal[0] & 0xe0 | FU_A;
        let room = MAX_PAYLOAD - 2;
        let pieces = nal[1..].chunks(room);
        let last = pieces.len() - 1;
        for (at, piece) in pieces.enumerate() {
            let start = self.buffer.len();
            let edge = if at == 0 { FU_START } else { 0 } | if at == last { FU_END } else { 0 };
            self.buffer.put_u8(indicator);
            self.buffer.put_u8(edge | nal_type(nal));
            self.buffer.put_slice(piece);
            self.cuts.push(start..self.buffer.len());
        }
    }

    fn finish(mut self) -> (Vec<Bytes>, usize) {
        self.close();
        let all = self.buffer.freeze();
        (self.cuts.iter().map(|cut| all.slice(cut.clone())).collect(), all.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::h264::{NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS};

    fn unit(nals: &[&[u8]]) -> AccessUnit {
        let mut bytes = Vec::new();
        for nal in nals {
            bytes.extend_from_slice(&[0, 0, 0, 1]);
            bytes.extend_from_slice(nal);
        }
        AccessUnit { bytes, key: true, pts: Pts90k(9), captured_at: Micros(100), ..AccessUnit::default() }
    }

    /// The receiving side of RFC 6184, written from the text, not from the code above.
    fn reassemble(payloads: &[Bytes]) -> Vec<Vec<u8>> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            match payload[0] & 31 {
                STAP_A => {
                    let mut rest = &payload[1..];
                    while !rest.is_empty() {
                        let len = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                        nals.push(rest[2..2 + len].to_vec());
                        rest = &rest[2 + len..];
                    }
                }
                FU_A => {
                    if payload[1] & FU_START != 0 {
                        nals.push(vec![payload[0] & 0xe0 | payload[1] & 31]);
                    }
                    nals.last_mut().expect("a start came first").extend_from_slice(&payload[2..]);
                }
                _ => nals.push(payload.to_vec()),
            }
        }
        nals
    }

    fn nal(kind: u8, len: usize) -> Vec<u8> {
        // no zero bytes: those could look like a start code or be trimmed as trailing zeros
        (0..len).map(|i| if i == 0 { 0x60 | kind } else { (i % 250 + 1) as u8 }).collect()
    }

    #[test]
    fn a_key_picture_is_parameter_sets_in_one_packet_then_equal_fragments() {
        let (sps, pps, idr) = (nal(NAL_SPS, 20), nal(NAL_PPS, 5), nal(NAL_IDR, 5000));
        let packets = packetize(&unit(&[&sps, &pps, &idr]));
        assert!(packets.key);
        assert_eq!(reassemble(&packets.payloads), [sps, pps, idr]);
        let lengths: Vec<usize> = packets.payloads.iter().map(Bytes::len).collect();
        assert_eq!(lengths[0], 1 + 2 + 20 + 2 + 5);
        let (last, equal) = lengths[1..].split_last().expect("there are fragments");
        assert!(equal.iter().all(|&l| l == MAX_PAYLOAD) && *last <= MAX_PAYLOAD, "{lengths:?}");
    }

    #[test]
    fn a_small_slice_travels_alone_without_an_aggregation_header() {
        let slice = nal(NAL_SLICE, 600);
        assert_eq!(packetize(&unit(&[&slice])).payloads, [Bytes::from(slice)]);
    }

    #[test]
    fn every_length_around_the_limit_comes_back_whole() {
        for len in (1..40).chain(MAX_PAYLOAD - 8..MAX_PAYLOAD + 8).chain(2 * MAX_PAYLOAD - 8..2 * MAX_PAYLOAD + 8) {
            let nals = [nal(NAL_SPS, 9), nal(NAL_SLICE, len), nal(NAL_SLICE, len / 2 + 1), nal(NAL_SLICE, 30)];
            let packets = packetize(&unit(&[&nals[0], &nals[1], &nals[2], &nals[3]]));
            assert_eq!(reassemble(&packets.payloads), nals, "slice of {len}");
            assert!(packets.payloads.iter().all(|p| !p.is_empty() && p.len() <= MAX_PAYLOAD), "slice of {len}");
        }
    }

    #[test]
    fn an_empty_unit_gives_no_packets() {
        assert!(packetize(&AccessUnit::default()).payloads.is_empty());
    }
}
