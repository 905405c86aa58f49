//! What the C library does with memory that was freed: gives it back to the system.
//!
//! glibc raises its thresholds each time a big block is freed (mallopt(3), "dynamic mmap threshold"). Encoders and
//! viewers come and go with big blocks, and after a busy hour it would keep ten megabytes that nobody uses. Setting a
//! threshold once ends that. Must be called before anything big is allocated; other C libraries have no such habit.

/// glibc's own value before it starts to raise it.
#[cfg(target_env = "gnu")]
const TRIM_ABOVE_BYTES: libc::c_int = 128 * 1024;

#[cfg(target_env = "gnu")]
pub fn give_back_freed_memory() {
    // SAFETY: mallopt takes two numbers and may be called at any time, from any thread.
    let taken = unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_ABOVE_BYTES) };
    if taken == 0 {
        tracing::debug!("memory: the C library does not take a trim threshold; it may keep more than is used");
    }
}

#[cfg(not(target_env = "gnu"))]
pub fn give_back_freed_memory() {}
