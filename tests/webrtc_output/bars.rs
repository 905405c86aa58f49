//! A stream of its own: a moving bar, encoded at 30 fps while somebody is subscribed.

use openh264::OpenH264API;
use openh264::encoder::{BitRate, Encoder, EncoderConfig, FrameRate, FrameType, RateControlMode};
use openh264::formats::YUVSlices;
use rtcam::clock::Clock;
use rtcam::media::h264::declare_constrained_baseline;
use rtcam::media::packet::AccessUnit;
use rtcam::stream::hub::{Bound, Hub};
use rtcam::stream::status::{CameraState, StreamStatus};
use rtcam::stream::{Stream, Subscription, Wake};
use rtcam::units::{KbitPerSec, Pts90k};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const WIDTH: usize = 320;
pub const HEIGHT: usize = 240;

pub struct Bars {
    shared: Arc<Shared>,
}

struct Shared {
    hub: Mutex<Hub<u64, Arc<AccessUnit>>>,
    wakers: Mutex<Vec<(u64, Arc<dyn Wake>)>>,
    key_wanted: AtomicBool,
    keys: AtomicU64,
    encoded: AtomicU64,
    next: AtomicU64,
    noise: AtomicBool,
    end: AtomicBool,
}

struct Ticket {
    key: u64,
    shared: Arc<Shared>,
}

impl Bars {
    pub fn start() -> Arc<Bars> {
        let shared = Arc::new(Shared {
            hub: Mutex::new(Hub::new(Bound { items: 30, bytes: 4 << 20 })),
            wakers: Mutex::default(),
            key_wanted: AtomicBool::new(true),
            keys: AtomicU64::new(0),
            encoded: AtomicU64::new(0),
            next: AtomicU64::new(0),
            noise: AtomicBool::new(false),
            end: AtomicBool::new(false),
        });
        let work = shared.clone();
        std::thread::spawn(move || encode(work));
        Arc::new(Bars { shared })
    }

    /// Key pictures so far.
    pub fn keys(&self) -> u64 {
        self.shared.keys.load(Ordering::Relaxed)
    }

    /// Pictures so far.
    pub fn encoded(&self) -> u64 {
        self.shared.encoded.load(Ordering::Relaxed)
    }

    pub fn is_watched(&self) -> bool {
        !self.shared.hub.lock().unwrap().is_empty()
    }

    /// Pictures of noise from now on, which cost what the bit rate allows.
    pub fn make_noise(&self) {
        self.shared.noise.store(true, Ordering::Relaxed);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
    }
}

fn encode(shared: Arc<Shared>) {
    let config = EncoderConfig::new()
        .max_frame_rate(FrameRate::from_hz(30.0))
        .bitrate(BitRate::from_bps(500_000))
        .rate_control_mode(RateControlMode::Bitrate);
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config).expect("encoder");
    let clock = Clock::system();
    let (mut y, chroma) = (vec![0u8; WIDTH * HEIGHT], vec![128u8; WIDTH * HEIGHT / 4]);
    let (mut number, mut seed) = (0u64, 1u32);
    while !shared.end.load(Ordering::Relaxed) {
        clock.sleep(Duration::from_millis(33));
        if shared.hub.lock().unwrap().is_empty() {
            continue;
        }
        for (at, value) in y.iter_mut().enumerate() {
            *value = if (at % WIDTH + number as usize * 4) % 80 < 40 { 200 } else { 60 };
            if shared.noise.load(Ordering::Relaxed) {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *value = (seed >> 24) as u8;
            }
        }
        if shared.key_wanted.swap(false, Ordering::Relaxed) {
            encoder.force_intra_frame();
        }
        let now = clock.now();
        let slices = YUVSlices::new((&y, &chroma, &chroma), (WIDTH, HEIGHT), (WIDTH, WIDTH / 2, WIDTH / 2));
        let stream = encoder.encode(&slices).expect("encode");
        let key = matches!(stream.frame_type(), FrameType::IDR);
        let mut bytes = stream.to_vec();
        declare_constrained_baseline(&mut bytes);
        let unit = AccessUnit {
            bytes,
            key,
            pts: Pts90k::from_capture(now),
            captured_at: now,
            overlaid_at: now,
            encoded_at: clock.now(),
            sequence: number,
            size: None,
        };
        number += 1;
        shared.keys.fetch_add(u64::from(key), Ordering::Relaxed);
        shared.encoded.fetch_add(1, Ordering::Relaxed);
        shared.hub.lock().unwrap().publish(&Arc::new(unit));
        shared.wakers.lock().unwrap().iter().for_each(|(_, waker)| waker.wake());
    }
}

impl Stream for Bars {
    fn subscribe(&self, waker: Arc<dyn Wake>) -> Box<dyn Subscription> {
        let key = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.shared.hub.lock().unwrap().join(key);
        self.shared.wakers.lock().unwrap().push((key, waker));
        self.shared.key_wanted.store(true, Ordering::Relaxed);
        Box::new(Ticket { key, shared: self.shared.clone() })
    }

    fn profile_level_id(&self) -> [u8; 3] {
        [0x42, 0xe0, 0x0d]
    }

    fn status(&self) -> StreamStatus {
        StreamStatus {
            camera: CameraState::Live,
            encoder: "test",
            bitrate: KbitPerSec(500),
            captured_fps: 30.0,
            encoded_fps: 30.0,
            encoded_kbps: 500.0,
            camera_opens: 1,
            ..StreamStatus::default()
        }
    }
}

impl Subscription for Ticket {
    fn take(&mut self) -> Option<Arc<AccessUnit>> {
        self.shared.hub.lock().unwrap().take(self.key)
    }
    fn request_key(&mut self) {
        self.shared.key_wanted.store(true, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.hub.lock().unwrap().leave(self.key);
        self.shared.wakers.lock().unwrap().retain(|(key, _)| *key != self.key);
    }
}
