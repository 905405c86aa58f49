//! H.264 byte stream facts that rtcam needs (Rec. ITU-T H.264, RFC 6184): NAL boundaries and types, SPS fields.
//!
//! Pure and total: any bytes give an answer, never a panic. Input: our encoders, and hostile bytes in tests.

use crate::units::{FrameRate, Size};

/// NAL unit types (H.264 table 7-1).
pub const NAL_SLICE: u8 = 1;
pub const NAL_IDR: u8 = 5;
pub const NAL_SEI: u8 = 6;
pub const NAL_SPS: u8 = 7;
pub const NAL_PPS: u8 = 8;

pub fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |first| first & 31)
}

/// The NAL units of an Annex B stream, without start codes and trailing zero bytes. Empty units are skipped.
pub fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    NalUnits { stream, at: after_start_code(stream, 0) }.filter(|nal| !nal.is_empty())
}

struct NalUnits<'a> {
    stream: &'a [u8],
    at: Option<usize>,
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.at?;
        self.at = after_start_code(self.stream, start);
        let mut end = self.at.map_or(self.stream.len(), |next| next - 3);
        while end > start && self.stream[end - 1] == 0 {
            end -= 1;
        }
        Some(&self.stream[start..end])
    }
}

/// Index just after the next 00 00 01 at or after `from`.
fn after_start_code(stream: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at + 3 <= stream.len() {
        // step by the third byte: most positions cannot end a start code
        match stream[at + 2] {
            1 if stream[at] == 0 && stream[at + 1] == 0 => return Some(at + 3),
            0 => at += 1,
            _ => at += 3,
        }
    }
    None
}

/// level_idc, luma macroblocks per second and per picture (H.264 table A-1).
const LEVELS: [(u8, u64, u64); 9] = [
    (30, 40_500, 1_620),
    (31, 108_000, 3_600),
    (32, 216_000, 5_120),
    (40, 245_760, 8_192),
    (42, 522_240, 8_704),
    (50, 589_824, 22_080),
    (51, 983_040, 36_864),
    (52, 2_073_600, 36_864),
    (62, 16_711_680, 139_264),
];

/// The lowest level, from 3 on, that allows such pictures.
pub fn level_for(size: Size, rate: FrameRate) -> u8 {
    let blocks = u64::from(size.width.div_ceil(16)) * u64::from(size.height.div_ceil(16));
    let per_second = (blocks as f64 * rate.as_f64()).ceil() as u64;
    let fits = |(_, speed, picture): &&(u8, u64, u64)| per_second <= *speed && blocks <= *picture;
    LEVELS.iter().find(fits).map_or(62, |(level, ..)| *level)
}

/// profile_idc, constraint flags and level_idc of an SPS NAL unit: the three bytes SDP calls profile-level-id
/// (RFC 6184 section 8.1).
pub fn profile_level_id(sps: &[u8]) -> Option<[u8; 3]> {
    (nal_type(sps) == NAL_SPS && sps.len() >= 4).then(|| [sps[1], sps[2], sps[3]])
}

/// Sets constraint_set2_flag in a Constrained Baseline SPS (profile_idc 66 with constraint_set1_flag), in place.
///
/// Such a stream also conforms to the Extended profile (H.264 A.2.3), so the flag is true; and browsers offer
/// `42e0xx`, which some compare byte by byte with what the SPS says.
pub fn declare_constrained_baseline(access_unit: &mut [u8]) {
    let mut from = 0;
    while let Some(start) = after_start_code(access_unit, from) {
        if let Some([first, 66, flags, ..]) = access_unit.get_mut(start..)
            && *first & 31 == NAL_SPS
            && *flags & 0x40 != 0
        {
            *flags |= 0x20;
        }
        from = start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    #[test]
    fn splits_three_and_four_byte_start_codes_and_trailing_zeros() {
        let stream = [0, 0, 0, 1, 0x67, 66, 0xc0, 30, 0, 0, 1, 0x68, 1, 0, 0, 0, 1, 0x65, 9, 9];
        let nals: Vec<_> = nal_units(&stream).collect();
        assert_eq!(nals, [&[0x67, 66, 0xc0, 30][..], &[0x68, 1], &[0x65, 9, 9]]);
        assert_eq!(nals.iter().map(|n| nal_type(n)).collect::<Vec<_>>(), [NAL_SPS, NAL_PPS, NAL_IDR]);
    }

    #[test]
    fn any_bytes_give_an_answer() {
        let mut dice = Dice::new(1);
        for len in 0..400 {
            let bytes: Vec<u8> = (0..len).map(|_| dice.byte() & 3).collect();
            let total: usize = nal_units(&bytes).map(<[u8]>::len).sum();
            assert!(total <= len);
            declare_constrained_baseline(&mut bytes.clone());
        }
    }

    #[test]
    fn the_level_is_the_lowest_that_allows_the_pictures() {
        let level = |width, height, fps| level_for(Size { width, height }, FrameRate::per_second(fps));
        assert_eq!((level(640, 480, 30), level(1280, 720, 30), level(1920, 1080, 30)), (30, 31, 40));
        assert_eq!((level(1280, 720, 60), level(1920, 1080, 60), level(3840, 2160, 30)), (32, 42, 51));
        assert_eq!(level(u32::MAX, u32::MAX, 240), 62);
    }

    #[test]
    fn the_sps_says_what_browsers_offer() {
        let mut unit = [0, 0, 0, 1, 0x67, 66, 0xc0, 31, 5, 0, 0, 0, 1, 0x68, 66, 0xc0];
        declare_constrained_baseline(&mut unit);
        let sps = nal_units(&unit).next().expect("there is an SPS");
        assert_eq!(profile_level_id(sps), Some([66, 0xe0, 31]));
        assert_eq!(unit[15], 0xc0, "only the SPS changes");
    }
}
