//! A scripted camera for tests: it answers every call of `Device`, moves buffers like a driver, and fails on command.
//!
//! Its buffers are shared memory with a name of their own, so that tests can count what is still open or mapped.

use crate::capture::v4l2_device::*;
use crate::capture::v4l2_fake_controls::FakeControls;
use crate::capture::v4l2_format;
use crate::capture::v4l2_select::Machine;
use crate::clock::{Clock, TestHand};
use crate::media::mapping_sys::Mapping;
use crate::units::{FrameRate, Micros, Size};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const SPAN: usize = 1 << 20;
pub const CAPTURE: u32 = 0x0400_0001;
pub const CAPTURE_MPLANE: u32 = 0x0400_1000;

pub struct FakeFormat {
    pub fourcc: FourCc,
    pub sizes: Vec<SizeRange>,
    /// Rates at a size; None: at every size.
    pub rates: Vec<(Option<Size>, RateRange)>,
}

/// What a filled buffer holds and says.
#[derive(Clone)]
pub struct Filled {
    pub bytes: Vec<u8>,
    pub index: Option<u32>,
    pub damaged: bool,
    pub timestamp: Option<Micros>,
}

impl Filled {
    pub fn of(byte: u8) -> Filled {
        Filled { bytes: vec![byte; SPAN], index: None, damaged: false, timestamp: None }
    }
}

/// The camera itself; it outlives its open handles.
pub struct FakeCamera {
    pub name: String,
    pub clock: Clock,
    pub hand: TestHand,
    state: Mutex<State>,
}

pub struct State {
    pub caps: u32,
    pub card: String,
    pub formats: Vec<FakeFormat>,
    /// Changes what S_FMT answers.
    pub adjust: fn(&mut WireFormat),
    pub wire: WireFormat,
    pub granted: u32,
    pub exports: bool,
    /// errno of every call of a name, until taken out again.
    pub refuse: HashMap<&'static str, i32>,
    /// errno of the n-th call from now, whatever it is.
    pub fail_call: Option<(u32, i32)>,
    pub ready: Ready,
    pub event: bool,
    pub controls: FakeControls,
    /// Fill one buffer at every wait.
    pub live: bool,
    pub next: Filled,
    pub queued: VecDeque<u32>,
    pub done: VecDeque<(u32, Filled, u32)>,
    pub sequence: u32,
    pub rate_asked: Option<(BufferKind, FrameRate)>,
    pub formats_asked: Vec<(FourCc, Size)>,
    pub handles: u32,
    pub calls: u32,
    memory: Option<Arc<std::fs::File>>,
}

static CAMERAS: AtomicU64 = AtomicU64::new(0);

impl FakeCamera {
    pub fn new(formats: Vec<FakeFormat>) -> Arc<FakeCamera> {
        let (clock, hand) = Clock::test();
        let wire = WireFormat::wanted(FourCc(*b"NONE"), Size { width: 0, height: 0 });
        let state = State {
            caps: CAPTURE,
            card: "Fake Camera".into(),
            formats,
            adjust: |_| {},
            wire,
            granted: u32::MAX,
            exports: true,
            refuse: HashMap::new(),
            fail_call: None,
            ready: Ready::default(),
            event: false,
            controls: FakeControls::default(),
            live: false,
            next: Filled::of(1),
            queued: VecDeque::new(),
            done: VecDeque::new(),
            sequence: 0,
            rate_asked: None,
            formats_asked: Vec::new(),
            handles: 0,
            calls: 0,
            memory: None,
        };
        let name = format!("fake-camera-{}.", CAMERAS.fetch_add(1, Ordering::Relaxed));
        Arc::new(FakeCamera { name, clock, hand, state: Mutex::new(state) })
    }

    /// One format, 640x480 at 30 fps.
    pub fn simple(fourcc: &[u8; 4]) -> Arc<FakeCamera> {
        FakeCamera::new(vec![format(fourcc, &[(640, 480)], &[30])])
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn refuse(&self, call: &'static str, errno: i32) {
        self.state().refuse.insert(call, errno);
    }

    /// A machine whose only node is this camera.
    pub fn machine(self: &Arc<Self>) -> Machine {
        let camera = self.clone();
        Machine {
            dev: "/nonexistent".into(),
            sys: "/nonexistent".into(),
            proc: "/nonexistent".into(),
            open: Box::new(move |_: &Path| camera.open_handle()),
        }
    }

    pub fn open_handle(self: &Arc<Self>) -> io::Result<Arc<dyn Device>> {
        self.enter("open")?;
        let memory = Arc::new(std::fs::File::from(rustix::fs::memfd_create(
            self.name.as_str(),
            rustix::fs::MemfdFlags::CLOEXEC,
        )?));
        memory.set_len((32 * MAX_PLANES * SPAN) as u64)?;
        let mut state = self.state();
        state.handles += 1;
        state.memory = Some(memory.clone());
        Ok(Arc::new(Handle { camera: self.clone(), memory }))
    }

    /// The driver fills the next queued buffer; false when none is queued.
    pub fn fill(&self, filled: Filled) -> bool {
        let mut state = self.state();
        let Some(index) = state.queued.pop_front() else {
            return false;
        };
        if let Some(memory) = &state.memory {
            for plane in 0..state.wire.plane_count.min(MAX_PLANES) {
                memory.write_all_at(&filled.bytes, place(index, plane) as u64).unwrap();
            }
        }
        state.sequence += 1;
        let sequence = state.sequence;
        state.done.push_back((filled.index.unwrap_or(index), filled, sequence));
        true
    }

    /// Descriptors and mappings of this camera's memory that are still there.
    pub fn leftovers(&self) -> (usize, usize) {
        let fds = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let named = |path: std::path::PathBuf| path.to_string_lossy().contains(&self.name);
        let open = fds.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(named)).count();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        (open, maps.lines().filter(|line| line.contains(&self.name)).count())
    }

    pub fn enter(&self, call: &'static str) -> io::Result<()> {
        let mut state = self.state();
        state.calls += 1;
        let due = match &mut state.fail_call {
            Some((0, errno)) => Some(*errno),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        if due.is_some() {
            state.fail_call = None;
        }
        match due.or(state.refuse.get(call).copied()) {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }
}

pub fn format(fourcc: &[u8; 4], sizes: &[(u32, u32)], fps: &[u32]) -> FakeFormat {
    let sizes = sizes.iter().map(|&(width, height)| SizeRange::Discrete(Size { width, height })).collect();
    let rates = fps.iter().map(|&fps| (None, RateRange::Discrete(FrameRate::per_second(fps)))).collect();
    FakeFormat { fourcc: FourCc(*fourcc), sizes, rates }
}

fn place(index: u32, plane: usize) -> usize {
    (index as usize * MAX_PLANES + plane) * SPAN
}

pub fn errno<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

pub struct Handle {
    pub camera: Arc<FakeCamera>,
    memory: Arc<std::fs::File>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.camera.state();
        state.handles -= 1;
        state.queued.clear();
        state.done.clear();
        state.memory = None;
        // subscriptions belong to the open file
        state.controls.forget_listeners();
    }
}

impl Device for Handle {
    fn capability(&self) -> io::Result<Capability> {
        self.camera.enter("capability")?;
        let state = self.camera.state();
        Ok(Capability {
            driver: "fake".into(),
            card: state.card.clone(),
            bus: "platform:fake".into(),
            caps: state.caps,
        })
    }

    fn describe_format(&self, _: BufferKind, index: u32) -> io::Result<FormatDescription> {
        self.camera.enter("describe_format")?;
        let state = self.camera.state();
        let Some(format) = state.formats.get(index as usize) else {
            return errno(libc::EINVAL);
        };
        Ok(FormatDescription { fourcc: format.fourcc, text: format!("{} pictures", format.fourcc) })
    }

    fn frame_sizes(&self, fourcc: FourCc, index: u32) -> io::Result<SizeRange> {
        self.camera.enter("frame_sizes")?;
        let state = self.camera.state();
        let format = state.formats.iter().find(|format| format.fourcc == fourcc);
        format
            .and_then(|format| format.sizes.get(index as usize).copied())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn frame_rates(&self, fourcc: FourCc, size: Size, index: u32) -> io::Result<RateRange> {
        self.camera.enter("frame_rates")?;
        let state = self.camera.state();
        let format = state.formats.iter().find(|format| format.fourcc == fourcc);
        let rates = format.into_iter().flat_map(|format| &format.rates);
        let mut here = rates.filter(|(at, _)| at.is_none_or(|at| at == size)).map(|(_, rate)| *rate);
        here.nth(index as usize).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn format(&self, _: BufferKind) -> io::Result<WireFormat> {
        self.camera.enter("format")?;
        Ok(self.camera.state().wire)
    }

    fn set_format(&self, _: BufferKind, wanted: &WireFormat) -> io::Result<WireFormat> {
        self.camera.state().formats_asked.push((wanted.fourcc, wanted.size));
        self.camera.enter("set_format")?;
        let mut state = self.camera.state();
        let mut wire = *wanted;
        let chroma = if wanted.fourcc == FourCc(*b"YM12") { wanted.size.width / 2 } else { wanted.size.width };
        wire.planes[0].bytes_per_line = match v4l2_format::known(wanted.fourcc).map(|format| format.arrangement) {
            Some(v4l2_format::Arrangement::Yuyv | v4l2_format::Arrangement::Uyvy) => 2 * wanted.size.width,
            _ => wanted.size.width,
        };
        wire.planes[1].bytes_per_line = chroma;
        wire.planes[2].bytes_per_line = chroma;
        (state.adjust)(&mut wire);
        state.wire = wire;
        Ok(wire)
    }

    fn set_rate(&self, kind: BufferKind, wanted: FrameRate) -> io::Result<Option<FrameRate>> {
        self.camera.enter("set_rate")?;
        self.camera.state().rate_asked = Some((kind, wanted));
        Ok(Some(wanted))
    }

    fn request_buffers(&self, _: BufferKind, count: u32) -> io::Result<u32> {
        self.camera.enter("request_buffers")?;
        let mut state = self.camera.state();
        state.queued.clear();
        state.done.clear();
        Ok(count.min(state.granted))
    }

    fn buffer_memory(&self, _: BufferKind, index: u32, _: usize) -> io::Result<[PlaneMemory; MAX_PLANES]> {
        self.camera.enter("buffer_memory")?;
        Ok([0, 1, 2].map(|plane| PlaneMemory { length: SPAN, offset: place(index, plane) as u32 }))
    }

    fn map(&self, memory: PlaneMemory) -> io::Result<Mapping> {
        self.camera.enter("map")?;
        Mapping::new(self.memory.as_fd(), memory.length, u64::from(memory.offset))
    }

    fn export(&self, _: BufferKind, _: u32, _: usize) -> io::Result<OwnedFd> {
        self.camera.enter("export")?;
        if !self.camera.state().exports {
            return errno(libc::ENOTTY);
        }
        Ok(self.memory.try_clone()?.into())
    }

    fn queue(&self, _: BufferKind, index: u32) -> io::Result<()> {
        self.camera.enter("queue")?;
        let mut state = self.camera.state();
        assert!(!state.queued.contains(&index), "buffer {index} was queued twice");
        state.queued.push_back(index);
        Ok(())
    }

    fn dequeue(&self, _: BufferKind) -> io::Result<Dequeued> {
        self.camera.enter("dequeue")?;
        let mut state = self.camera.state();
        let Some((index, filled, sequence)) = state.done.pop_front() else {
            return errno(libc::EAGAIN);
        };
        Ok(Dequeued {
            index,
            data: [(0, filled.bytes.len()); MAX_PLANES],
            damaged: filled.damaged,
            timestamp: filled.timestamp,
            sequence,
        })
    }

    fn stream_on(&self, _: BufferKind) -> io::Result<()> {
        self.camera.enter("stream_on")
    }

    fn stream_off(&self, _: BufferKind) -> io::Result<()> {
        self.camera.enter("stream_off")
    }

    fn subscribe_source_change(&self) -> io::Result<()> {
        self.camera.enter("subscribe_source_change")
    }

    fn take_event(&self) -> io::Result<Event> {
        self.camera.enter("take_event")?;
        let mut state = self.camera.state();
        state.ready.event = false;
        if std::mem::take(&mut state.event) {
            return Ok(Event::SourceChange);
        }
        state.controls.events.pop_front().map_or_else(|| errno(libc::ENOENT), |event| Ok(Event::Control(event)))
    }

    fn wait(&self, timeout: Duration, bell: Option<BorrowedFd>) -> io::Result<Ready> {
        self.camera.enter("wait")?;
        let (live, next) = {
            let state = self.camera.state();
            (state.live, state.next.clone())
        };
        if live {
            self.camera.hand.advance(Duration::from_millis(33).min(timeout));
            self.camera.fill(next);
        }
        let state = self.camera.state();
        let ready = Ready {
            readable: state.ready.readable || !state.done.is_empty(),
            event: state.ready.event || !state.controls.events.is_empty(),
            bell: bell.is_some_and(rings),
            ..state.ready
        };
        if ready == Ready::default() {
            self.camera.hand.advance(timeout);
        }
        Ok(ready)
    }
}

fn rings(bell: BorrowedFd) -> bool {
    let mut fds = [rustix::event::PollFd::new(&bell, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}
