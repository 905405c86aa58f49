//! How the test pattern looks: a calm background with colour bars, a ball, a spinning comet and a picture counter.
//!
//! Smooth areas and a few moving shapes: easy on an encoder, yet a frozen or torn picture is seen at once.
//! Owns the prepared background and sprites. Draws only inside the frame it is given. Input: picture number and rate.

use crate::media::frame::{Frame, PictureFormat};
use std::f32::consts::TAU;

/// 8 bit Y, U, V (BT.601, limited range).
#[derive(Clone, Copy)]
struct Yuv([u8; 3]);

const fn yuv(y: u8, u: u8, v: u8) -> Yuv {
    Yuv([y, u, v])
}

/// The 75 % colour bars of ITU-R BT.471, left to right.
const BARS: [Yuv; 8] = [
    yuv(180, 128, 128),
    yuv(162, 44, 142),
    yuv(131, 156, 44),
    yuv(112, 72, 58),
    yuv(84, 184, 198),
    yuv(65, 100, 212),
    yuv(35, 212, 114),
    yuv(16, 128, 128),
];
const BALL: Yuv = yuv(150, 70, 190);
const COMET: Yuv = yuv(210, 118, 110);
const DIGITS: Yuv = yuv(200, 128, 128);
const COMET_DOTS: usize = 12;
const COUNTER_DIGITS: u32 = 6;

/// Lit segments of 0..=9, bits a..g (top, right upper, right lower, bottom, left lower, left upper, middle).
const SEGMENTS: [u8; 10] = [0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f];

/// What is behind everything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Dark blue at the top, warmer and lighter below.
    Dusk,
    Grey,
    Black,
}

pub struct Scene {
    format: PictureFormat,
    ground: Ground,
    background: [Vec<u8>; 3],
    ball: Disc,
    comet: Vec<Disc>,
    width: f32,
    height: f32,
}

impl Scene {
    pub fn new(format: PictureFormat) -> Scene {
        let (width, height) = (format.size.width as f32, format.size.height as f32);
        let small = width.min(height);
        let comet = (0..COMET_DOTS)
            .map(|dot| {
                let fade = 1.0 - dot as f32 / COMET_DOTS as f32;
                Disc::new(small * 0.012 * (0.6 + fade), COMET, fade)
            })
            .collect();
        let ground = Ground::Dusk;
        let background = background(&format, ground);
        Scene { format, ground, background, ball: Disc::new(small * 0.075, BALL, 1.0), comet, width, height }
    }

    pub fn stand_on(&mut self, ground: Ground) {
        if self.ground != ground {
            self.ground = ground;
            self.background = background(&self.format, ground);
        }
    }

    pub fn draw(&self, frame: &mut Frame, number: u64, fps: f64) {
        let mut canvas = Canvas::of(frame);
        for (plane, background) in canvas.planes.iter_mut().zip(&self.background) {
            plane[..background.len()].copy_from_slice(background);
        }
        let seconds = number as f64 / fps.max(1.0);
        self.draw_comet(&mut canvas, turn(seconds, 2.0));
        self.draw_counter(&mut canvas, number);
        let x = self.width * (0.5 + 0.40 * (TAU * turn(seconds, 7.0)).sin());
        let y = self.height * (0.40 + 0.28 * (TAU * turn(seconds, 3.0)).cos());
        self.ball.draw(&mut canvas, x, y);
    }

    fn draw_comet(&self, canvas: &mut Canvas, turn: f32) {
        let (x, y) = (self.width * 0.5, self.height * 0.34);
        let radius = self.width.min(self.height) * 0.17;
        for (dot, disc) in self.comet.iter().enumerate().rev() {
            let angle = TAU * (turn - 0.035 * dot as f32);
            disc.draw(canvas, x + radius * angle.sin(), y - radius * angle.cos());
        }
    }

    fn draw_counter(&self, canvas: &mut Canvas, number: u64) {
        // even, so that the chroma rows under a segment belong to it alone
        let unit = ((self.height / 120.0) as usize).max(1) * 2;
        let (digit_width, digit_height) = (unit * 5, unit * 7);
        let top = (self.height * 0.88) as usize & !1;
        let mut left = (self.width * 0.08) as usize & !1;
        for place in (0..COUNTER_DIGITS).rev() {
            let digit = number / 10_u64.pow(place) % 10;
            draw_digit(canvas, SEGMENTS[digit as usize], left, top, unit, digit_height);
            left += digit_width;
        }
    }
}

/// Where in a turn of `period_s` we are, 0..1; reduced in 64 bits so that days of running stay smooth.
fn turn(seconds: f64, period_s: f64) -> f32 {
    (seconds / period_s).fract() as f32
}

fn draw_digit(canvas: &mut Canvas, segments: u8, left: usize, top: usize, unit: usize, height: usize) {
    let (wide, half) = (unit * 4, height / 2);
    let boxes = [
        (0, 0, wide, unit),
        (wide - unit, 0, unit, half),
        (wide - unit, half, unit, half),
        (0, height - unit, wide, unit),
        (0, half, unit, half),
        (0, 0, unit, half),
        (0, half - unit / 2, wide, unit),
    ];
    for (bit, (x, y, w, h)) in boxes.into_iter().enumerate() {
        if segments >> bit & 1 == 1 {
            canvas.fill(left + x, top + y, w, h, DIGITS);
        }
    }
}

fn background(format: &PictureFormat, ground: Ground) -> [Vec<u8>; 3] {
    let mut planes = [0, 1, 2].map(|plane| vec![0; format.strides[plane] * format.plane_shape(plane).1]);
    let [y, u, v] = &mut planes;
    let mut canvas = Canvas {
        planes: [y, u, v],
        strides: format.strides,
        width: format.size.width as usize,
        height: format.size.height as usize,
    };
    let (width, height) = (canvas.width, canvas.height);
    match ground {
        Ground::Dusk => gradient(&mut canvas),
        Ground::Grey => canvas.fill(0, 0, width, height, yuv(110, 128, 128)),
        Ground::Black => canvas.fill(0, 0, width, height, yuv(16, 128, 128)),
    }
    for (bar, colour) in BARS.into_iter().enumerate() {
        let edge = |n: usize| width * (6 + n * 11) / 100;
        canvas.fill(edge(bar), height * 62 / 100, edge(bar + 1) - edge(bar), height * 16 / 100, colour);
    }
    for step in 0..width * 88 / 100 {
        let luma = 16 + step * 219 / (width * 88 / 100);
        canvas.fill(width * 6 / 100 + step, height * 78 / 100, 1, height * 6 / 100, yuv(luma as u8, 128, 128));
    }
    planes
}

fn gradient(canvas: &mut Canvas) {
    let (width, height) = (canvas.width, canvas.height);
    for y in 0..height {
        let down = y * 256 / height;
        for x in 0..width {
            let across = x * 256 / width;
            canvas.planes[0][y * canvas.strides[0] + x] = (38 + down * 52 / 256 + across * 14 / 256) as u8;
        }
    }
    for y in 0..height / 2 {
        let down = y * 512 / height;
        for x in 0..width / 2 {
            canvas.planes[1][y * canvas.strides[1] + x] = (152 - down * 18 / 256) as u8;
            canvas.planes[2][y * canvas.strides[2] + x] = (112 + down * 14 / 256) as u8;
        }
    }
}

/// The planes of a picture, clipped drawing.
struct Canvas<'a> {
    planes: [&'a mut [u8]; 3],
    strides: [usize; 3],
    width: usize,
    height: usize,
}

impl<'a> Canvas<'a> {
    fn of(frame: &'a mut Frame) -> Canvas<'a> {
        let format = frame.format;
        Canvas {
            planes: frame.planes_mut(),
            strides: format.strides,
            width: format.size.width as usize,
            height: format.size.height as usize,
        }
    }

    fn fill(&mut self, left: usize, top: usize, width: usize, height: usize, colour: Yuv) {
        for (plane, value) in colour.0.into_iter().enumerate() {
            let shift = usize::from(plane > 0);
            let right = (left + width).min(self.width) >> shift;
            for y in top >> shift..(top + height).min(self.height) >> shift {
                let row = &mut self.planes[plane][y * self.strides[plane]..];
                row[(left >> shift).min(right)..right].fill(value);
            }
        }
    }
}

/// A soft-edged ball, prepared once: per pixel its colour and how much it covers (0..=256).
struct Disc {
    side: usize,
    luma: Vec<(u8, u16)>,
    chroma: Vec<u16>,
    colour: Yuv,
}

impl Disc {
    fn new(radius: f32, colour: Yuv, opacity: f32) -> Disc {
        let radius = radius.max(1.5);
        let side = (radius.ceil() as usize + 1) * 2;
        let centre = side as f32 / 2.0;
        let cover = |x: f32, y: f32| {
            let distance = ((x - centre).powi(2) + (y - centre).powi(2)).sqrt();
            (256.0 * opacity * (radius - distance + 0.5).clamp(0.0, 1.0)) as u16
        };
        let shade = |x: f32, y: f32| {
            let lit = ((x - centre * 0.7).powi(2) + (y - centre * 0.7).powi(2)).sqrt() / radius;
            (f32::from(colour.0[0]) + 45.0 * (0.8 - lit)).clamp(16.0, 235.0) as u8
        };
        let at = |i: usize| i as f32 + 0.5;
        let pixels = (0..side * side).map(|i| (at(i % side), at(i / side)));
        let luma = pixels.map(|(x, y)| (shade(x, y), cover(x, y))).collect();
        let half = side / 2;
        let chroma = (0..half * half).map(|i| cover(at(i % half) * 2.0, at(i / half) * 2.0)).collect();
        Disc { side, luma, chroma, colour }
    }

    fn draw(&self, canvas: &mut Canvas, x: f32, y: f32) {
        let left = x as i32 - (self.side / 2) as i32;
        let top = y as i32 - (self.side / 2) as i32;
        let (width, height) = (canvas.width, canvas.height);
        blend(canvas.planes[0], canvas.strides[0], (width, height), (left, top), self.side, |i| self.luma[i]);
        for plane in [1, 2] {
            let value = self.colour.0[plane];
            let cover = |i: usize| (value, self.chroma[i]);
            let place = (left.div_euclid(2), top.div_euclid(2));
            let shape = (width / 2, height / 2);
            blend(canvas.planes[plane], canvas.strides[plane], shape, place, self.side / 2, cover);
        }
    }
}

fn blend(
    plane: &mut [u8],
    stride: usize,
    (width, height): (usize, usize),
    (left, top): (i32, i32),
    side: usize,
    pixel: impl Fn(usize) -> (u8, u16),
) {
    let columns = clip(left, side, width);
    for row in clip(top, side, height) {
        let start = (top + row as i32) as usize * stride;
        for column in columns.clone() {
            let (value, cover) = pixel(row * side + column);
            let under = &mut plane[start + (left + column as i32) as usize];
            *under = ((u32::from(value) * u32::from(cover) + u32::from(*under) * (256 - u32::from(cover))) >> 8) as u8;
        }
    }
}

/// The part of `0..side` that lies inside `0..limit` when shifted by `offset`.
fn clip(offset: i32, side: usize, limit: usize) -> std::ops::Range<usize> {
    let from = (-offset).clamp(0, side as i32) as usize;
    let to = (limit as i32 - offset).clamp(0, side as i32) as usize;
    from..to.max(from)
}
