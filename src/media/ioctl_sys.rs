//! Device nodes and their calls (ioctl), as cameras and encoders use them.
//!
//! Must never know what a call means: its number and its structure come from the caller.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::from_mut;

/// Opens a node so that no call waits for a picture.
pub fn open_node(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Calls again after a signal.
///
/// # Safety
/// `T` must be the structure the kernel defines for `request`; pointers in it must be valid for the kernel to use.
pub unsafe fn ioctl<T>(node: &File, request: u32, argument: &mut T) -> io::Result<()> {
    loop {
        // SAFETY: the fd is open, the argument is what `request` needs (contract of this function).
        let result = unsafe { libc::ioctl(node.as_raw_fd(), request as libc::Ioctl, from_mut(argument)) };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
