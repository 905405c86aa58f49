//! The buffer queue of one streaming device: who owns which buffer, and mapped memory lent as pictures.
//!
//! Owns the mappings and exported dmabufs; they live until the last lease is gone, also when the device was closed
//! long before. A buffer belongs to the driver, to us (`Taken`) or to one lease, and the driver's word alone never
//! changes that. A mapping also keeps the driver's queue claimed (kernels before 5.0 cannot free buffers in use): who
//! re-opens a camera drops its old pictures first. Input: a `Device`; leases dropped on any thread.

use crate::capture::v4l2_device::{BufferKind, Dequeued, Device, MAX_PLANES};
use crate::media::frame_sys::{BufferHome, Dmabuf, MappedPlanes, MappedRegion};
use crate::media::mapping_sys::Mapping;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const DRIVER: u8 = 0;
const OURS: u8 = 1;
const LENT: u8 = 2;

/// A driver may grant more than was asked, within reason.
const MOST_BUFFERS: u32 = 32;

/// Part of one memory plane that holds one picture plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub memory_plane: usize,
    pub start: usize,
    pub len: usize,
}

/// Dropping it stops the stream and takes the device away from the leases still out.
pub struct Buffers {
    device: Arc<dyn Device>,
    shared: Arc<Shared>,
}

struct Shared {
    /// None once the stream was closed: leases then only keep memory.
    device: Mutex<Option<Arc<dyn Device>>>,
    kind: BufferKind,
    buffers: Vec<Buffer>,
    /// errno of a re-queue that failed on a lease's thread; 0 for none.
    requeue_errno: AtomicI32,
}

struct Buffer {
    owner: AtomicU8,
    planes: Vec<(Mapping, Option<OwnedFd>)>,
}

/// A filled buffer in our hands; dropping it gives it back to the driver.
pub struct Taken {
    /// None once it was lent.
    shared: Option<Arc<Shared>>,
    pub filled: Dequeued,
}

impl Buffers {
    /// Requests, maps and queues; does not start the stream.
    pub fn allocate(device: Arc<dyn Device>, kind: BufferKind, count: u32, planes: usize) -> io::Result<Buffers> {
        let granted = device.request_buffers(kind, count)?;
        let mapped = map_all(device.as_ref(), kind, granted, planes);
        let buffers = match mapped {
            Ok(buffers) => buffers,
            Err(cause) => {
                // what was mapped is unmapped by now; a driver that refuses this frees them at close
                let _ = device.request_buffers(kind, 0);
                return Err(cause);
            }
        };
        let shared =
            Shared { device: Mutex::new(Some(device.clone())), kind, buffers, requeue_errno: AtomicI32::new(0) };
        let queue = Buffers { device, shared: Arc::new(shared) };
        for index in 0..granted {
            queue.device.queue(kind, index)?;
        }
        Ok(queue)
    }

    pub fn start(&self) -> io::Result<()> {
        self.device.stream_on(self.shared.kind)
    }

    pub fn count(&self) -> usize {
        self.shared.buffers.len()
    }

    /// The next filled buffer; None when there is none.
    pub fn dequeue(&self) -> io::Result<Option<Taken>> {
        let filled = match self.device.dequeue(self.shared.kind) {
            Ok(filled) => filled,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(cause) => return Err(cause),
        };
        let owner = self.shared.buffers.get(filled.index as usize).map(|buffer| &buffer.owner);
        let was_drivers =
            |owner: &AtomicU8| owner.compare_exchange(DRIVER, OURS, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if owner.is_some_and(was_drivers) {
            return Ok(Some(Taken { shared: Some(self.shared.clone()), filled }));
        }
        let wrong = format!("the driver returned buffer {}, which it does not hold", filled.index);
        Err(io::Error::new(io::ErrorKind::InvalidData, wrong))
    }

    /// Buffers the driver can fill now.
    pub fn with_driver(&self) -> usize {
        self.shared.buffers.iter().filter(|buffer| buffer.owner.load(Ordering::Acquire) == DRIVER).count()
    }

    /// The first failed re-queue since the last call.
    pub fn requeue_failure(&self) -> Option<io::Error> {
        match self.shared.requeue_errno.swap(0, Ordering::AcqRel) {
            0 => None,
            errno => Some(io::Error::from_raw_os_error(errno)),
        }
    }
}

fn map_all(device: &dyn Device, kind: BufferKind, granted: u32, planes: usize) -> io::Result<Vec<Buffer>> {
    if granted == 0 || granted > MOST_BUFFERS || planes == 0 || planes > MAX_PLANES {
        let wrong = format!("the driver granted {granted} buffers of {planes} planes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
    }
    (0..granted).map(|index| map_one(device, kind, index, planes)).collect()
}

fn map_one(device: &dyn Device, kind: BufferKind, index: u32, planes: usize) -> io::Result<Buffer> {
    let memory = device.buffer_memory(kind, index, planes)?;
    let map = |plane: usize| {
        let mapping = device.map(memory[plane])?;
        // for hardware encoders only: a driver without EXPBUF is fine
        Ok((mapping, device.export(kind, index, plane).ok()))
    };
    let planes = (0..planes).map(map).collect::<io::Result<Vec<_>>>()?;
    Ok(Buffer { owner: AtomicU8::new(DRIVER), planes })
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // before the calls below: a lease dropped meanwhile must not wait for a driver that is slow to stop
        self.shared.device.lock().unwrap_or_else(PoisonError::into_inner).take();
        // a vanished device refuses both, and there is nothing left to do about it
        let _ = self.device.stream_off(self.shared.kind);
        let _ = self.device.request_buffers(self.shared.kind, 0);
    }
}

impl Shared {
    /// The buffer must be OURS or LENT and not be used by anybody any more.
    fn requeue(&self, index: u32) {
        let device = self.device.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // first: once queued, the other thread may get it from the driver at once
        self.buffers[index as usize].owner.store(DRIVER, Ordering::Release);
        let Some(device) = device else { return };
        if let Err(cause) = device.queue(self.kind, index) {
            let errno = cause.raw_os_error().unwrap_or(libc::EIO);
            let _ = self.requeue_errno.compare_exchange(0, errno, Ordering::AcqRel, Ordering::Acquire);
        }
    }
}

impl BufferHome for Shared {
    fn give_back(&self, index: u32) {
        self.requeue(index);
    }
}

impl Taken {
    fn planes(&self) -> &[(Mapping, Option<OwnedFd>)] {
        self.shared.as_ref().map_or(&[], |shared| &shared.buffers[self.filled.index as usize].planes)
    }

    /// The data of a memory plane, as far as the driver filled it and the mapping reaches.
    pub fn bytes(&self, plane: usize) -> &[u8] {
        let Some((mapping, _)) = self.planes().get(plane) else {
            return &[];
        };
        // SAFETY: mapped until `shared` goes; the driver gave the buffer to us (owner is OURS) and gets it back
        // only when this Taken is dropped, which the borrow of self prevents.
        let all = unsafe { std::slice::from_raw_parts(mapping.start().as_ptr(), mapping.len()) };
        let (start, end) = self.filled.data[plane];
        all.get(start..end.min(all.len())).unwrap_or(&[])
    }

    /// Lends the picture planes. The driver's data must cover them and they must not overlap; else the buffer goes
    /// back to the driver.
    pub fn lend(mut self, regions: [Option<Region>; 3]) -> Option<MappedPlanes> {
        let placed = regions.map(|region| region.map(|region| self.place(region)));
        if placed.iter().any(|place| matches!(place, Some(None))) || overlap(&regions) {
            return None;
        }
        let index = self.filled.index;
        let shared = self.shared.take()?;
        shared.buffers[index as usize].owner.store(LENT, Ordering::Release);
        // SAFETY: in bounds and disjoint (just checked), mapped while `shared` lives; owner LENT is left only by
        // give_back, so neither the driver nor another lease has this buffer.
        Some(unsafe { MappedPlanes::new(placed.map(Option::flatten), index, shared) })
    }

    fn place(&self, region: Region) -> Option<MappedRegion> {
        let (mapping, dmabuf) = self.planes().get(region.memory_plane)?;
        let (data_start, data_end) = self.filled.data[region.memory_plane];
        let start = data_start.checked_add(region.start)?;
        let end = start.checked_add(region.len)?;
        if end > mapping.len() || end > data_end {
            return None;
        }
        let offset = u32::try_from(start).ok()?;
        let dmabuf = dmabuf.as_ref().map(|fd| Dmabuf { fd: fd.as_raw_fd(), offset });
        // SAFETY: `start` is inside the mapping.
        let start = unsafe { mapping.start().add(start) };
        Some(MappedRegion { start, len: region.len, dmabuf })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.requeue(self.filled.index);
        }
    }
}

fn overlap(regions: &[Option<Region>; 3]) -> bool {
    let clash = |a: usize, b: usize| match (&regions[a], &regions[b]) {
        (Some(a), Some(b)) => {
            a.memory_plane == b.memory_plane && a.start < b.start + b.len && b.start < a.start + a.len
        }
        _ => false,
    };
    clash(0, 1) || clash(0, 2) || clash(1, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::v4l2_fake::{FakeCamera, Filled};

    fn region(memory_plane: usize, start: usize, len: usize) -> Option<Region> {
        Some(Region { memory_plane, start, len })
    }

    #[test]
    fn only_regions_inside_the_data_and_apart_from_each_other_are_lent() {
        let camera = FakeCamera::simple(b"NV12");
        let device = camera.open_handle().unwrap();
        camera.state().wire.plane_count = 1;
        let buffers = Buffers::allocate(device, BufferKind::Single, 4, 1).unwrap();
        let cases = [
            ([region(0, 0, 600), region(0, 600, 400), None], true),
            ([region(0, 0, 601), region(0, 600, 400), None], false),
            ([region(0, 0, 10), region(0, 20, 10), region(0, 29, 1)], false),
            ([region(0, 0, 1001), None, None], false),
            ([region(0, usize::MAX, 2), None, None], false),
            ([region(1, 0, 10), None, None], false),
        ];
        for (regions, lent) in cases {
            camera.fill(Filled { bytes: vec![5; 1000], ..Filled::of(5) });
            let taken = buffers.dequeue().unwrap().unwrap();
            assert_eq!(taken.lend(regions).is_some(), lent, "{regions:?}");
            assert_eq!(buffers.with_driver(), 4, "every buffer is back");
        }
    }
}
