//! The logo layer: a PNG or JPEG file, scaled once, laid over every picture.
//!
//! Must never read the file again after `open`. Input: config, the file, or the embedded rtcam logo.

use super::image::{self, LARGEST_SIDE, RgbaImage};
use super::patch::{Look, Patch, Stamp};
use super::place::Place;
use super::{Layer, Moment};
use crate::config::OverlayConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{Frame, PictureFormat};
use opencv::core::{self, CV_16UC4, Mat, MatTraitConst, MatTraitManual, Scalar, Vec4w};
use opencv::imgproc;

const DEFAULT_LOGO: &[u8] = include_bytes!("../../assets/rtcam-logo.png");

struct Logo {
    stamp: Stamp,
    look: Look,
    place: Place,
    patch: Option<Patch>,
}

pub fn open(config: &OverlayConfig) -> Result<Box<dyn Layer>> {
    let embedded = config.file.as_os_str().is_empty();
    let image = if embedded { image::decode(DEFAULT_LOGO)? } else { image::load(&config.file)? };
    let stamp = stamp(&image, config.scale)?;
    let look = Look { tone: config.tone, opacity: config.opacity };
    Ok(Box::new(Logo { stamp, look, place: Place::of(config)?, patch: None }))
}

impl Layer for Logo {
    fn prepare(&mut self, format: &PictureFormat) -> Result<()> {
        self.patch = None;
        let left_top = self.place.left_top(self.stamp.size(), format.size);
        self.patch = Some(Patch::new(&self.stamp, self.look, left_top, format)?);
        Ok(())
    }

    fn draw(&mut self, frame: &mut Frame, _: &Moment) -> Result<()> {
        if let Some(patch) = &mut self.patch {
            patch.draw(frame);
        }
        Ok(())
    }

    fn adjust(&mut self, config: &OverlayConfig) -> Result<()> {
        self.look.opacity = config.opacity;
        self.place = Place::of(config)?;
        Ok(())
    }
}

/// Colours times alpha in 16 bits (exact), then scaled: a transparent pixel's hidden colour never reaches its neighbours.
fn stamp(image: &RgbaImage, scale: f32) -> Result<Stamp> {
    let size = scaled_size(image, scale)?;
    let scaled = premultiplied(image)
        .and_then(|pixels| resized(pixels, size))
        .map_err(|e| Error::new(ErrorKind::Internal, "OpenCV could not scale the logo").because(e))?;
    const UNIT: f64 = 1.0 / (255.0 * 255.0);
    let mut to_rgba = vec![[0.0; 4]; 5];
    (0..4).for_each(|channel| to_rgba[channel][channel] = UNIT);
    Ok(Stamp { pixels: scaled, to_rgba })
}

fn scaled_size(image: &RgbaImage, scale: f32) -> Result<core::Size> {
    let scaled = |side: u32| (f64::from(side) * f64::from(scale)).round().max(1.0);
    let (width, height) = (scaled(image.size.width), scaled(image.size.height));
    let largest = f64::from(LARGEST_SIDE);
    if width > largest || height > largest {
        return Err(Error::new(
            ErrorKind::BadConfig,
            format!("scale = {scale} makes the logo {width}x{height}; the limit is {largest}x{largest}"),
        ));
    }
    Ok(core::Size::new(width as i32, height as i32))
}

fn premultiplied(image: &RgbaImage) -> opencv::Result<Mat> {
    let (rows, cols) = (image.size.height as i32, image.size.width as i32);
    let mut mat = Mat::new_rows_cols_with_default(rows, cols, CV_16UC4, Scalar::all(0.0))?;
    for (to, &[r, g, b, a]) in mat.data_typed_mut::<Vec4w>()?.iter_mut().zip(&image.pixels) {
        *to = Vec4w::from([r, g, b, 255].map(|level| u16::from(level) * u16::from(a)));
    }
    Ok(mat)
}

fn resized(pixels: Mat, size: core::Size) -> opencv::Result<Mat> {
    let own = pixels.size()?;
    if own == size {
        return Ok(pixels);
    }
    let shrinks = size.width < own.width || size.height < own.height;
    let filter = if shrinks { imgproc::INTER_AREA } else { imgproc::INTER_LINEAR };
    let mut scaled = Mat::default();
    imgproc::resize(&pixels, &mut scaled, size, 0.0, 0.0, filter)?;
    Ok(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::WallMicros;
    use crate::config::Tone;
    use crate::dice::Dice;
    use crate::media::frame::{BufferPool, Colour, Layout, Matrix, Range};
    use crate::overlay::Compositor;
    use crate::units::{Micros, Size};
    use opencv::core::MatTraitConstManual;
    use std::path::PathBuf;

    const MOMENT: Moment = Moment { wall: WallMicros(0), host: "", fps: 0.0 };
    const COLOURS: [Colour; 4] = [
        Colour { matrix: Matrix::Bt601, range: Range::Limited },
        Colour { matrix: Matrix::Bt601, range: Range::Full },
        Colour { matrix: Matrix::Bt709, range: Range::Limited },
        Colour { matrix: Matrix::Bt709, range: Range::Full },
    ];

    fn noisy_image(width: u32, height: u32) -> RgbaImage {
        let mut noise = Dice::new(7);
        let count = width * height;
        // a third each of opaque, half transparent and fully transparent pixels
        let pixels = (0..count)
            .map(|at| {
                let alpha = [255, noise.byte(), 0][at as usize % 3];
                [noise.byte(), noise.byte(), noise.byte(), alpha]
            })
            .collect();
        RgbaImage { size: Size { width, height }, pixels }
    }

    /// Rows are longer than the picture, as drivers make them.
    fn noisy_frame(layout: Layout, colour: Colour) -> Frame {
        let mut format = PictureFormat::packed(layout, Size { width: 64, height: 48 }, colour);
        format.strides = if layout == Layout::Nv12 { [80, 72, 0] } else { [80, 40, 36] };
        let mut buffer = BufferPool::new(1, format.buffer_len()).take().expect("one is free");
        let mut noise = Dice::new(99);
        buffer.bytes_mut().iter_mut().for_each(|byte| *byte = noise.byte());
        Frame::pooled(format, Micros(0), 0, buffer)
    }

    fn laid_over(image: &RgbaImage, look: Look, (x, y): (i32, i32), frame: &mut Frame) {
        let stamp = stamp(image, 1.0).expect("a stamp");
        let mut logo = Logo { stamp, look, place: Place::At { x, y }, patch: None };
        logo.prepare(&frame.format).expect("prepared");
        logo.draw(frame, &MOMENT).expect("drawn");
    }

    /// Y, U, V of one pixel in floating point, straight from the definitions: luma, then scaled colour differences.
    fn yuv([r, g, b]: [f64; 3], colour: Colour, tone: Tone) -> [f64; 3] {
        let (kr, kb) = if colour.matrix == Matrix::Bt601 { (0.299, 0.114) } else { (0.2126, 0.0722) };
        let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
        let differences = [(b - luma) / (2.0 - 2.0 * kb), (r - luma) / (2.0 - 2.0 * kr)];
        let [u, v] = if tone == Tone::Grey { [0.0; 2] } else { differences };
        match colour.range {
            Range::Limited => [luma * 219.0 / 255.0 + 16.0, u * 224.0 / 255.0 + 128.0, v * 224.0 / 255.0 + 128.0],
            Range::Full => [luma, u + 128.0, v + 128.0],
        }
    }

    /// What the picture must hold at one sample of component 0..3; None where the logo does not reach.
    fn expected(
        image: &RgbaImage,
        look: Look,
        at: (i32, i32),
        before: &Frame,
        part: usize,
        x: i32,
        y: i32,
    ) -> Option<f64> {
        let colour = before.format.colour;
        let covered: Vec<(i32, i32)> = match part {
            0 => vec![(x, y)],
            _ => vec![(2 * x, 2 * y), (2 * x + 1, 2 * y), (2 * x, 2 * y + 1), (2 * x + 1, 2 * y + 1)],
        };
        let inside = |&(px, py): &(i32, i32)| {
            let (lx, ly) = (px - at.0, py - at.1);
            let size = image.size;
            ((0..size.width as i32).contains(&lx) && (0..size.height as i32).contains(&ly))
                .then(|| image.pixels[ly as usize * size.width as usize + lx as usize])
        };
        let share = 1.0 / covered.len() as f64;
        if covered.iter().all(|p| inside(p).is_none()) {
            return None;
        }
        let (mut alpha, mut level) = (0.0, 0.0);
        for [r, g, b, a] in covered.iter().filter_map(inside) {
            let a = f64::from(a) / 255.0 * f64::from(look.opacity) * share;
            alpha += a;
            level += a * yuv([r, g, b].map(f64::from), colour, look.tone)[part];
        }
        Some(level + (1.0 - alpha) * f64::from(sample(before, part, x, y)))
    }

    /// One sample of Y, U or V.
    fn sample(frame: &Frame, part: usize, x: i32, y: i32) -> u8 {
        let (x, y) = (x as usize, y as usize);
        let (plane, byte) = match (frame.format.layout, part) {
            (_, 0) => (0, x),
            (Layout::Nv12, part) => (1, 2 * x + part - 1),
            (Layout::I420, part) => (part, x),
        };
        frame.planes()[plane][y * frame.format.strides[plane] + byte]
    }

    fn check(image: &RgbaImage, look: Look, at: (i32, i32), layout: Layout, colour: Colour) {
        let before = noisy_frame(layout, colour);
        let mut frame = noisy_frame(layout, colour);
        laid_over(image, look, at, &mut frame);
        let mut changed = 0;
        for part in 0..3 {
            let (width, height) = if part == 0 { (64, 48) } else { (32, 24) };
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                let found = sample(&frame, part, x, y);
                let was = sample(&before, part, x, y);
                changed += usize::from(found != was);
                let case = || format!("{layout:?} {colour:?} {look:?} at {at:?}: part {part} ({x},{y})");
                match expected(image, look, at, &before, part, x, y) {
                    Some(exact) => assert!(
                        (f64::from(found) - exact.clamp(0.0, 255.0)).abs() <= 1.01,
                        "{}: {found}, not {exact}",
                        case()
                    ),
                    None => assert_eq!(found, was, "{}: outside the logo", case()),
                }
            }
        }
        let (x, y) = at;
        let visible = x < 64 && y < 48 && x + image.size.width as i32 > 0 && y + image.size.height as i32 > 0;
        assert_eq!(changed > 0, visible, "at {at:?}");
        rows_keep_their_padding(&before, &frame);
    }

    fn rows_keep_their_padding(before: &Frame, after: &Frame) {
        for plane in 0..3 {
            let stride = before.format.strides[plane];
            let width = before.format.plane_shape(plane).0;
            let padding = |frame: &Frame| -> Vec<u8> {
                frame.planes()[plane].chunks(stride.max(1)).flat_map(|row| row[width..].to_vec()).collect()
            };
            assert_eq!(padding(before), padding(after), "padding of plane {plane}");
        }
    }

    #[test]
    fn every_sample_is_the_exact_blend_in_each_layout_colour_tone_and_opacity() {
        let image = noisy_image(13, 7);
        for layout in [Layout::Nv12, Layout::I420] {
            for colour in COLOURS {
                for tone in [Tone::Colour, Tone::Grey] {
                    for opacity in [1.0, 0.37] {
                        for at in [(10, 8), (11, 9), (10, 9), (11, 8)] {
                            check(&image, Look { tone, opacity }, at, layout, colour);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_edge_and_corner_clips_and_outside_draws_nothing() {
        let look = Look { tone: Tone::Colour, opacity: 1.0 };
        for image in [noisy_image(13, 7), noisy_image(16, 8), noisy_image(1, 1), noisy_image(90, 70)] {
            for x in [-200, -13, -12, -5, 0, 1, 51, 57, 63, 64, 200, i32::MAX] {
                for y in [-7, -4, 0, 41, 44, 47, 48, i32::MIN] {
                    if x < i32::MAX && y > i32::MIN {
                        check(&image, look, (x, y), Layout::Nv12, COLOURS[0]);
                        check(&image, look, (x, y), Layout::I420, COLOURS[3]);
                    } else {
                        laid_over(&image, look, (x, y), &mut noisy_frame(Layout::Nv12, COLOURS[0]));
                    }
                }
            }
        }
    }

    #[test]
    fn a_grey_logo_leaves_no_colour_under_it() {
        let image = RgbaImage { size: Size { width: 20, height: 10 }, pixels: vec![[255, 0, 0, 255]; 200] };
        for layout in [Layout::Nv12, Layout::I420] {
            let mut frame = noisy_frame(layout, COLOURS[0]);
            laid_over(&image, Look { tone: Tone::Grey, opacity: 1.0 }, (4, 6), &mut frame);
            for (x, y) in (3..8).flat_map(|y| (2..12).map(move |x| (x, y))) {
                assert_eq!([sample(&frame, 1, x, y), sample(&frame, 2, x, y)], [128; 2]);
            }
        }
    }

    #[test]
    fn scaling_never_lets_hidden_colour_reach_an_edge() {
        // white, surrounded by transparent pixels whose hidden colour is red
        let mut image = RgbaImage { size: Size { width: 12, height: 12 }, pixels: vec![[255, 0, 0, 0]; 144] };
        for (x, y) in (4..8).flat_map(|y| (4..8).map(move |x| (x, y))) {
            image.pixels[y * 12 + x] = [255; 4];
        }
        for scale in [0.3, 0.75, 1.0, 1.7, 3.0] {
            let stamp = stamp(&image, scale).expect("a stamp");
            let wanted = (12.0 * scale).round() as u32;
            assert_eq!(stamp.size(), Size { width: wanted, height: wanted });
            let pixels = stamp.pixels.data_typed::<Vec4w>().expect("16 bits");
            assert!(pixels.iter().any(|p| p[3] > 0));
            for p in pixels {
                assert!(p[0].abs_diff(p[3]) <= 1 && p[1].abs_diff(p[3]) <= 1, "scale {scale}: {p:?} is not white");
            }
        }
    }

    #[test]
    fn a_logo_of_the_backgrounds_own_colour_changes_nothing() {
        let image = RgbaImage {
            size: Size { width: 16, height: 1 },
            pixels: (0..16).map(|a| [128, 128, 128, a * 17]).collect(),
        };
        let full = COLOURS[1];
        let mut frame = noisy_frame(Layout::I420, full);
        frame.planes_mut().into_iter().for_each(|plane| plane.fill(128));
        laid_over(&image, Look { tone: Tone::Colour, opacity: 1.0 }, (3, 3), &mut frame);
        assert!(frame.planes().into_iter().flatten().all(|&level| level == 128));
    }

    #[test]
    fn the_embedded_logo_shows_in_its_corner() {
        let mut compositor = Compositor::open(&[OverlayConfig::default()]).expect("opens without any file");
        let format = PictureFormat::packed(Layout::Nv12, Size { width: 320, height: 240 }, COLOURS[0]);
        let mut frame =
            Frame::pooled(format, Micros(0), 0, BufferPool::new(1, format.buffer_len()).take().expect("free"));
        compositor.apply(&mut frame, &MOMENT);
        let ink = |x: i32, y: i32| sample(&frame, 0, x, y) > 0;
        assert!((0..320 * 240).any(|at| ink(at % 320, at / 320)));
        assert!(
            (0..320 * 240)
                .all(|at| !ink(at % 320, at / 320)
                    || ((144..304).contains(&(at % 320)) && (16..64).contains(&(at / 320))))
        );
    }

    #[test]
    fn a_missing_or_oversized_logo_refuses_to_start_and_names_the_layer() {
        let missing = OverlayConfig { file: PathBuf::from("/nonexistent/logo.png"), ..OverlayConfig::default() };
        let error = Compositor::open(&[OverlayConfig::default(), missing]).err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::BadConfig);
        assert!(error.to_string().starts_with("overlay 2 (logo): /nonexistent/logo.png: "), "{error}");
        for scale in [100.0, f32::INFINITY, f32::MAX] {
            let error = open(&OverlayConfig { scale, ..OverlayConfig::default() }).err().expect("too large");
            assert_eq!(error.kind(), ErrorKind::BadConfig);
        }
        for scale in [0.0, -1.0, f32::NAN] {
            assert!(open(&OverlayConfig { scale, ..OverlayConfig::default() }).is_ok(), "{scale} draws one pixel");
        }
    }
}
