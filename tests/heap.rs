//! Big blocks go back to the system when they are freed, whatever was freed before. A process of its own: other tests'
//! threads would be given the same place at once.
#![cfg(target_env = "gnu")]

use rtcam::heap_sys::return_big_blocks;

fn is_mapped(address: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
    let inside = |line: &str| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some((number(from)?..number(to)?).contains(&address))
    };
    maps.lines().any(|line| inside(line).unwrap_or(false))
}

/// An address inside a block that has just been freed.
fn freed_block(bytes: usize) -> usize {
    let block = std::hint::black_box(vec![1u8; bytes]);
    block.as_ptr() as usize + bytes / 2
}

#[test]
fn a_big_block_is_gone_when_freed_also_after_bigger_ones() {
    return_big_blocks();
    // this is what glibc would learn from, and then keep the next ones
    freed_block(16 << 20);
    let gone = (0..20).any(|_| !is_mapped(freed_block(1 << 20)));
    assert!(gone, "the heap keeps big blocks");
}
