//! `rtcam bench [--json]`: what this machine can do, as CPU time per picture of each stage.
//!
//! Only measures: the work itself is that of the running daemon. CPU time of this thread and medians, so that a busy
//! machine tells nearly the same as an idle one. Opens no camera and no socket. Input: pictures of the test pattern.

use crate::capture::{self, Converter, Grab, Source, Want};
use crate::clock::{Clock, WallMicros, thread_cpu};
use crate::config::{CameraConfig, EncoderConfig, LayerKind, OverlayConfig, SourceChoice};
use crate::encode::{self, Encoded, Encoder};
use crate::error::{Error, ErrorKind, Result};
use crate::media::frame::{BufferPool, Colour, Frame, Layout, Matrix, PictureFormat, Range};
use crate::media::packet::AccessUnit;
use crate::media::srtp::{SrtpCost, SrtpProfile};
use crate::output::webrtc::{MAX_PAYLOAD, Sealing, packetize};
use crate::overlay::{Compositor, Moment};
use crate::units::{FrameRate, KbitPerSec, Micros, Size};
use serde::Serialize;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Duration;
use turbojpeg::{Subsamp, YuvImage};

pub const SPAN_MS: u64 = 300;

const VGA: Size = Size { width: 640, height: 480 };
const HD: Size = Size { width: 1280, height: 720 };
const FULL_HD: Size = Size { width: 1920, height: 1080 };
const RATE: FrameRate = FrameRate::per_second(30);
/// What the figures of the encoder are for.
const ENCODED: [(Size, KbitPerSec); 2] = [(VGA, KbitPerSec(1500)), (HD, KbitPerSec(2500))];
/// One key picture in so many, to have enough of both kinds.
const KEY_EVERY: usize = 15;
const LEAST_RUNS: usize = 5;
const JPEG_QUALITY: i32 = 85;
const COLOUR: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };

#[derive(Serialize)]
struct Report {
    version: &'static str,
    architecture: &'static str,
    cores: usize,
    figures: Vec<Figure>,
    one_core: Vec<Capacity>,
}

/// One stage.
#[derive(Serialize)]
struct Figure {
    name: String,
    /// Median, microseconds of CPU time.
    cpu_us: f64,
    p95_us: f64,
    runs: usize,
    /// Median size of what came out, where that means something.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
}

/// What follows from the figures.
#[derive(Serialize)]
struct Capacity {
    work: String,
    pictures_per_second: f64,
}

pub fn run(json: bool, span: Duration) -> Result<()> {
    let report = measure(span)?;
    let text = if json { as_json(&report) } else { as_text(&report) };
    // a closed pipe (`| head`) is no failure worth a message
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

fn measure(span: Duration) -> Result<Report> {
    let mut figures = Vec::new();
    for size in [VGA, HD] {
        figures.extend(conversions(size, span)?);
    }
    figures.extend(overlays(span)?);
    for (size, rate) in ENCODED {
        figures.extend(encoding(size, rate, span)?);
    }
    figures.push(nv12_extra(span)?);
    for profile in SrtpProfile::ALL {
        figures.push(encryption(profile, span / 2)?);
    }
    let one_core = ENCODED.iter().flat_map(|(size, _)| capacities(&figures, *size)).collect();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    Ok(Report { version: env!("CARGO_PKG_VERSION"), architecture: std::env::consts::ARCH, cores, figures, one_core })
}

fn capacities(figures: &[Figure], size: Size) -> [Capacity; 2] {
    let cost = |name: String| figures.iter().find(|figure| figure.name == name).map_or(0.0, |figure| figure.cpu_us);
    let encode = cost(format!("encode {size}"));
    let others = [format!("mjpeg 4:2:2 {size}"), format!("logo 256x64 at {size}"), format!("packetise {size}")];
    let whole = encode + others.map(cost).iter().sum::<f64>();
    let per_second = |microseconds: f64| 1e6 / microseconds.max(0.001);
    [
        Capacity { work: format!("encode {size}"), pictures_per_second: per_second(encode) },
        Capacity { work: format!("mjpeg camera {size} with logo, to packets"), pictures_per_second: per_second(whole) },
    ]
}

/// From what cameras send to planar pictures.
fn conversions(size: Size, span: Duration) -> Result<Vec<Figure>> {
    let picture = Pattern::open(size)?.next()?;
    let mut figures = Vec::new();
    for (name, pixel_format, data) in [
        ("mjpeg 4:2:0", b"MJPG", jpeg(&picture, Subsamp::Sub2x2)?),
        ("mjpeg 4:2:2", b"MJPG", jpeg(&picture, Subsamp::Sub2x1)?),
        ("yuyv", b"YUYV", yuyv(&picture)),
    ] {
        let (mut converter, format) = Converter::for_pixel_format(pixel_format, size).ok_or_else(|| fail(name, ""))?;
        let mut frame = blank(format);
        converter.convert(&data, &mut frame).map_err(|error| fail(name, format!("{error:?}")))?;
        let mut samples = Samples::default();
        samples.repeat(span, 1, || converter.convert(&data, &mut frame).is_ok());
        figures.push(Figure { bytes: Some(data.len()), ..samples.figure(format!("{name} {size}")) });
    }
    Ok(figures)
}

fn overlays(span: Duration) -> Result<Vec<Figure>> {
    let logo = OverlayConfig::default();
    let text = OverlayConfig { kind: LayerKind::Text, ..OverlayConfig::default() };
    let mut figures = Vec::new();
    for size in [VGA, HD, FULL_HD] {
        figures.push(overlay(format!("logo 256x64 at {size}"), &logo, size, 0, span)?);
    }
    figures.push(overlay(format!("text line at {VGA}"), &text, VGA, 0, span)?);
    figures.push(overlay(format!("text line that changes at {VGA}"), &text, VGA, 1_000_000, span)?);
    Ok(figures)
}

/// `step_us`: how much later each picture is than the one before, on the wall clock.
fn overlay(name: String, config: &OverlayConfig, size: Size, step_us: u64, span: Duration) -> Result<Figure> {
    let mut compositor = Compositor::open(std::slice::from_ref(config))?;
    let mut frame = blank(PictureFormat::packed(Layout::I420, size, COLOUR));
    let mut wall = WallMicros(1_700_000_000_000_000);
    let mut draw = || {
        wall.0 += step_us;
        compositor.apply(&mut frame, &Moment { wall, host: "bench", fps: 30.0 });
    };
    // prepares the layer for the size
    draw();
    let mut samples = Samples::default();
    samples.repeat(span, 1, draw);
    Ok(samples.figure(name))
}

/// The pattern, the encoder on it, and the packets of what comes out, at the pace of a camera.
fn encoding(size: Size, bitrate: KbitPerSec, span: Duration) -> Result<Vec<Figure>> {
    let mut pattern = Pattern::open(size)?;
    let mut encoder = encoder(&PictureFormat::packed(Layout::I420, size, COLOUR), bitrate)?;
    let [mut drawn, mut keys, mut others, mut packets] = [(); 4].map(|()| Samples::default());
    let started = thread_cpu();
    let mut unit = AccessUnit::default();
    for number in 0.. {
        if thread_cpu() - started >= 2 * span && number > LEAST_RUNS * KEY_EVERY {
            break;
        }
        let frame = drawn.time(1, || pattern.next())?;
        if number % KEY_EVERY == 0 {
            encoder.force_key();
        }
        unit.bytes.clear();
        let (encoded, cost) = timed(|| encoder.encode(&frame, &mut unit));
        if encoded? == Encoded::Skipped || number == 0 {
            continue;
        }
        if unit.key { &mut keys } else { &mut others }.add(cost, unit.bytes.len());
        if !unit.key {
            packets.time(8, || (0..8).for_each(|_| drop(black_box(packetize(&unit)))));
        }
    }
    Ok(vec![
        drawn.figure(format!("pattern {size}")),
        keys.figure(format!("encode key picture {size}")),
        others.figure(format!("encode {size}")),
        packets.figure(format!("packetise {size}")),
    ])
}

/// What the encoder takes longer for NV12 than for planar chroma: both encode the same pictures.
fn nv12_extra(span: Duration) -> Result<Figure> {
    let formats = [Layout::I420, Layout::Nv12].map(|layout| PictureFormat::packed(layout, VGA, COLOUR));
    let [mut planar, mut semi_planar] = [encoder(&formats[0], ENCODED[0].1)?, encoder(&formats[1], ENCODED[0].1)?];
    let mut pattern = Pattern::open(VGA)?;
    let mut twin = blank(formats[1]);
    let mut unit = AccessUnit::default();
    let mut samples = Samples::default();
    let started = thread_cpu();
    while thread_cpu() - started < 2 * span || samples.nanoseconds.len() < LEAST_RUNS {
        let frame = pattern.next()?;
        interleave(&frame, &mut twin);
        let mut cost = |encoder: &mut dyn Encoder, frame: &Frame| {
            unit.bytes.clear();
            timed(|| encoder.encode(frame, &mut unit))
        };
        let (first, plain) = cost(&mut *planar, &frame);
        let (second, more) = cost(&mut *semi_planar, &twin);
        if first? == Encoded::Unit && second? == Encoded::Unit {
            samples.add(more.saturating_sub(plain), 0);
        }
    }
    Ok(samples.figure(format!("nv12 extra {VGA}")))
}

/// What encrypting a packet costs, as the report says it.
pub fn srtp_cost(span: Duration) -> Result<SrtpCost> {
    let cost = |profile| encryption(profile, span / 2).map(|figure| figure.cpu_us);
    Ok(SrtpCost { cm_us: cost(SrtpProfile::Cm)?, gcm_us: cost(SrtpProfile::Gcm)? })
}

/// One packet for one viewer, with one of the ciphers browsers choose from.
fn encryption(profile: SrtpProfile, span: Duration) -> Result<Figure> {
    let mut sealing = Sealing::new(profile)?;
    let mut samples = Samples::default();
    samples.repeat(span, 32, || sealing.seal(32));
    let name = match profile {
        SrtpProfile::Cm => "AES-CM-128 SHA1-80",
        SrtpProfile::Gcm => "AES-GCM-128",
    };
    Ok(samples.figure(format!("srtp {name}, packet of {MAX_PAYLOAD} bytes")))
}

/// CPU time of many runs of one stage.
#[derive(Default)]
struct Samples {
    nanoseconds: Vec<u64>,
    bytes: Vec<usize>,
}

impl Samples {
    /// Runs `work`, which does its thing `batch` times, over and over.
    fn repeat<T>(&mut self, span: Duration, batch: u64, mut work: impl FnMut() -> T) {
        let started = thread_cpu();
        while thread_cpu() - started < span || self.nanoseconds.len() < LEAST_RUNS {
            black_box(self.time(batch, &mut work));
        }
    }

    fn time<T>(&mut self, batch: u64, work: impl FnOnce() -> T) -> T {
        let (result, cost) = timed(work);
        self.nanoseconds.push(cost.as_nanos() as u64 / batch);
        result
    }

    fn add(&mut self, cost: Duration, bytes: usize) {
        self.nanoseconds.push(cost.as_nanos() as u64);
        self.bytes.push(bytes);
    }

    fn figure(mut self, name: String) -> Figure {
        self.nanoseconds.sort_unstable();
        self.bytes.sort_unstable();
        let at = |share: usize| self.nanoseconds.get(self.nanoseconds.len() * share / 100).copied().unwrap_or(0);
        let bytes = self.bytes.get(self.bytes.len() / 2).copied().filter(|bytes| *bytes > 0);
        let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        Figure { name, cpu_us: microseconds(at(50)), p95_us: microseconds(at(95)), runs: self.nanoseconds.len(), bytes }
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = thread_cpu();
    let result = work();
    (result, thread_cpu() - started)
}

/// The test pattern as fast as it can be drawn, its pictures stamped as if they came at the usual rate.
struct Pattern(Box<dyn Source>);

impl Pattern {
    fn open(size: Size) -> Result<Pattern> {
        let Size { width, height } = size;
        let camera = CameraConfig { source: SourceChoice::Pattern, width, height, ..CameraConfig::default() };
        // a clock that jumps where others wait
        let (clock, _) = Clock::test();
        capture::open(&camera, &clock).map(Pattern).map_err(|fault| fail("pattern", fault))
    }

    fn next(&mut self) -> Result<Frame> {
        match self.0.grab(Want::Picture, Duration::from_secs(1)) {
            Ok(Grab::Frame(frame)) => Ok(frame),
            Ok(_) => Err(fail("pattern", "no picture")),
            Err(fault) => Err(fail("pattern", fault)),
        }
    }
}

fn encoder(format: &PictureFormat, bitrate_kbps: KbitPerSec) -> Result<Box<dyn Encoder>> {
    encode::open(&EncoderConfig { bitrate_kbps, ..EncoderConfig::default() }, format, RATE)
}

fn blank(format: PictureFormat) -> Frame {
    let buffer = BufferPool::new(1, format.buffer_len()).take().expect("a new pool has its one buffer");
    Frame::pooled(format, Micros(0), 0, buffer)
}

fn jpeg(picture: &Frame, subsamp: Subsamp) -> Result<Vec<u8>> {
    let Size { width, height } = picture.format.size;
    let [y, u, v] = picture.planes();
    let row = width as usize / 2;
    let repeats = if subsamp == Subsamp::Sub2x2 { 1 } else { 2 };
    let tall = |plane: &[u8]| plane.chunks(row).flat_map(|chroma| chroma.repeat(repeats)).collect::<Vec<u8>>();
    let pixels = [y, &tall(u), &tall(v)].concat();
    let (width, height) = (width as usize, height as usize);
    let image = YuvImage { pixels: &pixels[..], width, align: 1, height, subsamp };
    turbojpeg::compress_yuv(image, JPEG_QUALITY).map(|data| data.to_vec()).map_err(|error| fail("JPEG", error))
}

fn yuyv(picture: &Frame) -> Vec<u8> {
    let [y, u, v] = picture.planes();
    let row = picture.format.size.width as usize;
    let packed = |(line, luma): (usize, &[u8])| -> Vec<u8> {
        let chroma = line / 2 * (row / 2);
        luma.chunks(2).enumerate().flat_map(|(at, two)| [two[0], u[chroma + at], two[1], v[chroma + at]]).collect()
    };
    y.chunks(row).enumerate().flat_map(packed).collect()
}

/// The same picture in NV12.
fn interleave(from: &Frame, to: &mut Frame) {
    to.captured_at = from.captured_at;
    let ([y, u, v], [to_y, to_uv, _]) = (from.planes(), to.planes_mut());
    to_y.copy_from_slice(y);
    for (pair, (u, v)) in to_uv.chunks_mut(2).zip(u.iter().zip(v)) {
        pair.copy_from_slice(&[*u, *v]);
    }
}

fn fail(what: &str, cause: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, format!("bench: {what}")).because(cause.to_string())
}

fn as_json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("plain strings and numbers always serialise") + "\n"
}

fn as_text(report: &Report) -> String {
    let mut text = format!(
        "rtcam {} on {} with {} cores: CPU time per picture, median of the runs\n\n{:<44}{:>12}{:>12}{:>9}{:>8}\n",
        report.version, report.architecture, report.cores, "stage", "CPU us", "p95", "bytes", "runs"
    );
    for Figure { name, cpu_us, p95_us, runs, bytes } in &report.figures {
        let bytes = bytes.map_or(String::new(), |bytes| bytes.to_string());
        push(&mut text, format_args!("{name:<44}{cpu_us:>12.2}{p95_us:>12.2}{bytes:>9}{runs:>8}"));
    }
    text.push_str("\nOne core could do, with nothing else to do:\n");
    for Capacity { work, pictures_per_second } in &report.one_core {
        push(&mut text, format_args!("{work:<48}{pictures_per_second:>8.0} pictures/s"));
    }
    text
}

fn push(text: &mut String, line: std::fmt::Arguments) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}
