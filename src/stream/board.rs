//! The pipeline's own account of itself: counters, beats, rates of the last second, the camera's state.
//!
//! Owns what `StreamStatus` is made of. Updates on the frame path are atomics and one uncontended lock; must never
//! allocate there. Input: the capture thread and the encode thread.

use super::status::{CameraState, StreamStatus};
use crate::capture::{Fault, FaultKind, SourceInfo};
use crate::units::{KbitPerSec, Micros};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A camera that gave no sign for this long is called silent by the capture thread; when even that thread says nothing
/// for a little longer, it hangs in the driver.
pub(super) const SILENCE: Duration = Duration::from_secs(2);
pub(super) const HANGING: Duration = Duration::from_millis(2500);

/// Pictures of one second at the highest rate the config allows.
const SAMPLES: usize = 256;

#[derive(Default)]
pub(super) struct Board {
    camera: Mutex<Camera>,
    captured: Mutex<Meter>,
    encoded: Mutex<Meter>,
    encoder: Mutex<&'static str>,
    pub captured_total: AtomicU64,
    pub capture_dropped: AtomicU64,
    pub encoded_total: AtomicU64,
    pub encoder_skipped: AtomicU64,
    pub encoder_copied: AtomicU64,
    pub key_pictures: AtomicU64,
    pub camera_opens: AtomicU64,
    capture_beat: AtomicU64,
    encode_beat: AtomicU64,
    profile_level_id: AtomicU32,
}

#[derive(Default)]
struct Camera {
    state: CameraState,
    changed_at: Micros,
    source: Option<SourceInfo>,
}

/// One encoded picture, for the rates and medians of the last second.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub at: Micros,
    pub bytes: usize,
    /// Capture to overlay done, overlay to encoder done.
    pub overlay: Duration,
    pub encode: Duration,
}

impl Board {
    pub fn new(now: Micros) -> Board {
        let board = Board::default();
        board.capture_beat(now);
        board.encode_beat(now);
        lock(&board.camera).changed_at = now;
        board
    }

    pub fn capture_beat(&self, now: Micros) {
        self.capture_beat.store(now.0, Ordering::Relaxed);
    }

    pub fn encode_beat(&self, now: Micros) {
        self.encode_beat.store(now.0, Ordering::Relaxed);
    }

    pub fn source_opened(&self, info: SourceInfo) {
        lock(&self.camera).source = Some(info);
    }

    /// A picture came from the camera, wanted or not.
    pub fn captured(&self, now: Micros) {
        self.capture_beat(now);
        self.captured_total.fetch_add(1, Ordering::Relaxed);
        lock(&self.captured).add(Sample { at: now, bytes: 0, overlay: Duration::ZERO, encode: Duration::ZERO });
    }

    pub fn captured_fps(&self, now: Micros) -> f64 {
        lock(&self.captured).per_second(now)
    }

    pub fn encoded(&self, sample: Sample, key: bool) {
        self.encoded_total.fetch_add(1, Ordering::Relaxed);
        self.key_pictures.fetch_add(u64::from(key), Ordering::Relaxed);
        lock(&self.encoded).add(sample);
    }

    pub fn live(&self, now: Micros) {
        let mut camera = lock(&self.camera);
        (camera.state, camera.changed_at) = (CameraState::Live, now);
    }

    pub fn away(&self, fault: &Fault, since: Micros, attempts: u32, now: Micros) {
        let state = CameraState::Away { kind: fault.kind, detail: fault.detail.clone(), since, attempts };
        let mut camera = lock(&self.camera);
        (camera.state, camera.changed_at) = (state, now);
    }

    /// Shows the camera's state as it is at `now` to `look`. `starved_since`: since when pictures are wanted and none
    /// came (None when none are wanted).
    pub fn look_at_camera<T>(
        &self,
        now: Micros,
        starved_since: Option<Micros>,
        look: impl FnOnce(&CameraState, Option<&SourceInfo>) -> T,
    ) -> T {
        let camera = lock(&self.camera);
        let beat = Micros(self.capture_beat.load(Ordering::Relaxed));
        let starved = starved_since.is_some_and(|since| now.since(since.max(camera.changed_at)) >= HANGING);
        if camera.state == CameraState::Live && (starved || now.since(beat) >= HANGING) {
            look(&hanging(camera.source.as_ref(), beat), camera.source.as_ref())
        } else {
            look(&camera.state, camera.source.as_ref())
        }
    }

    pub fn set_encoder(&self, name: &'static str) {
        *lock(&self.encoder) = name;
    }

    pub fn set_profile_level_id(&self, id: [u8; 3]) {
        self.profile_level_id.store(u32::from_be_bytes([0, id[0], id[1], id[2]]), Ordering::Relaxed);
    }

    pub fn profile_level_id(&self) -> [u8; 3] {
        let [_, profile, flags, level] = self.profile_level_id.load(Ordering::Relaxed).to_be_bytes();
        [profile, flags, level]
    }

    pub fn status(&self, now: Micros, bitrate: KbitPerSec, subscribers: usize) -> StreamStatus {
        let (camera, source) = self.look_at_camera(now, None, |state, source| (state.clone(), source.cloned()));
        let encoded = lock(&self.encoded);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StreamStatus {
            camera,
            source,
            encoder: *lock(&self.encoder),
            bitrate,
            captured_fps: self.captured_fps(now),
            encoded_fps: encoded.per_second(now),
            encoded_kbps: encoded.kbit_per_second(now),
            captured: count(&self.captured_total),
            capture_dropped: count(&self.capture_dropped),
            encoded: count(&self.encoded_total),
            encoder_skipped: count(&self.encoder_skipped),
            encoder_copied: count(&self.encoder_copied),
            key_pictures: count(&self.key_pictures),
            camera_opens: count(&self.camera_opens),
            overlay_time: encoded.median(now, |sample| sample.overlay),
            encode_time: encoded.median(now, |sample| sample.encode),
            subscribers,
            capture_beat: Micros(count(&self.capture_beat)),
            encode_beat: Micros(count(&self.encode_beat)),
        }
    }
}

fn hanging(source: Option<&SourceInfo>, beat: Micros) -> CameraState {
    let name = source.map_or("the camera", |source| &source.name);
    CameraState::Away {
        kind: FaultKind::Silent,
        detail: format!("{name}: the driver does not answer"),
        since: beat,
        attempts: 0,
    }
}

#[derive(Default)]
struct Meter {
    /// Oldest first.
    samples: VecDeque<Sample>,
}

impl Meter {
    fn add(&mut self, sample: Sample) {
        if self.samples.capacity() == 0 {
            self.samples.reserve_exact(SAMPLES);
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    fn last_second(&self, now: Micros) -> impl Iterator<Item = &Sample> {
        self.samples.iter().rev().take_while(move |sample| now.since(sample.at) < Duration::from_secs(1))
    }

    fn per_second(&self, now: Micros) -> f64 {
        self.last_second(now).count() as f64
    }

    fn kbit_per_second(&self, now: Micros) -> f64 {
        self.last_second(now).map(|sample| sample.bytes).sum::<usize>() as f64 * 8.0 / 1000.0
    }

    fn median(&self, now: Micros, of: impl Fn(&Sample) -> Duration) -> Duration {
        let mut values: Vec<_> = self.last_second(now).map(of).collect();
        let middle = values.len() / 2;
        if values.is_empty() { Duration::ZERO } else { *values.select_nth_unstable(middle).1 }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Micros = Micros(10_000_000);

    fn status(board: &Board, now: Micros) -> StreamStatus {
        board.status(now, KbitPerSec(1500), 1)
    }

    #[test]
    fn rates_and_medians_are_those_of_the_last_second() {
        let board = Board::new(START);
        for number in 0..90u64 {
            let at = START + Duration::from_millis(20 * number);
            board.captured(at);
            let encode = Duration::from_micros(if number % 2 == 0 { 300 } else { 900 + number });
            board.encoded(Sample { at, bytes: 500, overlay: Duration::from_micros(70), encode }, number == 0);
        }
        let status = status(&board, START + Duration::from_millis(20 * 89));
        assert_eq!((status.captured, status.encoded, status.key_pictures), (90, 90, 1));
        assert_eq!((status.captured_fps, status.encoded_fps, status.encoded_kbps), (50.0, 50.0, 200.0));
        assert_eq!(status.overlay_time, Duration::from_micros(70));
        assert!(status.encode_time >= Duration::from_micros(300));
    }

    #[test]
    fn a_thread_that_hangs_in_the_driver_is_a_silent_camera() {
        let board = Board::new(START);
        board.live(START);
        board.captured(START);
        assert_eq!(status(&board, START + SILENCE).camera, CameraState::Live);
        let later = status(&board, START + HANGING).camera;
        assert!(matches!(later, CameraState::Away { kind: FaultKind::Silent, since: START, .. }), "{later:?}");
        board.captured(START + HANGING);
        assert_eq!(status(&board, START + HANGING).camera, CameraState::Live);
    }

    #[test]
    fn pictures_that_never_reach_the_encoder_are_noticed() {
        let board = Board::new(START);
        board.live(START);
        let now = START + HANGING;
        board.captured(now);
        assert!(board.look_at_camera(now, Some(START), |camera, _| *camera != CameraState::Live));
        assert!(board.look_at_camera(now, None, |camera, _| *camera == CameraState::Live));
    }

    #[test]
    fn more_pictures_than_the_meter_holds_keep_it_at_its_size() {
        let board = Board::new(START);
        (0..10_000).for_each(|_| board.captured(START));
        let meter = lock(&board.captured);
        assert_eq!((meter.samples.len(), meter.samples.capacity()), (SAMPLES, SAMPLES));
    }
}
