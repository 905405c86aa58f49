//! The raw formats that V4L2 encoders are fed, and how a frame is written into their buffers.
//!
//! Pure. Must never write past a plane: the driver's stride and sizes are checked when a format is taken. Input: what
//! the driver answered to S_FMT, and frames.

use super::m2m_device::{FourCc, MAX_PLANES, WireFormat};
use crate::media::frame::{Frame, Layout, PictureFormat};

struct RawFormat {
    fourcc: FourCc,
    layout: Layout,
    memory_planes: usize,
}

/// In the order of preference for NV12 pictures; planar pictures prefer the planar ones.
const RAW_FORMATS: &[RawFormat] = &[
    RawFormat { fourcc: *b"NV12", layout: Layout::Nv12, memory_planes: 1 },
    RawFormat { fourcc: *b"NM12", layout: Layout::Nv12, memory_planes: 2 },
    RawFormat { fourcc: *b"YU12", layout: Layout::I420, memory_planes: 1 },
    RawFormat { fourcc: *b"YM12", layout: Layout::I420, memory_planes: 3 },
];

/// More than any picture that H.264 can hold.
const LONGEST_ROW: usize = 1 << 16;
const MOST_ROWS: usize = 1 << 14;

/// The best of the offered formats for such pictures, and its number of memory planes.
pub fn choose(offered: &[FourCc], layout: Layout) -> Option<(FourCc, usize)> {
    let usable = || RAW_FORMATS.iter().filter(|raw| offered.contains(&raw.fourcc));
    let best = usable().find(|raw| raw.layout == layout).or_else(|| usable().next());
    best.map(|raw| (raw.fourcc, raw.memory_planes))
}

/// Where a picture plane lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    memory_plane: usize,
    start: usize,
    stride: usize,
}

/// Where the planes of a picture go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLayout {
    layout: Layout,
    places: [Place; MAX_PLANES],
    /// Bytes of data in each memory plane.
    pub used: Vec<usize>,
}

impl RawLayout {
    /// None when the driver's answer cannot hold such pictures.
    pub fn of(wire: &WireFormat, format: &PictureFormat) -> Option<RawLayout> {
        let raw = RAW_FORMATS.iter().find(|raw| raw.fourcc == wire.fourcc)?;
        let (width, height) = (format.size.width as usize, format.size.height as usize);
        let rows = wire.size.height as usize;
        let stride = wire.planes.first()?.0.max(width);
        // or 32 bits would not hold the places computed below
        let is_sane = |stride: usize| stride <= LONGEST_ROW;
        if rows > MOST_ROWS || !wire.planes.iter().all(|(stride, _)| is_sane(*stride)) {
            return None;
        }
        if wire.planes.len() != raw.memory_planes || rows < height || (wire.size.width as usize) < width {
            return None;
        }
        // in one memory plane, each picture plane begins after all rows of the one before, the unseen ones, too
        let chroma_stride = if raw.layout == Layout::Nv12 { stride } else { stride / 2 };
        let mut places = [Place { memory_plane: 0, start: 0, stride }; MAX_PLANES];
        for (plane, place) in places.iter_mut().enumerate().take(raw.layout.planes()).skip(1) {
            *place = match raw.memory_planes {
                1 => Place {
                    memory_plane: 0,
                    start: stride * rows + (plane - 1) * chroma_stride * (rows / 2),
                    stride: chroma_stride,
                },
                _ => Place { memory_plane: plane, start: 0, stride: wire.planes[plane].0.max(width_of(raw, width)) },
            };
        }
        let used = wire.planes.iter().map(|(_, size)| *size).collect();
        let whole = RawLayout { layout: raw.layout, places, used };
        whole.fits(format).then_some(whole)
    }

    fn fits(&self, format: &PictureFormat) -> bool {
        let shape = PictureFormat::packed(self.layout, format.size, format.colour);
        (0..self.layout.planes()).all(|plane| {
            let (width, rows) = shape.plane_shape(plane);
            let place = self.places[plane];
            place.start + place.stride * (rows - 1) + width <= self.used[place.memory_plane]
        })
    }

    /// Writes the picture. `memory` must be at least `used` long, plane by plane.
    pub fn write(&self, frame: &Frame, memory: &mut [&mut [u8]]) {
        let (format, planes) = (&frame.format, frame.planes());
        let (width, rows) = (format.size.width as usize, format.size.height as usize / 2);
        self.copy_rows(0, memory, planes[0], format.strides[0], format.plane_shape(0));
        match (format.layout, self.layout) {
            (from, to) if from == to => {
                for (plane, bytes) in planes.iter().enumerate().take(from.planes()).skip(1) {
                    let shape = format.plane_shape(plane);
                    self.copy_rows(plane, memory, bytes, format.strides[plane], shape);
                }
            }
            (Layout::I420, _) => {
                for row in 0..rows {
                    let u = &planes[1][row * format.strides[1]..][..width / 2];
                    let v = &planes[2][row * format.strides[2]..][..width / 2];
                    let pairs = self.row(1, row, memory)[..width].chunks_exact_mut(2);
                    pairs.zip(u.iter().zip(v)).for_each(|(pair, (&u, &v))| (pair[0], pair[1]) = (u, v));
                }
            }
            (Layout::Nv12, _) => {
                for row in 0..rows {
                    let pairs = &planes[1][row * format.strides[1]..][..width];
                    for part in 0..2 {
                        let out = self.row(1 + part, row, memory);
                        pairs.chunks_exact(2).zip(out).for_each(|(pair, out)| *out = pair[part]);
                    }
                }
            }
        }
    }

    fn row<'a>(&self, plane: usize, row: usize, memory: &'a mut [&mut [u8]]) -> &'a mut [u8] {
        let place = self.places[plane];
        &mut memory[place.memory_plane][place.start + row * place.stride..]
    }

    fn copy_rows(
        &self,
        plane: usize,
        memory: &mut [&mut [u8]],
        from: &[u8],
        stride: usize,
        (width, rows): (usize, usize),
    ) {
        for row in 0..rows {
            self.row(plane, row, memory)[..width].copy_from_slice(&from[row * stride..][..width]);
        }
    }
}

fn width_of(raw: &RawFormat, width: usize) -> usize {
    if raw.layout == Layout::Nv12 { width } else { width / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{BufferPool, Colour, Matrix, Range};
    use crate::units::{Micros, Size};

    const SIZE: Size = Size { width: 32, height: 18 };
    const COLOUR: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };

    fn wire(fourcc: &FourCc, rows: u32, planes: &[(usize, usize)]) -> WireFormat {
        let size = Size { width: 32, height: rows };
        WireFormat { fourcc: *fourcc, size, planes: planes.to_vec(), colour: Some(COLOUR) }
    }

    #[test]
    fn every_layout_reaches_every_raw_format() {
        let wires = [
            wire(b"NV12", 32, &[(48, 48 * 48)]),
            wire(b"NM12", 18, &[(32, 32 * 18), (40, 40 * 9)]),
            wire(b"YU12", 32, &[(64, 64 * 48)]),
            wire(b"YM12", 18, &[(32, 32 * 18), (16, 16 * 9), (24, 24 * 9)]),
        ];
        for layout in [Layout::Nv12, Layout::I420] {
            let format = PictureFormat::packed(layout, SIZE, COLOUR);
            let pool = BufferPool::new(1, format.buffer_len());
            let mut frame = Frame::pooled(format, Micros(0), 0, pool.take().unwrap());
            let [y, u, v] = frame.planes_mut();
            y.iter_mut().enumerate().for_each(|(at, pixel)| *pixel = at as u8);
            match layout {
                Layout::Nv12 => u.chunks_mut(2).for_each(|pair| pair.copy_from_slice(&[70, 80])),
                Layout::I420 => (u.fill(70), v.fill(80)).1,
            }
            for wire in &wires {
                let raw = RawLayout::of(wire, &format).expect("it fits");
                let mut planes: Vec<Vec<u8>> = wire.planes.iter().map(|(_, size)| vec![0; *size]).collect();
                let mut memory: Vec<&mut [u8]> = planes.iter_mut().map(Vec::as_mut_slice).collect();
                raw.write(&frame, &mut memory);
                let stride = wire.planes[0].0;
                assert_eq!(planes[0][17 * stride + 31], (17 * 32 + 31) as u8, "{layout:?} {wire:?}");
                let at = |plane: usize, x: usize| {
                    let place = raw.places[plane];
                    planes[place.memory_plane][place.start + 8 * place.stride + x]
                };
                let last = match &wire.fourcc[..2] {
                    b"NV" | b"NM" => (at(1, 30), at(1, 31)),
                    _ => (at(1, 15), at(2, 15)),
                };
                assert_eq!(last, (70, 80), "{layout:?} {wire:?}");
            }
        }
    }

    #[test]
    fn answers_that_cannot_hold_the_picture_are_refused() {
        let format = PictureFormat::packed(Layout::Nv12, SIZE, COLOUR);
        for bad in [
            wire(b"NV12", 16, &[(32, 10_000)]),
            wire(b"NV12", 18, &[(32, 32 * 27 - 1)]),
            wire(b"NV12", 18, &[(32, 600), (32, 300)]),
            wire(b"YM12", 18, &[(32, 576), (16, 144), (16, 143)]),
            wire(b"RGB3", 18, &[(96, 10_000)]),
            wire(b"NV12", 18, &[]),
            wire(b"NV12", 18, &[(1 << 31, usize::MAX)]),
            wire(b"NM12", 18, &[(32, 576), (1 << 31, usize::MAX)]),
            wire(b"NV12", 1 << 27, &[(32, usize::MAX)]),
        ] {
            assert_eq!(RawLayout::of(&bad, &format), None, "{bad:?}");
        }
    }

    #[test]
    fn the_format_of_the_picture_is_preferred() {
        let offered = [*b"RGB3", *b"YU12", *b"NM12"];
        assert_eq!(choose(&offered, Layout::Nv12), Some((*b"NM12", 2)));
        assert_eq!(choose(&offered, Layout::I420), Some((*b"YU12", 1)));
        assert_eq!(choose(&offered[..2], Layout::Nv12), Some((*b"YU12", 1)));
        assert_eq!(choose(&offered[..1], Layout::Nv12), None);
    }
}
