//! How the C library's heap treats big blocks.
//!
//! An encoder is opened when somebody watches and closed when nobody does: some megabytes each time, in blocks of some
//! hundred kilobytes. By itself glibc learns from the first such block freed to keep the next ones, for ever and in
//! pieces: ten viewers coming and going cost 8 MB that never came back. Must be called before the threads start.

/// Blocks from this size on are the kernel's again as soon as they are freed. glibc's own start value.
#[cfg(target_env = "gnu")]
const BIG_BLOCK: libc::c_int = 128 * 1024;

/// Other C libraries (musl) do this by themselves.
pub fn return_big_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number inside the allocator, under its lock; a value it refuses changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, BIG_BLOCK);
    }
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    fn is_mapped(address: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
        let inside = |line: &str| {
            let (from, to) = line.split_once(' ')?.0.split_once('-')?;
            let number = |text| usize::from_str_radix(text, 16).ok();
            Some((number(from)?..number(to)?).contains(&address))
        };
        maps.lines().any(|line| inside(line).unwrap_or(false))
    }

    fn freed_block(bytes: usize) -> usize {
        let block = std::hint::black_box(vec![1u8; bytes]);
        block.as_ptr() as usize + bytes / 2
    }

    #[test]
    fn a_big_block_is_gone_when_freed_also_after_bigger_ones() {
        return_big_blocks();
        // this is what glibc would learn from
        freed_block(16 << 20);
        // another test's thread may be given the same place at once
        let gone = (0..20).any(|_| !is_mapped(freed_block(1 << 20)));
        assert!(gone, "the heap keeps big blocks");
    }
}
