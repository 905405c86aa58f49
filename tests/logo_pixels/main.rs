//! What a viewer decodes carries the logo exactly where and how the config says.
//!
//! The whole path: source, compositor, openh264, WebRTC, receiver, decoder. One picture carries a logo per position, so
//! each frame layout and colour needs one viewer only. What is expected is computed here, in floating point.
#![allow(clippy::disallowed_methods)]

mod camera;
mod expected;
#[path = "../receiver/mod.rs"]
mod receiver;

use expected::{Layer, Planes, Tone};
use receiver::{Options, Picture, Receiver};
use rtcam::clock::Clock;
use rtcam::config::{self, Config};
use rtcam::media::frame::{Colour, Layout, Matrix, PictureFormat, Range};
use rtcam::output::webrtc::WebRtc;
use rtcam::output::{Offer, ViewerDoor, ViewerEvent};
use rtcam::overlay::Compositor;
use rtcam::stream::pipeline::{Parts, Pipeline, Settings};
use rtcam::units::Size;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const SIZE: Size = Size { width: 640, height: 480 };
/// What codec noise may cost inside a logo.
const MEAN_ERROR: f64 = 3.0;
const PSNR_DB: f64 = 34.0;
/// A wrong picture must stay clearly below `PSNR_DB`.
const WRONG_PSNR_DB: f64 = 28.0;
/// The first picture of a stream is coarse, and what stands still stays as it is until the next key picture (one a
/// second here).
const PICTURES_TO_SETTLE: usize = 90;

/// One logo: the lines of its config, and what they mean.
struct Case {
    what: &'static str,
    lines: &'static str,
    layer: Layer,
}

const fn at(x: i32, y: i32) -> Layer {
    Layer { x, y, scale: 1.0, opacity: 1.0, tone: Tone::Colour }
}

const WIDTH: i32 = SIZE.width as i32;
const HEIGHT: i32 = SIZE.height as i32;
const LOGO_WIDTH: i32 = expected::LOGO.0 as i32;
const LOGO_HEIGHT: i32 = expected::LOGO.1 as i32;

const CASES: &[Case] = &[
    Case { what: "top left", lines: "corner = 'top-left'", layer: at(16, 16) },
    Case { what: "top right", lines: "corner = 'top-right'", layer: at(WIDTH - LOGO_WIDTH - 16, 16) },
    Case {
        what: "bottom left, an odd margin",
        lines: "corner = 'bottom-left'\nmargin = 7",
        layer: at(7, HEIGHT - LOGO_HEIGHT - 7),
    },
    Case {
        what: "bottom right, no margin",
        lines: "corner = 'bottom-right'\nmargin = 0",
        layer: at(WIDTH - LOGO_WIDTH, HEIGHT - LOGO_HEIGHT),
    },
    Case { what: "odd x, odd y", lines: "x = 201\ny = 101", layer: at(201, 101) },
    Case { what: "even x, odd y", lines: "x = 302\ny = 121", layer: at(302, 121) },
    Case { what: "odd x, even y", lines: "x = 403\ny = 80", layer: at(403, 80) },
    Case { what: "partly left of the picture", lines: "x = -21\ny = 200", layer: at(-21, 200) },
    Case { what: "partly right of the picture", lines: "x = 611\ny = 231", layer: at(611, 231) },
    Case { what: "partly above the picture", lines: "x = 220\ny = -9", layer: at(220, -9) },
    Case { what: "partly below the picture", lines: "x = 281\ny = 455", layer: at(281, 455) },
    Case { what: "half its size", lines: "x = 501\ny = 201\nscale = 0.5", layer: Layer { scale: 0.5, ..at(501, 201) } },
    Case { what: "twice its size", lines: "x = 99\ny = 260\nscale = 2.0", layer: Layer { scale: 2.0, ..at(99, 260) } },
    Case {
        what: "half transparent",
        lines: "x = 300\ny = 301\nopacity = 0.5",
        layer: Layer { opacity: 0.5, ..at(300, 301) },
    },
    Case { what: "grey", lines: "x = 421\ny = 301\ntone = 'grey'", layer: Layer { tone: Tone::Grey, ..at(421, 301) } },
    Case {
        what: "grey and half transparent",
        lines: "x = 521\ny = 340\ntone = 'grey'\nopacity = 0.5",
        layer: Layer { tone: Tone::Grey, opacity: 0.5, ..at(521, 340) },
    },
];

fn config(logo: &Path) -> Config {
    let mut text = String::from("[encoder]\nbitrate_kbps = 20000\nkey_interval_s = 1\n[webrtc]\nudp_port = 0\n");
    for case in CASES {
        write!(text, "[[overlay]]\ntype = 'logo'\nfile = '{}'\n{}\n", logo.display(), case.lines).unwrap();
    }
    config::parse("test.toml", &text, &[]).expect("a good config")
}

/// The daemon's own parts around a camera of ours.
fn start(format: PictureFormat, logo: &Path) -> (Arc<Pipeline>, Arc<WebRtc>) {
    let config = config(logo);
    let clock = Clock::system();
    let compositor = Compositor::open(&config.overlays).expect("the logo opens");
    let encoder = config.encoder.clone();
    let parts = Parts {
        open_source: camera::opener(format, clock.clone()),
        open_encoder: Arc::new(move |format, rate, _| rtcam::encode::open(&encoder, format, rate)),
        overlay: Box::new(compositor),
    };
    let pipeline = Arc::new(Pipeline::start(Settings::new(&config, "host"), parts, clock.clone()).expect("starts"));
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let door = WebRtc::start(&config.webrtc, local, pipeline.clone(), clock).expect("starts");
    (pipeline, door)
}

async fn join(door: &WebRtc) -> (Receiver, mpsc::Receiver<ViewerEvent>) {
    let receiver = Receiver::offer(Options::default()).await;
    let (events, events_out) = mpsc::channel(8);
    let reply = door.offer(Offer { sdp: receiver.sdp.clone(), from: Ipv4Addr::LOCALHOST.into(), events });
    let answer = reply.await.expect("an answer comes").expect("the offer is good");
    receiver.answer(&answer.sdp).await;
    (receiver, events_out)
}

/// Error and PSNR of the worst plane within a layer's rectangle.
#[derive(Clone, Copy, Debug)]
struct Fit {
    mean_error: f64,
    psnr_db: f64,
}

impl Fit {
    fn of(picture: &Picture, expected: &Planes, layer: &Layer) -> Fit {
        let planes = [&picture.y, &picture.u, &picture.v];
        let fits = (0..3).map(|plane| {
            let (columns, rows) = layer.rectangle(plane, SIZE);
            let stride = expected.width(plane);
            let places = rows.flat_map(|row| columns.clone().map(move |column| row * stride + column));
            let errors: Vec<f64> =
                places.map(|at| (f64::from(planes[plane][at]) - expected.planes[plane][at]).abs()).collect();
            let count = errors.len() as f64;
            let square = errors.iter().map(|error| error * error).sum::<f64>() / count;
            let psnr_db = 10.0 * (255.0f64.powi(2) / square.max(1e-9)).log10();
            Fit { mean_error: errors.iter().sum::<f64>() / count, psnr_db }
        });
        fits.reduce(|a, b| Fit { mean_error: a.mean_error.max(b.mean_error), psnr_db: a.psnr_db.min(b.psnr_db) })
            .expect("three planes")
    }

    fn is_good(&self) -> bool {
        self.mean_error <= MEAN_ERROR && self.psnr_db >= PSNR_DB
    }
}

/// The cases whose logo does not look as it must.
fn misfits(picture: &Picture, expected: &Planes) -> Vec<String> {
    let fits = CASES.iter().map(|case| (case.what, Fit::of(picture, expected, &case.layer)));
    fits.filter(|(_, fit)| !fit.is_good()).map(|(what, fit)| format!("{what}: {fit:?}")).collect()
}

async fn check(format: PictureFormat, logo: &Path) {
    let (pipeline, door) = start(format, logo);
    let (mut receiver, _events) = join(&door).await;
    let bare = Planes::background(SIZE);
    let expected = bare.with(CASES.iter().map(|case| &case.layer), (0, 0), format.colour);
    let mut bad = Vec::new();
    let mut settled = None;
    for _ in 0..PICTURES_TO_SETTLE {
        let picture = receiver.picture("with logos").await;
        assert_eq!((picture.width, picture.height), (SIZE.width as usize, SIZE.height as usize));
        bad = misfits(&picture, &expected);
        if bad.is_empty() {
            settled = Some(picture);
            break;
        }
    }
    let picture = settled.unwrap_or_else(|| panic!("{format:?}:\n{}", bad.join("\n")));
    // outside the logos nothing is changed
    let everything = Layer { x: 0, y: 0, scale: 20.0, opacity: 1.0, tone: Tone::Colour };
    let whole = Fit::of(&picture, &expected, &everything);
    assert!(whole.is_good(), "{format:?}: the whole picture: {whole:?}");
    let mut wrong = vec![("without a logo".to_string(), bare.clone())];
    for shift in [(2, 0), (-2, 0), (0, 2), (0, -2)] {
        let shifted = bare.with(CASES.iter().map(|case| &case.layer), shift, format.colour);
        wrong.push((format!("moved by {shift:?}"), shifted));
    }
    for (how, wrong) in &wrong {
        for case in CASES {
            let fit = Fit::of(&picture, wrong, &case.layer);
            assert!(fit.psnr_db < WRONG_PSNR_DB, "{}: {how} would pass as well: {fit:?}", case.what);
        }
    }
    receiver.close().await;
    door.stop(&Clock::system(), Duration::from_secs(2));
    pipeline.stop(Duration::from_secs(2));
}

async fn check_all_colours(layout: Layout) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let logo = folder.path().join("logo.png");
    std::fs::write(&logo, expected::logo_png()).expect("writable");
    for matrix in [Matrix::Bt601, Matrix::Bt709] {
        for range in [Range::Limited, Range::Full] {
            check(camera::padded(layout, SIZE, Colour { matrix, range }), &logo).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logos_on_nv12_pictures_reach_the_viewer_where_and_how_the_config_says() {
    check_all_colours(Layout::Nv12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logos_on_i420_pictures_reach_the_viewer_where_and_how_the_config_says() {
    check_all_colours(Layout::I420).await;
}

/// Alpha and matrix are told apart too: the same picture blended by other rules does not pass.
#[test]
fn the_rules_of_blending_differ_by_more_than_the_tolerance() {
    let colour = |matrix, range| Colour { matrix, range };
    let bare = Planes::background(SIZE);
    let with = |layer: Layer, colour| bare.with([layer].iter(), (0, 0), colour);
    let base = colour(Matrix::Bt601, Range::Limited);
    let layer = at(100, 100);
    let right = with(layer, base);
    let seen = right.as_picture();
    assert!(Fit::of(&seen, &right, &layer).is_good());
    for (what, wrong) in [
        ("another matrix", with(layer, colour(Matrix::Bt709, Range::Limited))),
        ("another range", with(layer, colour(Matrix::Bt601, Range::Full))),
        ("another tone", with(Layer { tone: Tone::Grey, ..layer }, base)),
        ("another opacity", with(Layer { opacity: 0.9, ..layer }, base)),
        ("another scale", with(Layer { scale: 1.05, ..layer }, base)),
        ("moved by one pixel", with(at(101, 100), base)),
    ] {
        let fit = Fit::of(&seen, &wrong, &layer);
        assert!(!fit.is_good(), "{what}: {fit:?}");
    }
}
