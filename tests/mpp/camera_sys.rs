//! Camera buffers as a driver with VIDIOC_EXPBUF lends them: shared memory with a descriptor, mapped, taken back.

use rtcam::media::frame::{Colour, Frame, Layout, Matrix, PictureFormat, Range};
use rtcam::media::frame_sys::{BufferHome, Dmabuf, MappedPlanes, MappedRegion};
use rtcam::units::{Micros, Size};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

pub const COLOUR: Colour = Colour { matrix: Matrix::Bt709, range: Range::Full };

pub fn nv12(width: u32, height: u32, stride: usize) -> PictureFormat {
    let mut format = PictureFormat::packed(Layout::Nv12, Size { width, height }, COLOUR);
    format.strides = [stride, stride, 0];
    format
}

pub struct Queue {
    pub format: PictureFormat,
    /// Bytes of Y; V4L2's is stride times height.
    pub chroma_at: usize,
    buffers: Vec<Memory>,
    free: Mutex<Vec<u32>>,
}

struct Memory {
    fd: OwnedFd,
    start: NonNull<u8>,
    len: usize,
}

unsafe impl Send for Memory {}
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

impl Memory {
    fn new(len: usize) -> Memory {
        let fd = rustix::fs::memfd_create("camera", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, len as u64).unwrap();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Memory { fd, start: NonNull::new(start.cast()).unwrap(), len }
    }
}

impl BufferHome for Queue {
    fn give_back(&self, index: u32) {
        self.free.lock().unwrap().push(index);
    }
}

impl Queue {
    pub fn new(format: PictureFormat, buffers: u32) -> Arc<Queue> {
        Queue::with_chroma_at(format, buffers, format.strides[0] * format.size.height as usize)
    }

    pub fn with_chroma_at(format: PictureFormat, buffers: u32, chroma_at: usize) -> Arc<Queue> {
        let len = chroma_at + format.strides[0] * format.size.height as usize / 2;
        let memory = (0..buffers).map(|_| Memory::new(len)).collect();
        Arc::new(Queue { format, chroma_at, buffers: memory, free: Mutex::new((0..buffers).collect()) })
    }

    pub fn free(&self) -> usize {
        self.free.lock().unwrap().len()
    }

    /// The buffer that waited longest, as a picture of one colour.
    pub fn frame(self: &Arc<Self>, [y, u, v]: [u8; 3], at: Micros, sequence: u64) -> Option<Frame> {
        let index = {
            let mut free = self.free.lock().unwrap();
            if free.is_empty() { return None } else { free.remove(0) }
        };
        let memory = &self.buffers[index as usize];
        let fd = memory.fd.as_raw_fd();
        let region = |offset: usize, len: usize| {
            let start = unsafe { memory.start.add(offset) };
            Some(MappedRegion { start, len, dmabuf: Some(Dmabuf { fd, offset: offset as u32 }) })
        };
        let luma = self.format.strides[0] * self.format.size.height as usize;
        let regions = [region(0, luma), region(self.chroma_at, luma / 2), None];
        let planes = unsafe { MappedPlanes::new(regions, index, self.clone()) };
        let mut frame = Frame::mapped(self.format, at, sequence, planes).unwrap();
        let [luma, chroma, _] = frame.planes_mut();
        luma.fill(y);
        chroma.chunks_exact_mut(2).for_each(|pair| pair.copy_from_slice(&[u, v]));
        Some(frame)
    }
}
