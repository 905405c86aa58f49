//! The picture as it must be, from first principles and in floating point; knows nothing of how rtcam does it.

use crate::receiver::Picture;
use rtcam::media::frame::{Colour, Matrix, Range};
use rtcam::units::Size;
use std::ops::Range as Span;

/// Odd both ways.
pub const LOGO: (usize, usize) = (61, 43);
const BLOCK: usize = 8;

#[derive(Clone, Copy, PartialEq)]
pub enum Tone {
    Colour,
    Grey,
}

#[derive(Clone, Copy)]
pub struct Layer {
    pub x: i32,
    pub y: i32,
    pub scale: f64,
    pub opacity: f64,
    pub tone: Tone,
}

/// Blocks of strong colours, and an alpha that falls from solid at the left to nothing at the right.
fn logo_pixel(x: usize, y: usize) -> [u8; 4] {
    const COLOURS: [[u8; 3]; 6] =
        [[255, 255, 255], [200, 20, 30], [0, 0, 0], [20, 170, 60], [250, 220, 40], [30, 60, 210]];
    let [r, g, b] = COLOURS[(x / BLOCK + y / BLOCK * 2) % COLOURS.len()];
    let alpha = if x < LOGO.0 / 2 { 255 } else { 255 - (x - LOGO.0 / 2) * 255 / (LOGO.0 - LOGO.0 / 2) };
    [r, g, b, alpha as u8]
}

pub fn logo_png() -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, LOGO.0 as u32, LOGO.1 as u32);
    encoder.set_color(png::ColorType::Rgba);
    let pixels: Vec<u8> = (0..LOGO.0 * LOGO.1).flat_map(|at| logo_pixel(at % LOGO.0, at / LOGO.0)).collect();
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels)).expect("a PNG");
    file
}

/// Red, green and blue times alpha, and alpha: 0..=1.
type Premultiplied = [f64; 4];

fn premultiplied(x: usize, y: usize) -> Premultiplied {
    let [r, g, b, a] = logo_pixel(x, y).map(|level| f64::from(level) / 255.0);
    [r * a, g * a, b * a, a]
}

/// Which source samples make the output sample `at`, and their shares: the mean of what it covers when shrinking, the
/// line between the two nearest centres when growing.
fn shares(at: usize, scale: f64, from: usize, to: usize) -> Vec<(usize, f64)> {
    let step = from as f64 / to as f64;
    if scale < 1.0 {
        let (start, end) = (at as f64 * step, (at + 1) as f64 * step);
        let covered = |source: usize| (end.min((source + 1) as f64) - start.max(source as f64)).max(0.0) / step;
        return (0..from).map(|source| (source, covered(source))).filter(|(_, share)| *share > 0.0).collect();
    }
    let centre = ((at as f64 + 0.5) * step - 0.5).clamp(0.0, (from - 1) as f64);
    let (left, share) = (centre.floor() as usize, centre.fract());
    vec![(left, 1.0 - share), ((left + 1).min(from - 1), share)]
}

fn scaled_pixel(x: usize, y: usize, scale: f64) -> Premultiplied {
    let (width, height) = scaled(scale);
    let mut sum = [0.0; 4];
    for (source_y, share_y) in shares(y, scale, LOGO.1, height) {
        for &(source_x, share_x) in &shares(x, scale, LOGO.0, width) {
            let pixel = premultiplied(source_x, source_y);
            (0..4).for_each(|channel| sum[channel] += pixel[channel] * share_x * share_y);
        }
    }
    sum
}

fn scaled(scale: f64) -> (usize, usize) {
    ((LOGO.0 as f64 * scale).round() as usize, (LOGO.1 as f64 * scale).round() as usize)
}

/// ITU-R BT.601-7 and BT.709-6: the levels of a colour, times its alpha, and alpha.
fn levels([r, g, b, a]: Premultiplied, colour: Colour, tone: Tone) -> [f64; 4] {
    let (kr, kb) = match colour.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
    };
    let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
    let (cb, cr) = match tone {
        Tone::Colour => ((b - luma) / (2.0 * (1.0 - kb)), (r - luma) / (2.0 * (1.0 - kr))),
        Tone::Grey => (0.0, 0.0),
    };
    match colour.range {
        Range::Limited => [219.0 * luma + 16.0 * a, 224.0 * cb + 128.0 * a, 224.0 * cr + 128.0 * a, a],
        Range::Full => [255.0 * luma, 255.0 * cb + 128.0 * a, 255.0 * cr + 128.0 * a, a],
    }
}

impl Layer {
    /// Columns and rows of a plane that the layer touches.
    pub fn rectangle(&self, plane: usize, picture: Size) -> (Span<usize>, Span<usize>) {
        let (width, height) = scaled(self.scale);
        let span = |at: i32, len: usize, whole: u32| {
            let (start, end) = (at.max(0) as usize, (at + len as i32).min(whole as i32) as usize);
            if plane == 0 { start..end } else { start / 2..end.div_ceil(2) }
        };
        (span(self.x, width, picture.width), span(self.y, height, picture.height))
    }
}

#[derive(Clone)]
pub struct Planes {
    pub size: Size,
    /// Y, U, V, packed.
    pub planes: [Vec<f64>; 3],
}

impl Planes {
    /// Gentle waves, in whole levels.
    pub fn background(size: Size) -> Planes {
        let wave = |at: usize, length: f64| (at as f64 / length).sin();
        let (width, half) = (size.width as usize, size.width as usize / 2);
        let count = width * size.height as usize;
        let luma = |at: usize| (110.0 + 45.0 * wave(at % width, 60.0) * wave(at / width, 45.0)).round();
        let u = |at: usize| (128.0 + 18.0 * wave(at % half, 40.0)).round();
        let v = |at: usize| (128.0 + 18.0 * wave(at / half, 35.0)).round();
        let planes = [(0..count).map(luma).collect(), (0..count / 4).map(u).collect(), (0..count / 4).map(v).collect()];
        Planes { size, planes }
    }

    pub fn width(&self, plane: usize) -> usize {
        self.size.width as usize / if plane == 0 { 1 } else { 2 }
    }

    /// With the layers laid over, all of them moved by `shift`.
    pub fn with<'a>(&self, layers: impl Iterator<Item = &'a Layer>, shift: (i32, i32), colour: Colour) -> Planes {
        let mut made = self.clone();
        for layer in layers {
            made.lay(&Layer { x: layer.x + shift.0, y: layer.y + shift.1, ..*layer }, colour);
        }
        made
    }

    fn lay(&mut self, layer: &Layer, colour: Colour) {
        let (width, height) = scaled(layer.scale);
        let (picture_width, picture_height) = (self.size.width as usize, self.size.height as usize);
        // level times alpha and alpha, per pixel of the picture that the layer covers; nothing elsewhere
        let stamp: Vec<[f64; 4]> = (0..width * height)
            .map(|at| scaled_pixel(at % width, at / width, layer.scale).map(|share| share * layer.opacity))
            .map(|pixel| levels(pixel, colour, layer.tone))
            .collect();
        let over = |x: usize, y: usize| -> [f64; 4] {
            let (column, row) = (x as i32 - layer.x, y as i32 - layer.y);
            let inside = (0..width as i32).contains(&column) && (0..height as i32).contains(&row);
            if inside { stamp[row as usize * width + column as usize] } else { [0.0; 4] }
        };
        for plane in 0..3 {
            let (columns, rows) = layer.rectangle(plane, self.size);
            let stride = self.width(plane);
            for (x, y) in rows.flat_map(|y| columns.clone().map(move |x| (x, y))) {
                let (added, alpha) = match plane {
                    0 => (over(x, y)[0], over(x, y)[3]),
                    // a chroma sample stands for four pixels
                    _ => {
                        let four = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| (x * 2 + dx, y * 2 + dy));
                        assert!(four.iter().all(|&(x, y)| x < picture_width && y < picture_height));
                        let mean = |channel: usize| four.iter().map(|&(x, y)| over(x, y)[channel]).sum::<f64>() / 4.0;
                        (mean(plane), mean(3))
                    }
                };
                let level = &mut self.planes[plane][y * stride + x];
                *level = *level * (1.0 - alpha) + added;
            }
        }
    }

    /// What a viewer would see of it, were there no codec.
    pub fn as_picture(&self) -> Picture {
        let [y, u, v] = self.planes.clone().map(|plane| plane.iter().map(|level| level.round() as u8).collect());
        Picture {
            width: self.size.width as usize,
            height: self.size.height as usize,
            y,
            u,
            v,
            key: true,
            rtp_time: 0,
            received_at: std::time::Instant::now(),
            bytes: 0,
        }
    }
}
