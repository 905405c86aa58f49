//! A scripted V4L2 encoder for tests: it answers every call of `Device`, really encodes (with openh264), and misbehaves
//! on command.

use super::m2m_device::*;
use super::m2m_setup::{Machine, control};
use crate::clock::{Clock, TestHand};
use crate::media::mapping_sys::Mapping;
use crate::units::{FrameRate, Micros, Size};
use openh264::encoder as oh;
use openh264::formats::YUVBuffer;
use openh264::{OpenH264API, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const SPAN: usize = 1 << 20;
pub const M2M: u32 = 0x0400_8000;
pub const M2M_MPLANE: u32 = 0x0400_4000;

pub struct FakeCodec {
    pub clock: Clock,
    hand: TestHand,
    memory: std::fs::File,
    state: Mutex<State>,
}

pub struct State {
    pub caps: u32,
    pub coded: Vec<FourCc>,
    pub raw: Vec<FourCc>,
    pub controls: HashMap<u32, ControlRange>,
    /// Refused with EBUSY while it streams.
    pub busy: Vec<u32>,
    /// errno of every call of a name.
    pub refuse: HashMap<&'static str, i32>,
    /// Rows are this wide, heights rounded up like this.
    pub align: (u32, u32),
    /// SPS and PPS with every IDR, with the first only, or in a buffer of their own.
    pub header: Header,
    /// Every wait ends with EINTR.
    pub interrupted: bool,
    /// Pictures swallowed without a word.
    pub swallow: u32,
    /// The next coded buffer.
    pub next: Next,
    pub stamps: bool,
    pub granted: Option<u32>,
    /// What was called, in order.
    pub calls: Vec<String>,
    pub set: HashMap<u32, i32>,
    pub rate: Option<FrameRate>,
    pub crop: Option<Size>,
    wire: Option<WireFormat>,
    streaming: usize,
    queued: VecDeque<u32>,
    done: HashMap<Side, VecDeque<Done>>,
    encoder: Option<oh::Encoder>,
    pictures: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Header {
    Repeated,
    Once,
    Apart,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    Good,
    Failed,
    Pipe,
    Last,
    Unknown,
    RawFailed,
    /// One of an earlier picture comes first.
    Late,
}

impl FakeCodec {
    pub fn new(caps: u32, raw: &[&FourCc]) -> Arc<FakeCodec> {
        let (clock, hand) = Clock::test();
        let memory = rustix::fs::memfd_create("fake-codec", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let memory = std::fs::File::from(memory);
        memory.set_len((2 * 32 * MAX_PLANES * SPAN) as u64).unwrap();
        let wide = ControlRange { minimum: 0, maximum: i32::MAX };
        let all = [
            control::B_FRAMES,
            control::GOP_SIZE,
            control::BITRATE_MODE,
            control::BITRATE,
            control::FRAME_RC_ENABLE,
            control::HEADER_MODE,
            control::REPEAT_SEQ_HEADER,
            control::FORCE_KEY_FRAME,
            control::H264_ENTROPY_MODE,
            control::H264_I_PERIOD,
            control::H264_LEVEL,
            control::H264_PROFILE,
            control::PREPEND_SPSPPS_TO_IDR,
        ];
        let state = State {
            caps,
            coded: vec![*b"HEVC", *b"H264"],
            raw: raw.iter().map(|fourcc| **fourcc).collect(),
            controls: all.map(|id| (id, wide)).into(),
            busy: Vec::new(),
            refuse: HashMap::new(),
            interrupted: false,
            align: (1, 1),
            header: Header::Repeated,
            swallow: 0,
            next: Next::Good,
            stamps: true,
            granted: None,
            calls: Vec::new(),
            set: HashMap::new(),
            rate: None,
            crop: None,
            wire: None,
            streaming: 0,
            queued: VecDeque::new(),
            done: HashMap::new(),
            encoder: None,
            pictures: 0,
        };
        Arc::new(FakeCodec { clock, hand, memory, state: Mutex::new(state) })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A machine with a camera, which is no codec, and this.
    pub fn machine(self: &Arc<Self>) -> Machine {
        let (codec, camera) = (self.clone(), FakeCodec::new(0x0400_0001, &[]));
        let open = move |path: &std::path::Path| -> io::Result<Box<dyn Device>> {
            match path.to_str() {
                Some("/dev/video0") => Ok(Box::new(Handle(camera.clone()))),
                Some("/dev/video11") => Ok(Box::new(Handle(codec.clone()))),
                _ => Err(io::Error::from_raw_os_error(libc::EACCES)),
            }
        };
        let nodes = ["/dev/video0", "/dev/video5", "/dev/video11"].map(Into::into).to_vec();
        Machine { nodes, open: Box::new(open) }
    }

    fn enter(&self, call: &'static str, what: impl std::fmt::Display) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.calls.push(format!("{call} {what}"));
        match state.refuse.get(call) {
            Some(errno) => Err(io::Error::from_raw_os_error(*errno)),
            None => Ok(state),
        }
    }

    fn place(&self, side: Side, index: u32, plane: usize) -> usize {
        let half = if side == Side::Raw { 0 } else { 32 * MAX_PLANES };
        (half + index as usize * MAX_PLANES + plane) * SPAN
    }

    fn give(&self, state: &mut State, bytes: &[u8], timestamp: Micros, failed: bool, last: bool) {
        let index = state.queued.pop_front().expect("a buffer for the stream is queued");
        self.memory.write_all_at(bytes, self.place(Side::Coded, index, 0) as u64).unwrap();
        let timestamp = if state.stamps { timestamp } else { Micros::default() };
        let done = Done { index, data: (0, bytes.len()), timestamp, failed, last };
        state.done.entry(Side::Coded).or_default().push_back(done);
    }

    fn encode(&self, state: &mut State, index: u32, timestamp: Micros) {
        let picture = self.read(state.wire.as_ref().expect("S_FMT came before"), state.crop, index);
        if state.encoder.is_none() {
            let settings = oh::EncoderConfig::new()
                .usage_type(oh::UsageType::CameraVideoRealTime)
                .profile(oh::Profile::Baseline)
                .rate_control_mode(oh::RateControlMode::Off)
                .sps_pps_strategy(oh::SpsPpsStrategy::ConstantId)
                .num_threads(1)
                .scene_change_detect(false);
            let encoder = oh::Encoder::with_api_config(OpenH264API::from_source(), settings).unwrap();
            state.encoder = Some(encoder);
        }
        let encoder = state.encoder.as_mut().expect("it was just made");
        if state.set.remove(&control::FORCE_KEY_FRAME).is_some() {
            encoder.force_intra_frame();
        }
        state.pictures += 1;
        let unit = encoder.encode_at(&picture, Timestamp::from_millis(33 * state.pictures)).unwrap().to_vec();
        let idr = unit.windows(5).position(|five| five[..4] == [0, 0, 0, 1] && five[4] & 31 == 5);
        let (header, rest) = unit.split_at(idr.unwrap_or(0));
        let first = state.pictures == 1;
        match state.header {
            Header::Repeated => self.give(state, &unit, timestamp, false, false),
            Header::Once if first => self.give(state, &unit, timestamp, false, false),
            Header::Apart if first => {
                self.give(state, header, Micros::default(), false, false);
                self.give(state, rest, timestamp, false, false);
            }
            _ => self.give(state, rest, timestamp, false, false),
        }
    }

    fn read(&self, wire: &WireFormat, crop: Option<Size>, index: u32) -> YUVBuffer {
        let size = crop.unwrap_or(wire.size);
        let (width, height, rows) = (size.width as usize, size.height as usize, wire.size.height as usize);
        let line = wire.planes[0].0;
        let plane = |plane: usize, start: usize, stride: usize, width: usize, rows: usize, step: usize| {
            let mut out = Vec::with_capacity(width * rows);
            let mut bytes = vec![0; width * step];
            for row in 0..rows {
                let at = self.place(Side::Raw, index, plane) + start + row * stride;
                self.memory.read_exact_at(&mut bytes, at as u64).unwrap();
                out.extend(bytes.iter().step_by(step));
            }
            out
        };
        let (half, low) = (width / 2, height / 2);
        let (u, v) = match &wire.fourcc {
            b"NV12" => (plane(0, line * rows, line, half, low, 2), plane(0, line * rows + 1, line, half, low, 2)),
            b"NM12" => (plane(1, 0, wire.planes[1].0, half, low, 2), plane(1, 1, wire.planes[1].0, half, low, 2)),
            b"YU12" => {
                let (start, stride) = (line * rows, line / 2);
                (plane(0, start, stride, half, low, 1), plane(0, start + stride * (rows / 2), stride, half, low, 1))
            }
            _ => (plane(1, 0, wire.planes[1].0, half, low, 1), plane(2, 0, wire.planes[2].0, half, low, 1)),
        };
        YUVBuffer::from_vec([plane(0, 0, line, width, height, 1), u, v].concat(), width, height)
    }
}

struct Handle(Arc<FakeCodec>);

fn errno<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

impl Device for Handle {
    fn capability(&self) -> io::Result<(String, u32)> {
        Ok(("fake codec".into(), self.0.state().caps))
    }

    fn describe_format(&self, _: Api, side: Side, index: u32) -> io::Result<FourCc> {
        let state = self.0.state();
        let all = if side == Side::Raw { &state.raw } else { &state.coded };
        all.get(index as usize).copied().map_or_else(|| errno(libc::EINVAL), Ok)
    }

    fn set_format(&self, _: Api, side: Side, wanted: &WireFormat) -> io::Result<WireFormat> {
        let mut state = self.0.enter("set_format", format!("{side:?}"))?;
        let mut wire = wanted.clone();
        if side == Side::Coded {
            return Ok(wire);
        }
        let (stride, rows) = state.align;
        wire.size.height = wire.size.height.next_multiple_of(rows);
        let line = wire.size.width.next_multiple_of(stride) as usize;
        let rows = wire.size.height as usize;
        wire.planes = match &wire.fourcc {
            b"NM12" => vec![(line, line * rows), (line, line * rows / 2)],
            b"YM12" => vec![(line, line * rows), (line / 2, line * rows / 4), (line / 2, line * rows / 4)],
            _ => vec![(line, line * rows * 3 / 2)],
        };
        state.wire = Some(wire.clone());
        Ok(wire)
    }

    fn set_rate(&self, _: Api, rate: FrameRate) -> io::Result<()> {
        self.0.enter("set_rate", "")?.rate = Some(rate);
        Ok(())
    }

    fn set_crop(&self, _: Api, size: Size) -> io::Result<()> {
        self.0.enter("set_crop", "")?.crop = Some(size);
        Ok(())
    }

    fn control_range(&self, id: u32) -> io::Result<Option<ControlRange>> {
        let state = self.0.state();
        state.controls.get(&id).map_or_else(|| errno(libc::EINVAL), |range| Ok(Some(*range)))
    }

    fn set_control(&self, id: u32, value: i32) -> io::Result<()> {
        let mut state = self.0.enter("set_control", format!("{id:#x}"))?;
        let Some(range) = state.controls.get(&id).copied() else { return errno(libc::EINVAL) };
        if state.streaming > 0 && state.busy.contains(&id) {
            return errno(libc::EBUSY);
        }
        if !(range.minimum..=range.maximum).contains(&value) {
            return errno(libc::ERANGE);
        }
        state.set.insert(id, value);
        Ok(())
    }

    fn request_buffers(&self, _: Api, side: Side, count: u32) -> io::Result<u32> {
        let state = self.0.enter("request_buffers", format!("{side:?}"))?;
        Ok(state.granted.unwrap_or(count))
    }

    fn map(&self, _: Api, side: Side, index: u32, planes: usize) -> io::Result<Vec<Box<dyn PlaneMemory>>> {
        drop(self.0.enter("map", "")?);
        let map = |plane| -> io::Result<Box<dyn PlaneMemory>> {
            let at = self.0.place(side, index, plane) as u64;
            Ok(Box::new(Mapping::new(self.0.memory.as_fd(), SPAN, at)?))
        };
        (0..planes).map(map).collect()
    }

    fn queue(&self, _: Api, side: Side, index: u32, used: &[usize], timestamp: Micros) -> io::Result<()> {
        let mut state = self.0.enter("queue", format!("{side:?}"))?;
        if side == Side::Coded {
            assert!(!state.queued.contains(&index), "buffer {index} was queued twice");
            state.queued.push_back(index);
            return Ok(());
        }
        assert_eq!(used.len(), state.wire.as_ref().map_or(0, |wire| wire.planes.len()));
        if state.swallow > 0 {
            state.swallow -= 1;
            return Ok(());
        }
        let next = std::mem::replace(&mut state.next, Next::Good);
        let failed = next == Next::RawFailed;
        let done = Done { index, failed, ..Done::default() };
        state.done.entry(Side::Raw).or_default().push_back(done);
        match next {
            Next::Failed => self.0.give(&mut state, &[], timestamp, true, false),
            Next::Last => self.0.give(&mut state, &[], timestamp, false, true),
            Next::Pipe => {
                state.refuse.insert("dequeue", libc::EPIPE);
            }
            Next::Unknown => {
                let done = Done { index: 99, ..Done::default() };
                state.done.entry(Side::Coded).or_default().push_back(done);
            }
            Next::Late => {
                let old = timestamp - Duration::from_millis(33);
                self.0.give(&mut state, &[0, 0, 0, 1, 0x41, 1, 2, 3], old, false, false);
                self.0.encode(&mut state, index, timestamp);
            }
            Next::Good | Next::RawFailed => self.0.encode(&mut state, index, timestamp),
        }
        Ok(())
    }

    fn dequeue(&self, _: Api, side: Side) -> io::Result<Done> {
        let mut state = self.0.enter("dequeue", format!("{side:?}"))?;
        state.done.entry(side).or_default().pop_front().map_or_else(|| errno(libc::EAGAIN), Ok)
    }

    fn stream_on(&self, _: Api, side: Side) -> io::Result<()> {
        self.0.enter("stream_on", format!("{side:?}"))?.streaming += 1;
        Ok(())
    }

    fn stream_off(&self, _: Api, side: Side) -> io::Result<()> {
        let mut state = self.0.enter("stream_off", format!("{side:?}"))?;
        state.streaming -= 1;
        state.done.remove(&side);
        if side == Side::Coded {
            state.queued.clear();
            state.encoder = None;
        }
        Ok(())
    }

    fn wait(&self, timeout: Duration) -> io::Result<()> {
        let state = self.0.enter("wait", "")?;
        if state.done.values().all(VecDeque::is_empty) {
            self.0.hand.advance(timeout);
        }
        if state.interrupted { errno(libc::EINTR) } else { Ok(()) }
    }
}
