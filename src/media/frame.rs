//! A picture in memory, in one of the two layouts the pipeline carries, with the instant it was captured.
//!
//! Owns the picture's layout (planes, strides, colour) and the lease on its memory: dropping a frame gives the memory
//! back to where it came from (a driver's buffer queue, or a pool). Must never copy pixels.
//! Input: the capture sources and the placeholder card.

use crate::media::frame_sys::{BufferHome, Dmabuf, MappedPlanes};
use crate::units::{Micros, Size};
use std::sync::{Arc, Mutex, PoisonError};

/// 4:2:0, 8 bits, the two layouts the overlay and the encoders read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Plane 0: Y, width x height. Plane 1: U and V interleaved, width bytes x height/2 rows.
    Nv12,
    /// Plane 0: Y. Planes 1 and 2: U and V, width/2 x height/2.
    I420,
}

impl Layout {
    pub fn planes(self) -> usize {
        match self {
            Layout::Nv12 => 2,
            Layout::I420 => 3,
        }
    }
}

/// RGB to YUV matrix (ITU-R BT.601-7, BT.709-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    Bt601,
    Bt709,
}

/// Limited: Y 16..=235, UV 16..=240. Full: 0..=255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    Limited,
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    pub matrix: Matrix,
    pub range: Range,
}

/// How a frame lies in memory. Width and height are even and at least 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureFormat {
    pub layout: Layout,
    pub size: Size,
    /// Bytes from one row to the next, per plane. A plane's last row may be shorter than its stride.
    pub strides: [usize; 3],
    pub colour: Colour,
}

impl PictureFormat {
    /// Rows without padding.
    pub fn packed(layout: Layout, size: Size, colour: Colour) -> PictureFormat {
        let width = size.width as usize;
        let strides = match layout {
            Layout::Nv12 => [width, width, 0],
            Layout::I420 => [width, width / 2, width / 2],
        };
        PictureFormat { layout, size, strides, colour }
    }

    /// Width in bytes and number of rows of a plane.
    pub fn plane_shape(&self, plane: usize) -> (usize, usize) {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        match (self.layout, plane) {
            (_, 0) => (width, height),
            (Layout::Nv12, 1) => (width, height / 2),
            (Layout::I420, 1 | 2) => (width / 2, height / 2),
            _ => (0, 0),
        }
    }

    /// Bytes a plane spans in memory: all rows but the last with their padding.
    pub fn plane_len(&self, plane: usize) -> usize {
        let (width, rows) = self.plane_shape(plane);
        if rows == 0 { 0 } else { self.strides[plane] * (rows - 1) + width }
    }

    /// Bytes of all planes laid one after the other, each padded to whole rows.
    pub fn buffer_len(&self) -> usize {
        (0..3).map(|plane| self.strides[plane] * self.plane_shape(plane).1).sum()
    }
}

/// One captured picture.
pub struct Frame {
    pub format: PictureFormat,
    /// When the driver took it (V4L2 timestamp), or when the source made it.
    pub captured_at: Micros,
    /// The driver's or the source's count; gaps are frames lost before us.
    pub sequence: u64,
    memory: Memory,
}

enum Memory {
    Pooled(PooledBuffer),
    Mapped(MappedPlanes),
}

impl Frame {
    pub fn pooled(format: PictureFormat, captured_at: Micros, sequence: u64, buffer: PooledBuffer) -> Frame {
        assert!(buffer.bytes.len() >= format.buffer_len(), "a pool hands out buffers of its format's size");
        Frame { format, captured_at, sequence, memory: Memory::Pooled(buffer) }
    }

    /// The planes must cover `format` (checked here, so that a driver's bad answer cannot read past its buffer).
    pub fn mapped(format: PictureFormat, captured_at: Micros, sequence: u64, planes: MappedPlanes) -> Option<Frame> {
        let fits = (0..format.layout.planes()).all(|plane| planes.len(plane) >= format.plane_len(plane));
        fits.then_some(Frame { format, captured_at, sequence, memory: Memory::Mapped(planes) })
    }

    /// The planes' bytes, rows `format.strides` apart; unused planes are empty.
    pub fn planes(&self) -> [&[u8]; 3] {
        match &self.memory {
            Memory::Pooled(buffer) => split(&self.format, &buffer.bytes),
            Memory::Mapped(planes) => planes.slices(),
        }
    }

    pub fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        match &mut self.memory {
            Memory::Pooled(buffer) => split_mut(&self.format, &mut buffer.bytes),
            Memory::Mapped(planes) => planes.slices_mut(),
        }
    }

    /// The exported buffer (VIDIOC_EXPBUF) of a plane, for hardware encoders; None for pictures in our own memory.
    pub fn dmabuf(&self, plane: usize) -> Option<Dmabuf> {
        match &self.memory {
            Memory::Pooled(_) => None,
            Memory::Mapped(planes) => planes.dmabuf(plane),
        }
    }

    /// The driver's queue this picture was lent from. A descriptor's number means the same buffer only as long as it
    /// comes from the same queue: a camera that is opened anew gets the old numbers again.
    pub fn home(&self) -> Option<&Arc<dyn BufferHome>> {
        match &self.memory {
            Memory::Pooled(_) => None,
            Memory::Mapped(planes) => Some(planes.home()),
        }
    }
}

fn split<'a>(format: &PictureFormat, bytes: &'a [u8]) -> [&'a [u8]; 3] {
    let mut rest = bytes;
    [0, 1, 2].map(|plane| {
        let (now, later) = rest.split_at(format.strides[plane] * format.plane_shape(plane).1);
        rest = later;
        now
    })
}

fn split_mut<'a>(format: &PictureFormat, bytes: &'a mut [u8]) -> [&'a mut [u8]; 3] {
    let mut rest = bytes;
    [0, 1, 2].map(|plane| {
        let (now, later) = std::mem::take(&mut rest).split_at_mut(format.strides[plane] * format.plane_shape(plane).1);
        rest = later;
        now
    })
}

/// A fixed number of equal buffers, lent to frames and taken back when they are dropped. No allocation after `new`.
pub struct BufferPool {
    free: Mutex<Vec<Box<[u8]>>>,
}

impl BufferPool {
    pub fn new(buffers: usize, bytes_each: usize) -> Arc<BufferPool> {
        let free = (0..buffers).map(|_| vec![0; bytes_each].into_boxed_slice()).collect();
        Arc::new(BufferPool { free: Mutex::new(free) })
    }

    /// None while all buffers are lent: the caller drops its frame and counts it.
    pub fn take(self: &Arc<Self>) -> Option<PooledBuffer> {
        let bytes = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(PooledBuffer { bytes, home: self.clone() })
    }
}

pub struct PooledBuffer {
    bytes: Box<[u8]>,
    home: Arc<BufferPool>,
}

impl PooledBuffer {
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOUR: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };

    #[test]
    fn planes_lie_one_after_the_other_and_cover_the_picture() {
        let format = PictureFormat::packed(Layout::I420, Size { width: 64, height: 32 }, COLOUR);
        let pool = BufferPool::new(1, format.buffer_len());
        let mut frame = Frame::pooled(format, Micros(0), 0, pool.take().expect("one buffer is free"));
        assert_eq!(frame.planes().map(|p| p.len()), [2048, 512, 512]);
        frame.planes_mut()[2][511] = 7;
        assert_eq!(frame.planes()[2][511], 7);
        let format = PictureFormat::packed(Layout::Nv12, Size { width: 64, height: 32 }, COLOUR);
        assert_eq!((format.buffer_len(), format.plane_len(1), format.plane_len(2)), (3072, 1024, 0));
    }

    #[test]
    fn a_dropped_frame_gives_its_buffer_back() {
        let pool = BufferPool::new(1, 16);
        let lent = pool.take().expect("one buffer is free");
        assert!(pool.take().is_none());
        drop(lent);
        assert!(pool.take().is_some());
    }
}
