//! What each pixel format costs us and how its bytes become a picture: planes in the driver's memory, or a conversion.
//!
//! Pure: format numbers in, layouts and colours out. Input: what S_FMT answered.

use crate::capture::v4l2_buffers_sys::Region;
use crate::capture::v4l2_device::{FourCc, WireFormat};
use crate::media::frame::{Colour, Layout, Matrix, PictureFormat, Range};
use crate::units::Size;

/// How the bytes of a format are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// Lent as they are; chroma rows per two luma rows: 1 (4:2:0) or 2 (4:2:2, every second one is shown).
    SemiPlanar {
        chroma_rows: usize,
    },
    Planar,
    Yuyv,
    Uyvy,
    Jpeg,
}

pub struct PixelFormat {
    pub fourcc: FourCc,
    /// Memory planes of a buffer.
    pub memory_planes: usize,
    pub arrangement: Arrangement,
    /// Order of preference, least work first.
    pub cost: u32,
}

const fn row(name: &[u8; 4], memory_planes: usize, arrangement: Arrangement, cost: u32) -> PixelFormat {
    PixelFormat { fourcc: FourCc(*name), memory_planes, arrangement, cost }
}

/// A new pixel format is one row here (and its conversion, if its bytes cannot be lent).
pub const PIXEL_FORMATS: &[PixelFormat] = &[
    row(b"NV12", 1, Arrangement::SemiPlanar { chroma_rows: 1 }, 0),
    row(b"NM12", 2, Arrangement::SemiPlanar { chroma_rows: 1 }, 0),
    row(b"YU12", 1, Arrangement::Planar, 1),
    row(b"YM12", 3, Arrangement::Planar, 1),
    row(b"NV16", 1, Arrangement::SemiPlanar { chroma_rows: 2 }, 2),
    row(b"YUYV", 1, Arrangement::Yuyv, 3),
    row(b"UYVY", 1, Arrangement::Uyvy, 3),
    row(b"MJPG", 1, Arrangement::Jpeg, 4),
    row(b"JPEG", 1, Arrangement::Jpeg, 4),
];

pub fn known(fourcc: FourCc) -> Option<&'static PixelFormat> {
    PIXEL_FORMATS.iter().find(|format| format.fourcc == fourcc)
}

/// Where the picture is in a driver's buffer, or what to do to get one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Access {
    Lend([Option<Region>; 3]),
    Convert(Arrangement),
}

/// The picture a format gives, and the way to it. Err says what about the driver's answer cannot be used.
pub fn picture(wire: &WireFormat) -> Result<(PictureFormat, Access), String> {
    let format = known(wire.fourcc).ok_or_else(|| format!("{} is not a format rtcam reads", wire.fourcc))?;
    let size = Size { width: wire.size.width & !1, height: wire.size.height & !1 };
    if size.width < 16 || size.height < 16 || size.width > 16384 || size.height > 16384 {
        return Err(format!("a picture of {} cannot be used", wire.size));
    }
    if wire.plane_count != format.memory_planes {
        return Err(format!("{} with {} memory planes cannot be used", wire.fourcc, wire.plane_count));
    }
    let colour = colour(wire, format.arrangement);
    match format.arrangement {
        Arrangement::SemiPlanar { chroma_rows } => lend_semi_planar(wire, size, colour, chroma_rows),
        Arrangement::Planar => lend_planar(wire, size, colour),
        packed @ (Arrangement::Yuyv | Arrangement::Uyvy) => {
            check_stride(wire, row_bytes(wire, 0, 2 * even_up(wire.size.width)), 2 * even_up(wire.size.width))?;
            Ok((planar_422(size, colour), Access::Convert(packed)))
        }
        Arrangement::Jpeg => Ok((planar_422(size, colour), Access::Convert(Arrangement::Jpeg))),
    }
}

fn lend_semi_planar(
    wire: &WireFormat,
    size: Size,
    colour: Colour,
    chroma_rows: usize,
) -> Result<(PictureFormat, Access), String> {
    let luma = row_bytes(wire, 0, even_up(wire.size.width));
    let chroma = if wire.plane_count == 1 { luma } else { row_bytes(wire, 1, even_up(wire.size.width)) };
    check_stride(wire, luma, wire.size.width as usize)?;
    check_stride(wire, chroma, wire.size.width as usize)?;
    // 4:2:2 seen as 4:2:0: twice the stride steps over every second chroma row
    let strides = [luma, chroma * chroma_rows, 0];
    let format = PictureFormat { layout: Layout::Nv12, size, strides, colour };
    let luma_bytes = luma * wire.size.height as usize;
    let (plane, start) = if wire.plane_count == 1 { (0, luma_bytes) } else { (1, 0) };
    Ok((format, lend(&format, [(0, 0), (plane, start), (0, 0)])))
}

fn lend_planar(wire: &WireFormat, size: Size, colour: Colour) -> Result<(PictureFormat, Access), String> {
    let (width, height) = (wire.size.width as usize, wire.size.height as usize);
    let luma = row_bytes(wire, 0, even_up(wire.size.width));
    check_stride(wire, luma, width)?;
    // one bytesperline for all planes: chroma rows are half as long
    let single = wire.plane_count == 1;
    let chroma_row = |plane| if single { luma / 2 } else { row_bytes(wire, plane, width.div_ceil(2)) };
    let strides = [luma, chroma_row(1), chroma_row(2)];
    strides[1..].iter().try_for_each(|&stride| check_stride(wire, stride, width / 2))?;
    let format = PictureFormat { layout: Layout::I420, size, strides, colour };
    let u = luma * height;
    let v = u + strides[1] * height.div_ceil(2);
    let places = if single { [(0, 0), (0, u), (0, v)] } else { [(0, 0), (1, 0), (2, 0)] };
    Ok((format, lend(&format, places)))
}

fn lend(format: &PictureFormat, places: [(usize, usize); 3]) -> Access {
    Access::Lend([0, 1, 2].map(|plane| {
        let (memory_plane, start) = places[plane];
        let len = format.plane_len(plane);
        (plane < format.layout.planes()).then_some(Region { memory_plane, start, len })
    }))
}

/// What conversions write: I420 whose chroma rows lie two luma-rows' halves apart, so that 4:2:2 input is written
/// whole, row by row, and the picture's stride steps over every second chroma row. 4:2:0 leaves those rows unused.
pub fn planar_422(size: Size, colour: Colour) -> PictureFormat {
    let width = size.width as usize;
    PictureFormat { layout: Layout::I420, size, strides: [width; 3], colour }
}

/// The driver's bytesperline; some leave it 0 for rows without padding.
pub fn row_bytes(wire: &WireFormat, plane: usize, least: usize) -> usize {
    match wire.planes[plane].bytes_per_line as usize {
        0 => least,
        stride => stride,
    }
}

/// A row of 16384 pixels with as much padding again; times 16384 rows it still is a number of 32 bits.
const LONGEST_ROW: usize = 1 << 16;

fn check_stride(wire: &WireFormat, stride: usize, least: usize) -> Result<(), String> {
    let fits = stride >= least && stride <= LONGEST_ROW;
    if fits { Ok(()) } else { Err(format!("rows of {stride} bytes for {} {}", wire.size, wire.fourcc)) }
}

pub fn even_up(value: u32) -> usize {
    value as usize + value as usize % 2
}

const COLORSPACE_SMPTE240M: u32 = 2;
const COLORSPACE_REC709: u32 = 3;
const COLORSPACE_JPEG: u32 = 7;
const COLORSPACE_BT2020: u32 = 10;
const COLORSPACE_DCI_P3: u32 = 12;
const YCBCR_ENC_601: u32 = 1;
const YCBCR_ENC_XV601: u32 = 3;
const YCBCR_ENC_SYCC: u32 = 5;
const QUANTIZATION_FULL: u32 = 1;
const QUANTIZATION_LIMITED: u32 = 2;

/// The driver's words, with the kernel's rules for what 0 (default) means (V4L2_MAP_YCBCR_ENC_DEFAULT,
/// V4L2_MAP_QUANTIZATION_DEFAULT). BT.2020 and SMPTE 240M count as their nearest, BT.709.
fn colour(wire: &WireFormat, arrangement: Arrangement) -> Colour {
    let jpeg = arrangement == Arrangement::Jpeg;
    let matrix = match wire.ycbcr_enc {
        YCBCR_ENC_601 | YCBCR_ENC_XV601 | YCBCR_ENC_SYCC => Matrix::Bt601,
        0 if jpeg => Matrix::Bt601,
        0 => match wire.colorspace {
            COLORSPACE_REC709 | COLORSPACE_DCI_P3 | COLORSPACE_BT2020 | COLORSPACE_SMPTE240M => Matrix::Bt709,
            _ => Matrix::Bt601,
        },
        _ => Matrix::Bt709,
    };
    let range = match wire.quantization {
        QUANTIZATION_FULL => Range::Full,
        QUANTIZATION_LIMITED => Range::Limited,
        _ if jpeg || wire.colorspace == COLORSPACE_JPEG => Range::Full,
        _ => Range::Limited,
    };
    Colour { matrix, range }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::v4l2_device::PlaneFormat;

    fn wire(fourcc: &[u8; 4], width: u32, height: u32, strides: &[u32]) -> WireFormat {
        let mut wire = WireFormat::wanted(FourCc(*fourcc), Size { width, height });
        wire.plane_count = strides.len();
        for (plane, &bytes_per_line) in wire.planes.iter_mut().zip(strides) {
            *plane = PlaneFormat { bytes_per_line, size_image: 0 };
        }
        wire
    }

    fn regions(wire: &WireFormat) -> (PictureFormat, Vec<(usize, usize, usize)>) {
        let (format, access) = picture(wire).unwrap();
        let Access::Lend(regions) = access else { panic!("{access:?}") };
        (format, regions.iter().flatten().map(|r| (r.memory_plane, r.start, r.len)).collect())
    }

    #[test]
    fn padded_rows_and_odd_heights_put_chroma_where_the_driver_does() {
        let (format, planes) = regions(&wire(b"NV12", 638, 479, &[640]));
        assert_eq!(format.size, Size { width: 638, height: 478 });
        assert_eq!(planes, [(0, 0, 640 * 477 + 638), (0, 640 * 479, 640 * 238 + 638)]);
        let (format, planes) = regions(&wire(b"YU12", 638, 479, &[704]));
        assert_eq!(format.strides, [704, 352, 352]);
        assert_eq!(planes[1], (0, 704 * 479, 352 * 238 + 319));
        assert_eq!(planes[2], (0, 704 * 479 + 352 * 240, 352 * 238 + 319));
    }

    #[test]
    fn formats_of_several_memory_planes_start_each_at_zero() {
        let (format, planes) = regions(&wire(b"NM12", 640, 480, &[640, 704]));
        assert_eq!(format.strides, [640, 704, 0]);
        assert_eq!(planes, [(0, 0, 640 * 480), (1, 0, 704 * 239 + 640)]);
        let (_, planes) = regions(&wire(b"YM12", 640, 480, &[640, 320, 320]));
        assert_eq!(planes.iter().map(|p| (p.0, p.1)).collect::<Vec<_>>(), [(0, 0), (1, 0), (2, 0)]);
    }

    #[test]
    fn nv16_is_lent_with_every_second_chroma_row() {
        let (format, planes) = regions(&wire(b"NV16", 640, 480, &[640]));
        assert_eq!(format.strides, [640, 1280, 0]);
        assert_eq!(planes[1], (0, 640 * 480, 1280 * 239 + 640));
    }

    #[test]
    fn a_driver_that_leaves_bytesperline_empty_has_no_padding() {
        assert_eq!(regions(&wire(b"NV12", 640, 480, &[0])).0.strides, [640, 640, 0]);
        assert!(picture(&wire(b"YUYV", 640, 480, &[0])).is_ok());
    }

    #[test]
    fn answers_that_cannot_be_a_picture_are_refused_in_words() {
        let cases = [
            (wire(b"NV12", 640, 480, &[320]), "rows of 320 bytes for 640x480 NV12"),
            (wire(b"YUYV", 640, 480, &[640]), "rows of 640 bytes for 640x480 YUYV"),
            (wire(b"NV12", 16384, 16384, &[1 << 20]), "rows of 1048576 bytes for 16384x16384 NV12"),
            (wire(b"NV12", 640, 480, &[640, 640]), "NV12 with 2 memory planes cannot be used"),
            (wire(b"NM12", 640, 480, &[640]), "NM12 with 1 memory planes cannot be used"),
            (wire(b"NV12", 0, 480, &[640]), "a picture of 0x480 cannot be used"),
            (wire(b"H264", 640, 480, &[0]), "H264 is not a format rtcam reads"),
            (wire(b"NV12", 640, 480, &[u32::MAX]), "rows of 4294967295 bytes for 640x480 NV12"),
        ];
        for (wire, words) in cases {
            assert_eq!(picture(&wire).err().as_deref(), Some(words));
        }
    }

    #[test]
    fn colours_follow_the_drivers_words_and_the_kernels_defaults() {
        let limited = |matrix| Colour { matrix, range: Range::Limited };
        let full = |matrix| Colour { matrix, range: Range::Full };
        let cases = [
            (b"NV12", (0, 0, 0), limited(Matrix::Bt601)),
            (b"NV12", (COLORSPACE_REC709, 0, 0), limited(Matrix::Bt709)),
            (b"NV12", (COLORSPACE_REC709, YCBCR_ENC_601, QUANTIZATION_FULL), full(Matrix::Bt601)),
            // an SMPTE 170M picture in full range, as Rockchip's ISP reports it
            (b"NV12", (1, 1, QUANTIZATION_FULL), full(Matrix::Bt601)),
            (b"YUYV", (8, 0, 0), limited(Matrix::Bt601)),
            (b"YUYV", (COLORSPACE_JPEG, 0, 0), full(Matrix::Bt601)),
            (b"MJPG", (COLORSPACE_REC709, 0, 0), full(Matrix::Bt601)),
            (b"MJPG", (8, 0, QUANTIZATION_LIMITED), limited(Matrix::Bt601)),
        ];
        for (fourcc, (colorspace, ycbcr_enc, quantization), expected) in cases {
            let wire = WireFormat { colorspace, ycbcr_enc, quantization, ..wire(fourcc, 640, 480, &[0]) };
            assert_eq!(picture(&wire).unwrap().0.colour, expected, "{wire:?}");
        }
    }
}
