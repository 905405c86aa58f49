//! Memory of a driver mapped into ours, as long as somebody holds it.
//!
//! Owns the address range, nothing in it: who reads or writes there must know that the driver does not. Input: the
//! descriptor of a device, a length and an offset that the driver gave.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// Memory of a driver (or of a test), mapped read and write until dropped.
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a Mapping is an address range; it lets nobody read it except through unsafe code.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub fn new(fd: BorrowedFd, len: usize, offset: u64) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory; mmap64 because
        // off_t has 32 bits on 32-bit targets.
        let start = unsafe {
            libc::mmap64(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset as libc::off64_t,
            )
        };
        match NonNull::new(start.cast::<u8>()) {
            _ if start == libc::MAP_FAILED => Err(io::Error::last_os_error()),
            Some(start) => Ok(Mapping { start, len }),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }

    /// Who makes references from it keeps the mapping as long as them.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that mmap gave; nobody holds a reference into it (contract of
        // `start`).
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
