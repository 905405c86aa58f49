//! A prepared picture part: what a layer adds to each plane, ready to be blended into every frame of one format.
//!
//! Owns the way from RGBA to planar Y/UV/alpha in the frame's matrix and range (OpenCV, once) and the blend (per frame,
//! only inside the covered region, no allocation). Must never touch a byte outside that region. Input: the layers.

use super::mat_sys::{PlaneRegion, RegionHeader};
use crate::config::Tone;
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{Colour, Frame, Layout, Matrix, PictureFormat, Range};
use crate::units::Size;
use opencv::core::{self, CV_32F, Mat, MatTraitConst, MatTraitConstManual, Rect, Scalar, Vec4f};
use opencv::imgproc;

/// Pixels to lay over a picture, and how their channels make red, green, blue (premultiplied) and alpha, 0.0..=1.0.
pub struct Stamp {
    pub pixels: Mat,
    /// One column per channel of `pixels`, then the constant: the four shares of r, g, b and alpha.
    pub to_rgba: Vec<[f64; 4]>,
}

/// How a stamp is laid over.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub tone: Tone,
    pub opacity: f32,
}

impl Stamp {
    pub fn size(&self) -> Size {
        Size { width: self.pixels.cols() as u32, height: self.pixels.rows() as u32 }
    }
}

/// One stamp at one place in one picture format. Nothing is left of it when it lies outside the picture.
pub struct Patch {
    blends: Vec<Blend>,
}

/// The covered region of one plane: `plane = (plane * inverse + added) / 255`, rounded.
struct Blend {
    plane: usize,
    header: RegionHeader,
    row_bytes: usize,
    /// 255 - alpha, per byte of the region.
    inverse: Vec<u8>,
    /// Level times alpha, plus half of 255 for the rounding.
    added: Vec<u16>,
}

/// Channels of the intermediate picture: each level times alpha, and alpha itself.
const LUMA: usize = 0;
const CHROMA_U: usize = 1;
const CHROMA_V: usize = 2;
const ALPHA: usize = 3;

impl Patch {
    /// `left_top` may lie anywhere, also outside the picture.
    pub fn new(stamp: &Stamp, look: Look, left_top: (i32, i32), format: &PictureFormat) -> Result<Patch> {
        let Some(covered) = Covered::of(stamp.size(), left_top, format.size) else {
            return Ok(Patch { blends: Vec::new() });
        };
        let blends = prepare(stamp, look, &covered, format)
            .map_err(|e| Error::new(ErrorKind::Internal, "overlay: OpenCV could not prepare a layer").because(e))?;
        Ok(Patch { blends })
    }

    /// The frame must have the format the patch was made for; planes that are too short for it are left alone.
    pub fn draw(&mut self, frame: &mut Frame) {
        let planes = frame.planes_mut();
        for blend in &mut self.blends {
            let Some(mut region) = blend.header.over(&mut *planes[blend.plane]) else { continue };
            let sources = blend.inverse.chunks_exact(blend.row_bytes).zip(blend.added.chunks_exact(blend.row_bytes));
            for (row, (inverse, added)) in region.rows_mut().zip(sources) {
                blend_row(row, inverse, added);
            }
        }
    }
}

/// A plain loop that compilers turn into vector code. Exact, and twice as fast on such small regions as `cv::multiply`
/// and `cv::add` (4 against 8 us for 256x64 pixels on x86-64), which also round twice and allocate on every call.
fn blend_row(row: &mut [u8], inverse: &[u8], added: &[u16]) {
    for ((level, &inverse), &added) in row.iter_mut().zip(inverse).zip(added) {
        // at most 255 * 255 + 128, and x + (x >> 8) below stays in 16 bits: division by 255, exactly rounded
        let sum = u16::from(*level) * u16::from(inverse) + added;
        *level = ((sum + (sum >> 8)) >> 8) as u8;
    }
}

/// The part of a stamp that lies in the picture.
struct Covered {
    /// In the picture, pixels; not empty.
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
    /// In the stamp.
    crop: Rect,
}

impl Covered {
    fn of(stamp: Size, (x, y): (i32, i32), picture: Size) -> Option<Covered> {
        let span = |at: i32, len: u32, whole: u32| {
            let end = (i64::from(at) + i64::from(len)).min(i64::from(whole));
            let start = i64::from(at.max(0));
            (start < end).then_some((start as i32, end as i32))
        };
        let (left, right) = span(x, stamp.width, picture.width)?;
        let (top, bottom) = span(y, stamp.height, picture.height)?;
        Some(Covered { left, top, right, bottom, crop: Rect::new(left - x, top - y, right - left, bottom - top) })
    }
}

fn prepare(stamp: &Stamp, look: Look, covered: &Covered, format: &PictureFormat) -> opencv::Result<Vec<Blend>> {
    let full = to_yuva(stamp, look, covered.crop, format.colour)?;
    let half = halved(&full, covered)?;
    let (half_left, half_top) = (covered.left as usize / 2, covered.top as usize / 2);
    let mut blends = vec![blend_of(&full, &[LUMA], 0, (covered.left as usize, covered.top as usize), format)?];
    match format.layout {
        // two bytes per chroma sample: the region starts at an even byte of the row
        Layout::Nv12 => blends.push(blend_of(&half, &[CHROMA_U, CHROMA_V], 1, (half_left * 2, half_top), format)?),
        Layout::I420 => {
            blends.push(blend_of(&half, &[CHROMA_U], 1, (half_left, half_top), format)?);
            blends.push(blend_of(&half, &[CHROMA_V], 2, (half_left, half_top), format)?);
        }
    }
    Ok(blends)
}

/// The cropped stamp as four floats per pixel: Y, U, V (levels times alpha) and alpha.
fn to_yuva(stamp: &Stamp, look: Look, crop: Rect, colour: Colour) -> opencv::Result<Mat> {
    let cropped = Mat::roi(&stamp.pixels, crop)?;
    let mut pixels = Mat::default();
    cropped.convert_to(&mut pixels, CV_32F, 1.0, 0.0)?;
    let matrix = yuva_matrix(colour, look.tone);
    let columns: Vec<[f64; 4]> = stamp.to_rgba.iter().map(|column| times(&matrix, column)).collect();
    let opacity = f64::from(look.opacity.clamp(0.0, 1.0));
    let rows: [Vec<f32>; 4] =
        std::array::from_fn(|row| columns.iter().map(|column| (column[row] * opacity) as f32).collect());
    let mut yuva = Mat::default();
    core::transform(&pixels, &mut yuva, &Mat::from_slice_2d(&rows)?)?;
    Ok(yuva)
}

fn times(matrix: &[[f64; 4]; 4], column: &[f64; 4]) -> [f64; 4] {
    matrix.map(|row| row.iter().zip(column).map(|(a, b)| a * b).sum())
}

/// Premultiplied RGBA 0..=1 to levels times alpha (ITU-R BT.601-7 section 2.5, BT.709-6 section 3; full range as JFIF).
/// Linear, so that it may be applied after premultiplying.
fn yuva_matrix(colour: Colour, tone: Tone) -> [[f64; 4]; 4] {
    let (red, blue) = match colour.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
    };
    let green = 1.0 - red - blue;
    let (luma_span, luma_zero, chroma_span) = match colour.range {
        Range::Limited => (219.0, 16.0, 224.0),
        Range::Full => (255.0, 0.0, 255.0),
    };
    // grey: the colours vanish, the neutral level stays
    let chroma_span = if tone == Tone::Grey { 0.0 } else { chroma_span };
    let (u, v) = (chroma_span / (2.0 * (1.0 - blue)), chroma_span / (2.0 * (1.0 - red)));
    [
        [luma_span * red, luma_span * green, luma_span * blue, luma_zero],
        [-u * red, -u * green, u * (1.0 - blue), 128.0],
        [v * (1.0 - red), -v * green, -v * blue, 128.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
}

/// One pixel per chroma sample: the mean of the 2x2 luma pixels it covers, with nothing where the stamp does not reach.
/// Premultiplied, so that the colour of a half-covered sample is that of its covered part.
fn halved(full: &Mat, covered: &Covered) -> opencv::Result<Mat> {
    let mut even = Mat::default();
    let Covered { left, top, right, bottom, .. } = *covered;
    let (before, after) = ((top & 1, left & 1), (bottom & 1, right & 1));
    let nothing = Scalar::all(0.0);
    core::copy_make_border(full, &mut even, before.0, after.0, before.1, after.1, core::BORDER_CONSTANT, nothing)?;
    let half = core::Size::new(even.cols() / 2, even.rows() / 2);
    let mut means = Mat::default();
    imgproc::resize(&even, &mut means, half, 0.0, 0.0, imgproc::INTER_AREA)?;
    Ok(means)
}

/// The blend of one plane whose samples consist of `channels` of `yuva`, one byte each.
fn blend_of(
    yuva: &Mat,
    channels: &[usize],
    plane: usize,
    (left, top): (usize, usize),
    format: &PictureFormat,
) -> opencv::Result<Blend> {
    let samples = yuva.data_typed::<Vec4f>()?;
    let (mut inverse, mut added) = (Vec::new(), Vec::new());
    for sample in samples {
        let alpha = sample[ALPHA];
        let opaque = (alpha * 255.0).round().clamp(0.0, 255.0);
        for &channel in channels {
            let level = if alpha > 0.0 { (sample[channel] / alpha).clamp(0.0, 255.0) } else { 0.0 };
            inverse.push(255 - opaque as u8);
            added.push((level * opaque).round() as u16 + 128);
        }
    }
    let (rows, row_bytes) = (yuva.rows() as usize, yuva.cols() as usize * channels.len());
    let region = PlaneRegion { left, top, width: row_bytes, rows, stride: format.strides[plane] };
    Ok(Blend { plane, header: RegionHeader::new(region)?, row_bytes, inverse, added })
}
