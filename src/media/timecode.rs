//! TC40, the picture timecode: one row of 40 blocks of 16x16 pixels that says when a picture was taken, so that any
//! reader of the picture (a browser's canvas, a test) can measure latency without a side channel.
//!
//! Blocks 0..1 sync `1 0`; 2..33 unix milliseconds modulo 2^32, most significant bit first; 34..37 XOR of the eight
//! nibbles; 38..39 sync `0 1`. 1 is Y=235, 0 is Y=16; U=V=128 in the row. A reader averages the middle 8x8 pixels of
//! each block and compares with 128. Pure; input: the pattern source.

pub const BLOCK: usize = 16;
pub const BLOCKS: usize = 40;
pub const WIDTH: usize = BLOCK * BLOCKS;

fn bits(ms: u32) -> [bool; BLOCKS] {
    let check = (0..8).fold(0, |sum, nibble| sum ^ (ms >> (4 * nibble) & 15));
    std::array::from_fn(|block| match block {
        0 | 39 => true,
        1 | 38 => false,
        2..=33 => ms >> (33 - block) & 1 == 1,
        _ => check >> (37 - block) & 1 == 1,
    })
}

/// Draws the row at (0,0) of a luma plane whose rows are `stride` bytes apart. The plane must be at least
/// 640x16; smaller planes are left alone. Returns whether it was drawn.
pub fn draw(luma: &mut [u8], stride: usize, ms: u32) -> bool {
    if stride < WIDTH || luma.len() < stride * (BLOCK - 1) + WIDTH {
        return false;
    }
    let bits = bits(ms);
    for row in luma.chunks_mut(stride).take(BLOCK) {
        for (block, set) in row.chunks_mut(BLOCK).zip(bits) {
            block.fill(if set { 235 } else { 16 });
        }
    }
    true
}

/// Reads the row back; None when it is not there or damaged.
pub fn read(luma: &[u8], stride: usize) -> Option<u32> {
    if stride < WIDTH || luma.len() < stride * (BLOCK - 1) + WIDTH {
        return None;
    }
    let block_is_set = |block: usize| {
        let quarter = BLOCK / 4;
        let rows = quarter..BLOCK - quarter;
        let sum: u32 =
            rows.flat_map(|y| &luma[y * stride + block * BLOCK + quarter..][..BLOCK / 2]).map(|&v| u32::from(v)).sum();
        sum / 64 > 128
    };
    let found: [bool; BLOCKS] = std::array::from_fn(block_is_set);
    let ms = (2..34).fold(0, |value, block| value << 1 | u32::from(found[block]));
    (found == bits(ms)).then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stamp_reads_back_and_damage_is_noticed() {
        let mut luma = vec![90; 700 * 20];
        for ms in [0, 1, u32::MAX, 0x1234_5678, 1_700_000_000_000_u64 as u32] {
            assert!(draw(&mut luma, 700, ms));
            assert_eq!(read(&luma, 700), Some(ms));
        }
        luma[..700 * 16].chunks_mut(700).for_each(|row| row[320..336].iter_mut().for_each(|v| *v = 255 - *v));
        assert_eq!(read(&luma, 700), None);
    }

    #[test]
    fn a_plane_too_narrow_is_left_alone() {
        let mut luma = vec![90; 320 * 20];
        assert!(!draw(&mut luma, 320, 5));
        assert_eq!(read(&luma, 320), None);
        assert!(luma.iter().all(|&v| v == 90));
    }
}
