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

/// Gives back what was freed in small pieces: thirty viewers leave megabytes of them. Takes a few milliseconds; for
/// moments when nobody watches.
pub fn return_free_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: works on free memory only, under the allocator's locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
