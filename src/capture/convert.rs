//! Packed 4:2:2 (YUYV, UYVY) and MJPEG into pooled I420 pictures.
//!
//! Owns the JPEG decoder. Reads every input byte once and allocates nothing per picture. Input: a driver's buffer,
//! whose data may be short or damaged.

use crate::capture::jpeg_sys::{JpegDecoder, JpegError};
use crate::capture::v4l2_device::{FourCc, WireFormat};
use crate::capture::v4l2_format::{self, Access, Arrangement, even_up, row_bytes};
use crate::media::frame::{Frame, PictureFormat};
use crate::units::Size;
use yuv::{BufferStoreMut, YuvPackedImage, YuvPlanarImageMut};

pub struct Converter {
    kind: Kind,
    wire: WireFormat,
}

enum Kind {
    Packed(Pack),
    Jpeg(JpegDecoder),
}

/// The conversion from one packed order.
type Pack = fn(&mut YuvPlanarImageMut<u8>, &YuvPackedImage<u8>) -> Result<(), yuv::YuvError>;

#[derive(Debug, PartialEq, Eq)]
pub enum ConvertError {
    /// This one picture cannot be shown.
    Damaged(String),
    /// The device sends another size than it agreed to.
    OtherSize { width: usize, height: usize },
}

impl Converter {
    /// What pictures of this pixel format and size, rows without padding, go through, and what comes out. None when
    /// they need no conversion or are unknown.
    pub fn for_pixel_format(name: &[u8; 4], size: Size) -> Option<(Converter, PictureFormat)> {
        let wire = WireFormat::wanted(FourCc(*name), size);
        match v4l2_format::picture(&wire) {
            Ok((format, Access::Convert(arrangement))) => Some((Converter::new(arrangement, wire)?, format)),
            _ => None,
        }
    }

    /// None when the arrangement needs no conversion (or the JPEG library cannot start).
    pub fn new(arrangement: Arrangement, wire: WireFormat) -> Option<Converter> {
        let kind = match arrangement {
            Arrangement::Yuyv => Kind::Packed(yuv::yuyv422_to_yuv422),
            Arrangement::Uyvy => Kind::Packed(yuv::uyvy422_to_yuv422),
            Arrangement::Jpeg => Kind::Jpeg(JpegDecoder::new()?),
            Arrangement::SemiPlanar { .. } | Arrangement::Planar => return None,
        };
        Some(Converter { kind, wire })
    }

    /// Fills a frame of the format `v4l2_format::picture` gave for this wire format.
    pub fn convert(&mut self, data: &[u8], frame: &mut Frame) -> Result<(), ConvertError> {
        match &mut self.kind {
            Kind::Packed(pack) => unpack(*pack, &self.wire, data, frame),
            Kind::Jpeg(decoder) => {
                let wire_size = (self.wire.size.width as usize, self.wire.size.height as usize);
                let format = frame.format;
                decoder.decode(data, wire_size, &format, frame.planes_mut()).map_err(|error| match error {
                    JpegError::Corrupt(cause) => ConvertError::Damaged(cause),
                    JpegError::OtherSize { width, height } => ConvertError::OtherSize { width, height },
                })
            }
        }
    }
}

/// Writes all chroma rows: the frame's doubled chroma stride then shows every second one.
fn unpack(pack: Pack, wire: &WireFormat, data: &[u8], frame: &mut Frame) -> Result<(), ConvertError> {
    let size = frame.format.size;
    let stride = row_bytes(wire, 0, 2 * even_up(wire.size.width));
    let needed = stride * size.height as usize;
    let Some(data) = data.get(..needed) else {
        return Err(ConvertError::Damaged(format!("{} of {needed} bytes", data.len())));
    };
    let [y_stride, u_stride, v_stride] = frame.format.strides.map(|stride| stride as u32);
    let [y, u, v] = frame.planes_mut();
    let mut planar = YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y),
        y_stride,
        u_plane: BufferStoreMut::Borrowed(u),
        u_stride: u_stride / 2,
        v_plane: BufferStoreMut::Borrowed(v),
        v_stride: v_stride / 2,
        width: size.width,
        height: size.height,
    };
    let packed = YuvPackedImage { yuy: data, yuy_stride: stride as u32, width: size.width, height: size.height };
    pack(&mut planar, &packed).map_err(|cause| ConvertError::Damaged(cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::media::frame::BufferPool;
    use crate::units::Micros;

    fn wire(fourcc: &[u8; 4], width: u32, height: u32, stride: u32) -> WireFormat {
        let mut wire = WireFormat::wanted(FourCc(*fourcc), Size { width, height });
        wire.planes[0].bytes_per_line = stride;
        wire
    }

    fn convert(wire: WireFormat, data: &[u8]) -> Result<Frame, ConvertError> {
        let (format, access) = v4l2_format::picture(&wire).unwrap();
        let v4l2_format::Access::Convert(arrangement) = access else { panic!("{access:?}") };
        let pool = BufferPool::new(1, format.buffer_len());
        let mut frame = Frame::pooled(format, Micros(0), 0, pool.take().unwrap());
        Converter::new(arrangement, wire).unwrap().convert(data, &mut frame)?;
        Ok(frame)
    }

    fn noise(bytes: usize) -> Vec<u8> {
        Dice::new(7).bytes(bytes)
    }

    fn pixel(frame: &Frame, plane: usize, x: usize, y: usize) -> u8 {
        frame.planes()[plane][y * frame.format.strides[plane] + x]
    }

    #[test]
    fn packed_pictures_equal_a_plain_loop_with_odd_strides_and_sizes() {
        for (fourcc, order) in [(b"YUYV", [0, 2, 1, 3]), (b"UYVY", [1, 3, 0, 2])] {
            for (width, height, stride) in [(64, 32, 128), (66, 34, 141), (37, 17, 80), (640, 22, 1281), (16, 16, 0)] {
                let row = if stride == 0 { 2 * width as usize } else { stride as usize };
                let data = noise(row * height as usize);
                let frame = convert(wire(fourcc, width, height, stride), &data).unwrap();
                let Size { width, height } = frame.format.size;
                for (x, y) in (0..height as usize).flat_map(|y| (0..width as usize).map(move |x| (x, y))) {
                    let group = &data[y * row + x / 2 * 4..][..4];
                    assert_eq!(pixel(&frame, 0, x, y), group[order[x % 2]], "Y {x},{y} of {width}x{height}");
                    if x % 2 == 0 && y % 2 == 0 {
                        assert_eq!(pixel(&frame, 1, x / 2, y / 2), group[order[2]], "U {x},{y} of {width}x{height}");
                        assert_eq!(pixel(&frame, 2, x / 2, y / 2), group[order[3]], "V {x},{y} of {width}x{height}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_short_buffer_is_damaged_not_a_panic() {
        let data = noise(64 * 2 * 32 - 1);
        let error = convert(wire(b"YUYV", 64, 32, 128), &data).err();
        assert_eq!(error, Some(ConvertError::Damaged("4095 of 4096 bytes".into())));
    }

    /// Smooth, so that JPEG's losses stay small: every plane has its own slope.
    fn smooth(plane: usize, x: usize, y: usize) -> u8 {
        [(40 + x + y / 2) as u8, (90 + x / 2) as u8, (200 - y / 2) as u8][plane]
    }

    fn jpeg(width: usize, height: usize, subsamp: turbojpeg::Subsamp) -> Vec<u8> {
        let (across, down) = (subsamp.width(), subsamp.height());
        let (wide, high) = (width.next_multiple_of(across), height.next_multiple_of(down));
        let mut pixels = Vec::new();
        pixels.extend((0..wide * high).map(|i| smooth(0, i % wide, i / wide)));
        if subsamp != turbojpeg::Subsamp::Gray {
            let (chroma_wide, chroma_high) = (wide / across, high / down);
            for plane in [1, 2] {
                let at = |i: usize| smooth(plane, i % chroma_wide * across, i / chroma_wide * down);
                pixels.extend((0..chroma_wide * chroma_high).map(at));
            }
        }
        let image = turbojpeg::YuvImage { pixels: &pixels[..], width, align: 1, height, subsamp };
        turbojpeg::compress_yuv(image, 95).unwrap().to_vec()
    }

    #[test]
    fn jpegs_of_every_sampling_come_out_as_the_same_picture() {
        use turbojpeg::Subsamp::*;
        for subsamp in [Sub2x2, Sub2x1, None, Sub1x2, Sub4x1, Gray] {
            for (width, height) in [(64, 48), (66, 50), (71, 33), (18, 18)] {
                let data = jpeg(width, height, subsamp);
                let frame = convert(wire(b"MJPG", width as u32, height as u32, 0), &data).unwrap();
                let size = frame.format.size;
                for (x, y) in (0..size.height as usize).flat_map(|y| (0..size.width as usize).map(move |x| (x, y))) {
                    let near = |plane: usize, got: u8| {
                        let want = if subsamp == Gray && plane > 0 { 128 } else { smooth(plane, x, y) };
                        assert!(
                            got.abs_diff(want) <= 4,
                            "{subsamp:?} {width}x{height} plane {plane} {x},{y}: {got}, {want}"
                        );
                    };
                    near(0, pixel(&frame, 0, x, y));
                    if x % 2 == 0 && y % 2 == 0 {
                        near(1, pixel(&frame, 1, x / 2, y / 2));
                        near(2, pixel(&frame, 2, x / 2, y / 2));
                    }
                }
            }
        }
    }

    #[test]
    fn cut_off_and_scribbled_jpegs_are_damaged_never_a_panic() {
        let good = jpeg(64, 48, turbojpeg::Subsamp::Sub2x1);
        for length in 0..good.len() - 2 {
            assert!(convert(wire(b"MJPG", 64, 48, 0), &good[..length]).is_err(), "cut at {length}");
        }
        let mut dice = Dice::new(3);
        for _ in 0..2000 {
            let mut data = good.clone();
            dice.damage(&mut data, 3);
            // some scribbles give a sound picture: only the answer matters
            let _ = convert(wire(b"MJPG", 64, 48, 0), &data);
        }
    }

    #[test]
    fn stray_bytes_between_markers_are_a_webcams_habit_not_damage() {
        let mut data = jpeg(64, 48, turbojpeg::Subsamp::Sub2x1);
        let end = data.len() - 2;
        data.splice(end..end, [0x55; 3]);
        assert!(convert(wire(b"MJPG", 64, 48, 0), &data).is_ok());
    }

    #[test]
    fn a_damaged_header_says_nothing_about_the_next_picture() {
        let (good, larger) = (jpeg(64, 48, turbojpeg::Subsamp::Sub2x1), jpeg(128, 96, turbojpeg::Subsamp::Sub2x1));
        let (mut converter, format) =
            Converter::for_pixel_format(b"MJPG", Size { width: 64, height: 48 }).expect("it is converted");
        let pool = BufferPool::new(1, format.buffer_len());
        let mut frame = Frame::pooled(format, Micros(0), 0, pool.take().expect("one is free"));
        for at in 2..600 {
            let mut damaged = good.clone();
            damaged[at] ^= 0xff;
            for damaged in [&damaged[..], &good[..at]] {
                assert_eq!(converter.convert(&good, &mut frame), Ok(()), "before {at}");
                let _ = converter.convert(damaged, &mut frame);
                let other = ConvertError::OtherSize { width: 128, height: 96 };
                assert_eq!(converter.convert(&larger, &mut frame), Err(other), "after {at}");
            }
        }
    }

    #[test]
    fn a_jpeg_of_another_size_is_told_apart_from_damage() {
        let data = jpeg(80, 48, turbojpeg::Subsamp::Sub2x2);
        let error = convert(wire(b"MJPG", 64, 48, 0), &data).err();
        assert_eq!(error, Some(ConvertError::OtherSize { width: 80, height: 48 }));
    }
}
