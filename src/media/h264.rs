//! H.264 byte stream facts that rtcam needs (Rec. ITU-T H.264, RFC 6184): NAL boundaries and types, SPS fields.
//!
//! Pure and total: any bytes give an answer, never a panic. Input: our encoders, and hostile bytes in tests.

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

    #[test]
    fn splits_three_and_four_byte_start_codes_and_trailing_zeros() {
        let stream = [0, 0, 0, 1, 0x67, 66, 0xc0, 30, 0, 0, 1, 0x68, 1, 0, 0, 0, 1, 0x65, 9, 9];
        let nals: Vec<_> = nal_units(&stream).collect();
        assert_eq!(nals, [&[0x67, 66, 0xc0, 30][..], &[0x68, 1], &[0x65, 9, 9]]);
        assert_eq!(nals.iter().map(|n| nal_type(n)).collect::<Vec<_>>(), [NAL_SPS, NAL_PPS, NAL_IDR]);
    }

    #[test]
    fn any_bytes_give_an_answer() {
        let mut seed = 1u32;
        for len in 0..400 {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
                    (seed >> 24) as u8 & 3
                })
                .collect();
            let total: usize = nal_units(&bytes).map(<[u8]>::len).sum();
            assert!(total <= len);
            declare_constrained_baseline(&mut bytes.clone());
        }
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
