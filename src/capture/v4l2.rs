//! The `v4l2` source: a camera of the kernel, always its newest picture, lent from the driver's memory where possible.
//!
//! Owns the open device and its buffers. Never waits longer than told, never keeps a device open after a fault: the
//! caller drops the source and opens a new one. Input: a driver that may vanish, fail or lie at any call.

use crate::capture::bell::Bell;
use crate::capture::controls::Controls;
use crate::capture::convert::{ConvertError, Converter};
use crate::capture::v4l2_buffers_sys::{Buffers, Region, Taken};
use crate::capture::v4l2_controls::CameraControls;
use crate::capture::v4l2_device::{BufferKind, Device, Event, Ready};
use crate::capture::v4l2_format::Access;
use crate::capture::v4l2_negotiate::{Agreement, negotiate};
use crate::capture::v4l2_select::{self, Machine, Node};
use crate::capture::{Fault, FaultKind, Grab, Source, SourceInfo, Want};
use crate::clock::Clock;
use crate::config::CameraConfig;
use crate::media::frame::{BufferPool, Frame};
use crate::units::Micros;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

const POOLED_FRAMES: usize = 4;
/// A driver time stamp further from now than this comes from another clock.
const STAMP_TRUST: Duration = Duration::from_secs(5);
/// After a wake-up that brought nothing, so that a driver that keeps waking us cannot eat a core.
const FALSE_ALARM_PAUSE: Duration = Duration::from_millis(2);
/// Events taken at once; more of them wait until the next picture was looked for.
const EVENTS_AT_ONCE: u32 = 64;
/// Pictures of another size in a row until it is a new format and not a damaged header.
const ODD_SIZES_TO_CHANGE: u32 = 3;

pub fn open(config: &CameraConfig, clock: &Clock) -> Result<Box<dyn Source>, Fault> {
    Ok(Box::new(Camera::open(&Machine::this(), config, clock)?))
}

pub struct Camera {
    info: SourceInfo,
    clock: Clock,
    buffers: Buffers,
    device: Arc<dyn Device>,
    kind: BufferKind,
    agreement: Agreement,
    converter: Option<Converter>,
    pool: Arc<BufferPool>,
    controls: CameraControls,
    bell: Option<Arc<Bell>>,
    sequence: Sequence,
    odd_sizes: u32,
    dropped: u64,
}

impl Camera {
    pub fn open(machine: &Machine, config: &CameraConfig, clock: &Clock) -> Result<Camera, Fault> {
        let (node, config) = v4l2_select::choose(machine, config)?;
        let config = &config;
        let fault = |call: &str, cause: &io::Error| setup_fault(machine, &node, call, cause);
        let agreement = negotiate(node.device.as_ref(), node.kind, config, &fault).map_err(|fault| {
            let named = fault.detail.contains(&node.path.display().to_string());
            let detail = if named { fault.detail } else { format!("{}: {}", node.title(), fault.detail) };
            Fault { detail, ..fault }
        })?;
        let planes = agreement.wire.plane_count;
        let buffers = Buffers::allocate(node.device.clone(), node.kind, config.buffers, planes)
            .map_err(|cause| fault("VIDIOC_REQBUFS", &cause))?;
        // most drivers have no such event
        let _ = node.device.subscribe_source_change();
        buffers.start().map_err(|cause| fault("VIDIOC_STREAMON", &cause))?;
        Camera::started(node, agreement, buffers, clock)
    }

    fn started(node: Node, agreement: Agreement, buffers: Buffers, clock: &Clock) -> Result<Camera, Fault> {
        let converter = match agreement.access {
            Access::Lend(_) => None,
            Access::Convert(arrangement) => Some(Converter::new(arrangement, agreement.wire).ok_or_else(|| Fault {
                kind: FaultKind::Failing,
                detail: format!("{}: the JPEG decoder did not start", node.title()),
            })?),
        };
        let pooled = if converter.is_some() { POOLED_FRAMES } else { 0 };
        let info = SourceInfo {
            name: node.title(),
            wire_format: agreement.wire.fourcc.to_string(),
            picture: agreement.picture,
            rate: agreement.rate,
        };
        Ok(Camera {
            pool: BufferPool::new(pooled, agreement.picture.buffer_len()),
            info,
            controls: CameraControls::new(
                node.device.clone(),
                clock,
                format!("{} ({})", node.capability.card, node.capability.driver),
            ),
            bell: None,
            clock: clock.clone(),
            buffers,
            device: node.device,
            kind: node.kind,
            agreement,
            converter,
            sequence: Sequence::default(),
            odd_sizes: 0,
            dropped: 0,
        })
    }

    /// One wait and what came of it; None: nothing to show yet.
    fn grab_once(&mut self, want: Want, timeout: Duration) -> Result<Option<Grab>, Fault> {
        if let Some(cause) = self.buffers.requeue_failure() {
            return Err(self.fault("VIDIOC_QBUF", &cause));
        }
        let ready = match self.device.wait(timeout, self.bell.as_ref().map(|bell| bell.as_fd())) {
            Ok(ready) => ready,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(cause) => return Err(self.fault("poll", &cause)),
        };
        if ready.event {
            self.take_events()?;
        }
        if ready.hangup {
            return Err(self.fault_of(FaultKind::Unplugged, "the camera was unplugged"));
        }
        if ready.error || ready.readable {
            return self.take_newest(want, ready, timeout);
        }
        if ready.event {
            self.clock.sleep(timeout.min(FALSE_ALARM_PAUSE));
        }
        if ready.bell {
            self.bell.iter().for_each(|bell| bell.silence());
        }
        Ok((ready.bell || self.controls.has_changed()).then_some(Grab::Nothing))
    }

    fn take_events(&mut self) -> Result<(), Fault> {
        // bounded: a driver whose queue never empties must not hold us
        for _ in 0..EVENTS_AT_ONCE {
            match self.device.take_event() {
                Ok(Event::SourceChange) => {
                    return Err(self.fault_of(FaultKind::FormatChanged, "the source changed its format"));
                }
                Ok(Event::Control(event)) => self.controls.hear(event),
                Ok(Event::Other) => {}
                Err(cause) if cause.raw_os_error() == Some(libc::ENODEV) => {
                    return Err(self.fault("VIDIOC_DQEVENT", &cause));
                }
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn take_newest(&mut self, want: Want, ready: Ready, timeout: Duration) -> Result<Option<Grab>, Fault> {
        let newest = self.newest().map_err(|cause| self.fault("VIDIOC_DQBUF", &cause))?;
        let Some((taken, number)) = newest else {
            // with every buffer lent some drivers call it an error that none is queued
            if ready.error && self.buffers.with_driver() > 0 {
                return Err(self.fault_of(FaultKind::Failing, "poll reports an error on the stream"));
            }
            self.clock.sleep(timeout.min(FALSE_ALARM_PAUSE));
            return Ok(None);
        };
        if want == Want::Heartbeat {
            return Ok(Some(Grab::Passed));
        }
        let captured_at = captured_at(&self.clock, taken.filled.timestamp);
        match self.agreement.access {
            Access::Lend(regions) => self.lend(taken, regions, captured_at, number),
            Access::Convert(_) => self.convert(taken, captured_at, number),
        }
    }

    /// Empties the driver's queue and keeps the last sound buffer; the others go back at once.
    fn newest(&mut self) -> io::Result<Option<(Taken, u64)>> {
        let mut newest = None;
        // bounded: re-queued buffers may be filled again while we look
        for _ in 0..2 * self.buffers.count() {
            let Some(taken) = self.buffers.dequeue()? else { break };
            let number = self.sequence.follow(taken.filled.sequence);
            if taken.filled.damaged || newest.replace((taken, number)).is_some() {
                self.dropped += 1;
            }
        }
        Ok(newest)
    }

    fn lend(
        &mut self,
        taken: Taken,
        regions: [Option<Region>; 3],
        captured_at: Micros,
        number: u64,
    ) -> Result<Option<Grab>, Fault> {
        if self.buffers.with_driver() == 0 && self.buffers.count() > 1 {
            // the driver must keep one buffer to fill: this picture goes back for it
            self.dropped += 1;
            return Ok(Some(Grab::Passed));
        }
        let planes = taken.lend(regions);
        let picture = self.agreement.picture;
        match planes.and_then(|planes| Frame::mapped(picture, captured_at, number, planes)) {
            Some(frame) => Ok(Some(Grab::Frame(frame))),
            None => self.damaged(),
        }
    }

    fn convert(&mut self, taken: Taken, captured_at: Micros, number: u64) -> Result<Option<Grab>, Fault> {
        let (Some(buffer), Some(converter)) = (self.pool.take(), &mut self.converter) else {
            self.dropped += 1;
            return Ok(Some(Grab::Passed));
        };
        let mut frame = Frame::pooled(self.agreement.picture, captured_at, number, buffer);
        let converted = converter.convert(taken.bytes(0), &mut frame);
        drop(taken);
        self.judge(converted, frame)
    }

    fn judge(&mut self, converted: Result<(), ConvertError>, frame: Frame) -> Result<Option<Grab>, Fault> {
        match converted {
            Ok(()) => {
                self.odd_sizes = 0;
                Ok(Some(Grab::Frame(frame)))
            }
            Err(ConvertError::Damaged(_)) => self.damaged(),
            Err(ConvertError::OtherSize { width, height }) => {
                self.odd_sizes += 1;
                if self.odd_sizes < ODD_SIZES_TO_CHANGE {
                    return self.damaged();
                }
                let agreed = self.agreement.wire.size;
                let detail = format!("pictures are {width}x{height} now, {agreed} was agreed");
                Err(self.fault_of(FaultKind::FormatChanged, &detail))
            }
        }
    }

    /// A picture that cannot be shown: counted, unless the reason is that the driver now sends something else.
    fn damaged(&mut self) -> Result<Option<Grab>, Fault> {
        self.dropped += 1;
        let agreed = &self.agreement.wire;
        match self.device.format(self.kind) {
            Ok(now) if now.fourcc != agreed.fourcc || now.size != agreed.size => {
                let detail = format!("the format is {} {} now", now.fourcc, now.size);
                Err(self.fault_of(FaultKind::FormatChanged, &detail))
            }
            _ => Ok(None),
        }
    }

    fn fault(&self, call: &str, cause: &io::Error) -> Fault {
        let kind = match cause.raw_os_error() {
            Some(libc::ENODEV | libc::ENXIO | libc::ESHUTDOWN) => FaultKind::Unplugged,
            // an unplug can race with the call that asks for a picture: then uvcvideo answers this
            Some(libc::EINVAL) if call != "VIDIOC_QBUF" => FaultKind::Unplugged,
            Some(libc::EBUSY) => FaultKind::Busy,
            _ => FaultKind::Failing,
        };
        self.fault_of(kind, &format!("{call}: {cause}"))
    }

    fn fault_of(&self, kind: FaultKind, cause: &str) -> Fault {
        Fault { kind, detail: format!("{}: {cause}", self.info.name) }
    }
}

impl Source for Camera {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn grab(&mut self, want: Want, timeout: Duration) -> Result<Grab, Fault> {
        let deadline = self.clock.now() + timeout;
        let mut left = timeout;
        loop {
            if let Some(grab) = self.grab_once(want, left)? {
                return Ok(grab);
            }
            left = deadline.since(self.clock.now());
            if left.is_zero() {
                return Ok(Grab::Nothing);
            }
        }
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }

    fn controls(&mut self) -> Option<&mut dyn Controls> {
        Some(&mut self.controls)
    }

    fn listen(&mut self, bell: &Arc<Bell>) {
        self.bell = Some(bell.clone());
    }
}

fn captured_at(clock: &Clock, stamp: Option<Micros>) -> Micros {
    let now = clock.now();
    match stamp {
        Some(stamp) if now.since(stamp) < STAMP_TRUST && stamp.since(now) < STAMP_TRUST => stamp,
        _ => now,
    }
}

/// The driver's 32-bit count, carried on past its wrap and its restarts.
#[derive(Default)]
struct Sequence {
    last: Option<u32>,
    total: u64,
}

impl Sequence {
    fn follow(&mut self, number: u32) -> u64 {
        let step = self.last.map_or(number, |last| number.wrapping_sub(last));
        // a backward step is a driver that started anew
        self.total += if step <= u32::MAX / 2 { u64::from(step) } else { 1 };
        self.last = Some(number);
        self.total
    }
}

/// While opening nothing streams yet, so EINVAL is a refusal, not an unplug.
fn setup_fault(machine: &Machine, node: &Node, call: &str, cause: &io::Error) -> Fault {
    let title = node.title();
    let kind = match cause.raw_os_error() {
        Some(libc::EBUSY) => {
            let held = v4l2_select::holder(machine, &node.path).map_or(String::new(), |who| format!(": held by {who}"));
            return Fault { kind: FaultKind::Busy, detail: format!("{title}: busy{held}") };
        }
        Some(libc::ENODEV | libc::ENXIO) => FaultKind::Unplugged,
        _ => FaultKind::Failing,
    };
    Fault { kind, detail: format!("{title}: {call}: {cause}") }
}
