//! MJPEG frames decoded straight to planar YUV with libjpeg-turbo: no RGB in between, no second copy.
//!
//! Owns one decompressor. The TurboJPEG crate's safe calls can only write tightly packed planes; this writes into a
//! picture of ours, whatever its strides. Must never write past a plane: sizes come from the very header that is
//! decoded. Input: bytes of a camera, often damaged.

use crate::media::frame::PictureFormat;
use std::ffi::{CStr, c_int};
use std::ptr::NonNull;
use turbojpeg::raw;

/// Progressive scans allowed in one picture: a hostile one could hold thousands.
const MOST_SCANS: c_int = 64;

pub struct JpegDecoder {
    handle: NonNull<std::ffi::c_void>,
    /// The last header had an error. The library takes the next picture for the rest of it, and may tell the size of the
    /// one before: it must not be used again.
    in_a_header: bool,
    /// Whole planes of pictures that cannot be written in place (4:4:4, 4:4:0, 4:1:1, odd sizes).
    scratch: Vec<u8>,
}

// SAFETY: a TurboJPEG instance has no tie to a thread; it must only not be used by two at once, which &mut ensures.
unsafe impl Send for JpegDecoder {}

#[derive(Debug, PartialEq, Eq)]
pub enum JpegError {
    /// Not a JPEG, or a damaged one.
    Corrupt(String),
    /// A sound JPEG of another size.
    OtherSize { width: usize, height: usize },
}

/// Luma and chroma planes as JPEG stores them, padded to whole sampling blocks.
#[derive(Clone, Copy)]
struct Shape {
    width: usize,
    height: usize,
    chroma_width: usize,
    chroma_height: usize,
    /// Luma samples per chroma sample.
    across: usize,
    down: usize,
    grey: bool,
}

impl JpegDecoder {
    pub fn new() -> Option<JpegDecoder> {
        // SAFETY: no preconditions; NULL means it failed.
        let handle = NonNull::new(unsafe { raw::tj3Init(raw::TJINIT_TJINIT_DECOMPRESS as c_int) })?;
        let decoder = JpegDecoder { handle, in_a_header: false, scratch: Vec::new() };
        // SAFETY: the handle is valid; a version without this parameter refuses it, which is fine.
        unsafe { raw::tj3Set(handle.as_ptr(), raw::TJPARAM_TJPARAM_SCANLIMIT as c_int, MOST_SCANS) };
        Some(decoder)
    }

    /// Decodes into an I420 picture laid out as `v4l2_format::planar_422` does. `wire_size` is what was negotiated;
    /// the picture may be one row or column smaller, to be even.
    pub fn decode(
        &mut self,
        jpeg: &[u8],
        wire_size: (usize, usize),
        format: &PictureFormat,
        mut planes: [&mut [u8]; 3],
    ) -> Result<(), JpegError> {
        if self.in_a_header {
            *self = JpegDecoder::new().ok_or(JpegError::Corrupt("no memory for a new decoder".into()))?;
        }
        let shape = self.read_header(jpeg)?;
        let (width, height) =
            (self.parameter(raw::TJPARAM_TJPARAM_JPEGWIDTH), self.parameter(raw::TJPARAM_TJPARAM_JPEGHEIGHT));
        if (width, height) != wire_size {
            return Err(JpegError::OtherSize { width, height });
        }
        let same_size = (shape.width, shape.height) == format.plane_shape(0);
        if same_size && shape.across == 2 {
            // 4:2:2 rows go between the rows of the picture, 4:2:0 rows on them
            let chroma_stride = format.strides[1] * shape.down / 2;
            let strides = [format.strides[0], chroma_stride, chroma_stride];
            if shape.grey {
                let [_, u, v] = &mut planes;
                u.fill(128);
                v.fill(128);
            }
            return self.decode_planes(jpeg, shape, strides, planes);
        }
        self.decode_aside(jpeg, shape, format, planes)
    }

    /// Decodes to memory of our own and brings the planes to 4:2:0 from there.
    fn decode_aside(
        &mut self,
        jpeg: &[u8],
        shape: Shape,
        format: &PictureFormat,
        planes: [&mut [u8]; 3],
    ) -> Result<(), JpegError> {
        let (luma, chroma) = (shape.width * shape.height, shape.chroma_width * shape.chroma_height);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(luma + 2 * chroma, 128);
        let (y, rest) = scratch.split_at_mut(luma);
        let (u, v) = rest.split_at_mut(chroma);
        let strides = [shape.width, shape.chroma_width, shape.chroma_width];
        let result = self.decode_planes(jpeg, shape, strides, [&mut *y, &mut *u, &mut *v]);
        if result.is_ok() {
            let [to_y, to_u, to_v] = planes;
            fit(y, shape.width, (2, 2), to_y, format.strides[0], format.plane_shape(0));
            for (from, to, stride) in [(u, to_u, format.strides[1]), (v, to_v, format.strides[2])] {
                if shape.grey {
                    to.fill(128);
                } else {
                    fit(from, shape.chroma_width, (shape.across, shape.down), to, stride, format.plane_shape(1));
                }
            }
        }
        self.scratch = scratch;
        result
    }

    fn read_header(&mut self, jpeg: &[u8]) -> Result<Shape, JpegError> {
        // SAFETY: the handle is valid, the pointer and length are a slice's.
        let result = unsafe { raw::tj3DecompressHeader(self.handle.as_ptr(), jpeg.as_ptr(), jpeg.len() as _) };
        self.in_a_header = result != 0 && !self.only_stray_bytes();
        if self.in_a_header {
            return Err(JpegError::Corrupt(self.last_error()));
        }
        let (width, height) =
            (self.parameter(raw::TJPARAM_TJPARAM_JPEGWIDTH), self.parameter(raw::TJPARAM_TJPARAM_JPEGHEIGHT));
        let subsampling = self.parameter(raw::TJPARAM_TJPARAM_SUBSAMP);
        let (across, down, grey) = match subsampling as raw::TJSAMP {
            raw::TJSAMP_TJSAMP_444 => (1, 1, false),
            raw::TJSAMP_TJSAMP_422 => (2, 1, false),
            raw::TJSAMP_TJSAMP_420 => (2, 2, false),
            raw::TJSAMP_TJSAMP_440 => (1, 2, false),
            raw::TJSAMP_TJSAMP_411 => (4, 1, false),
            raw::TJSAMP_TJSAMP_GRAY => (1, 1, true),
            _ => return Err(JpegError::Corrupt("chroma sampling not supported".into())),
        };
        if width == 0 || height == 0 {
            return Err(JpegError::Corrupt("an empty picture".into()));
        }
        let (width, height) = (width.next_multiple_of(across), height.next_multiple_of(down));
        let (chroma_width, chroma_height) = if grey { (0, 0) } else { (width / across, height / down) };
        // grey has no chroma planes whose rows could be in the wrong place
        let across = if grey { 2 } else { across };
        Ok(Shape { width, height, chroma_width, chroma_height, across, down, grey })
    }

    fn decode_planes(
        &mut self,
        jpeg: &[u8],
        shape: Shape,
        strides: [usize; 3],
        planes: [&mut [u8]; 3],
    ) -> Result<(), JpegError> {
        let shapes = [
            (shape.width, shape.height),
            (shape.chroma_width, shape.chroma_height),
            (shape.chroma_width, shape.chroma_height),
        ];
        for plane in 0..3 {
            let (width, rows) = shapes[plane];
            let spans = if rows == 0 { 0 } else { strides[plane] * (rows - 1) + width };
            if strides[plane] < width || planes[plane].len() < spans {
                return Err(JpegError::Corrupt("the picture does not fit its buffer".into()));
            }
        }
        let mut pointers = planes.map(<[u8]>::as_mut_ptr);
        let mut strides = strides.map(|stride| stride as c_int);
        // SAFETY: the handle is valid. Each plane holds rows x stride bytes of the size that the header of these very
        // bytes gives (read_header, checked above), and TurboJPEG writes no more than that.
        let result = unsafe {
            raw::tj3DecompressToYUVPlanes8(
                self.handle.as_ptr(),
                jpeg.as_ptr(),
                jpeg.len() as _,
                pointers.as_mut_ptr(),
                strides.as_mut_ptr(),
            )
        };
        if result == 0 || self.only_stray_bytes() {
            return Ok(());
        }
        Err(JpegError::Corrupt(self.last_error()))
    }

    fn parameter(&self, parameter: raw::TJPARAM) -> usize {
        // SAFETY: the handle is valid.
        let value = unsafe { raw::tj3Get(self.handle.as_ptr(), parameter as c_int) };
        usize::try_from(value).unwrap_or(usize::MAX)
    }

    /// Stray bytes between markers are the habit of many webcams and harm nothing. The code alone does not tell: it stays
    /// that of a warning when an error follows.
    fn only_stray_bytes(&self) -> bool {
        // SAFETY: the handle is valid.
        let code = unsafe { raw::tj3GetErrorCode(self.handle.as_ptr()) };
        code == raw::TJERR_TJERR_WARNING as c_int && self.last_error().contains("extraneous bytes")
    }

    fn last_error(&self) -> String {
        // SAFETY: the handle is valid; the string is NUL-terminated and lives until the next call on this handle.
        unsafe { CStr::from_ptr(raw::tj3GetErrorStr(self.handle.as_ptr())) }.to_string_lossy().into_owned()
    }
}

impl Drop for JpegDecoder {
    fn drop(&mut self) {
        // SAFETY: the handle came from tj3Init and is used no more.
        unsafe { raw::tj3Destroy(self.handle.as_ptr()) };
    }
}

/// Copies a plane, taking every sample of a plane sampled 2x2, every second one of 1x1, every one twice of 4x4.
/// What is too wide or too high is cut off.
fn fit(
    from: &[u8],
    from_width: usize,
    (across, down): (usize, usize),
    to: &mut [u8],
    stride: usize,
    (width, height): (usize, usize),
) {
    for (y, row) in to.chunks_mut(stride).take(height).enumerate() {
        let source = &from[y * 2 / down * from_width..][..from_width];
        for (x, value) in row[..width].iter_mut().enumerate() {
            *value = source[x * 2 / across];
        }
    }
}
