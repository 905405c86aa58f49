//! A region of a frame's plane seen as a `cv::Mat`: the only place where OpenCV gets a pointer into a frame.
//!
//! Owns the Mat headers, made once per picture format and pointed at each frame's memory for as long as that memory is
//! borrowed. Must never let a header keep a pointer past the borrow, or reach past the plane. Input: `patch.rs`.

use opencv::core::{CV_8UC1, Mat, MatTrait, MatTraitConst};
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr;

/// Where a region lies in a plane, in bytes and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneRegion {
    pub left: usize,
    pub top: usize,
    pub width: usize,
    pub rows: usize,
    pub stride: usize,
}

impl PlaneRegion {
    fn first_byte(&self) -> usize {
        self.top * self.stride + self.left
    }

    /// One past the last byte touched.
    fn end(&self) -> usize {
        self.first_byte() + (self.rows - 1) * self.stride + self.width
    }
}

/// A `cv::Mat` header without memory of its own. Making one costs an allocation inside OpenCV, pointing it costs none.
pub struct RegionHeader {
    region: PlaneRegion,
    mat: Mat,
}

impl RegionHeader {
    pub fn new(region: PlaneRegion) -> opencv::Result<RegionHeader> {
        let PlaneRegion { left, width, rows, stride, .. } = region;
        if width == 0 || rows == 0 || left + width > stride {
            return Err(opencv::Error::new(opencv::core::StsBadSize, "a region must lie inside its plane's rows"));
        }
        let placeholder = ptr::NonNull::<c_void>::dangling().as_ptr();
        // SAFETY: OpenCV stores the pointer and does not follow it; it is replaced by null at once, and by real memory
        // only in `over`.
        let mut mat =
            unsafe { Mat::new_rows_cols_with_data_unsafe(rows as i32, width as i32, CV_8UC1, placeholder, stride)? };
        // SAFETY: null is the value of an empty Mat's pointer; nothing was allocated that could leak.
        unsafe { mat.set_data(ptr::null()) };
        Ok(RegionHeader { region, mat })
    }

    /// Points the header at a plane while that is borrowed. None when the plane is too short for the region.
    pub fn over<'a>(&'a mut self, plane: &'a mut [u8]) -> Option<RegionMat<'a>> {
        let bytes = plane.get_mut(self.region.first_byte()..self.region.end())?;
        // SAFETY: `bytes` holds all rows of the region; RegionMat borrows it mutably and takes the pointer out again.
        unsafe { self.mat.set_data(bytes.as_mut_ptr()) };
        Some(RegionMat { header: self, plane: PhantomData })
    }
}

/// The region of one frame's plane, as OpenCV sees it.
pub struct RegionMat<'a> {
    header: &'a mut RegionHeader,
    plane: PhantomData<&'a mut [u8]>,
}

impl RegionMat<'_> {
    /// The region's bytes, row by row.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let mat = &mut self.header.mat;
        let (rows, width) = (mat.rows() as usize, mat.cols() as usize);
        let (start, stride) = (mat.data_mut(), self.header.region.stride);
        // SAFETY: `over` checked that all rows lie in the borrowed plane; width <= stride, so that they are disjoint;
        // the iterator borrows self.
        (0..rows).map(move |row| unsafe { std::slice::from_raw_parts_mut(start.add(row * stride), width) })
    }
}

impl Drop for RegionMat<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `new`; the memory itself is not ours to free.
        unsafe { self.header.mat.set_data(ptr::null()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: PlaneRegion = PlaneRegion { left: 3, top: 1, width: 4, rows: 2, stride: 10 };

    #[test]
    fn the_region_is_the_planes_own_memory_and_nothing_else() {
        let mut plane = vec![0; 30];
        let mut header = RegionHeader::new(REGION).expect("a good region");
        header.over(&mut plane).expect("it fits").rows_mut().for_each(|row| row.fill(1));
        let touched: Vec<_> = (0..30).filter(|&at| plane[at] == 1).collect();
        assert_eq!(touched, [13, 14, 15, 16, 23, 24, 25, 26]);
        assert!(header.mat.data().is_null(), "no pointer stays behind");
    }

    #[test]
    fn a_plane_that_ends_before_the_region_is_refused() {
        let mut header = RegionHeader::new(REGION).expect("a good region");
        assert!(header.over(&mut [0; 27]).is_some());
        assert!(header.over(&mut [0; 26]).is_none());
        assert!(RegionHeader::new(PlaneRegion { left: 7, ..REGION }).is_err());
        assert!(RegionHeader::new(PlaneRegion { rows: 0, ..REGION }).is_err());
    }
}
