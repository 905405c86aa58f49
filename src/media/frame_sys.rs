//! Driver memory seen as planes: the only place where a raw mapping becomes a slice of pixels.
//!
//! Owns the pointers of one lent buffer and tells its home when it is dropped. Must never outlive the mapping: the
//! home is kept alive by the lease. Input: `capture/v4l2_sys.rs`.

use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::Arc;

/// Where a buffer goes when its frame is dropped. Called from any thread; must not block.
pub trait BufferHome: Send + Sync {
    fn give_back(&self, index: u32);
}

/// Where a region lies in an exported buffer (VIDIOC_EXPBUF). The descriptor is open as long as the lease's home lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dmabuf {
    pub fd: RawFd,
    /// Bytes from the buffer's start to the region's.
    pub offset: u32,
}

/// One region of mapped memory.
#[derive(Clone, Copy)]
pub struct MappedRegion {
    pub start: NonNull<u8>,
    pub len: usize,
    pub dmabuf: Option<Dmabuf>,
}

/// Up to three disjoint regions of one driver buffer, lent until drop.
pub struct MappedPlanes {
    regions: [Option<MappedRegion>; 3],
    index: u32,
    home: Arc<dyn BufferHome>,
}

// SAFETY: the regions are plain memory owned by this lease alone (contract of `new`); `home` is Send + Sync.
unsafe impl Send for MappedPlanes {}

impl MappedPlanes {
    /// # Safety
    /// The regions must be disjoint, readable and writable, stay mapped while `home` lives, and belong to nobody else
    /// (neither the driver nor another lease) until `home.give_back(index)` was called.
    pub unsafe fn new(regions: [Option<MappedRegion>; 3], index: u32, home: Arc<dyn BufferHome>) -> MappedPlanes {
        MappedPlanes { regions, index, home }
    }

    /// Bytes of a plane; 0 when there is none.
    pub fn len(&self, plane: usize) -> usize {
        self.regions[plane].map_or(0, |r| r.len)
    }

    pub fn dmabuf(&self, plane: usize) -> Option<Dmabuf> {
        self.regions[plane].and_then(|r| r.dmabuf)
    }

    pub fn home(&self) -> &Arc<dyn BufferHome> {
        &self.home
    }

    pub fn slices(&self) -> [&[u8]; 3] {
        self.regions.map(|region| match region {
            // SAFETY: mapped and exclusively ours (contract of `new`); the borrow of self bounds the lifetime.
            Some(r) => unsafe { std::slice::from_raw_parts(r.start.as_ptr(), r.len) },
            None => &[],
        })
    }

    pub fn slices_mut(&mut self) -> [&mut [u8]; 3] {
        self.regions.map(|region| match region {
            // SAFETY: as above, and disjoint, and borrowed mutably.
            Some(r) => unsafe { std::slice::from_raw_parts_mut(r.start.as_ptr(), r.len) },
            None => &mut [],
        })
    }
}

impl Drop for MappedPlanes {
    fn drop(&mut self) {
        self.home.give_back(self.index);
    }
}
