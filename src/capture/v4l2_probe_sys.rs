//! What a camera's buffers are like, for `rtcam doctor`: can they be exported, and how fast are they to read?
//!
//! Sets the format that the daemon would set, takes buffers, never starts the stream, gives them back. Drivers may give
//! out memory that no cache covers: then each byte read costs a trip to the memory. Input: the camera section.

use crate::capture::v4l2_device::{BufferKind, Device};
use crate::capture::v4l2_format::Access;
use crate::capture::v4l2_negotiate::negotiate;
use crate::capture::v4l2_select::{self, Machine, Node};
use crate::capture::{Fault, FaultKind};
use crate::clock::thread_cpu;
use crate::config::CameraConfig;
use crate::media::mapping_sys::Mapping;
use std::hint::black_box;
use std::io;
use std::time::Duration;

/// CPU time for each of the two kinds of memory.
const SPAN: Duration = Duration::from_millis(20);
/// Read into the first-level cache, as the overlay reads rows.
const STEP: usize = 4096;

#[derive(Clone, Debug, PartialEq)]
pub struct BufferReport {
    /// `NV12 1280x720`
    pub picture: String,
    /// Pictures are used where they lie; else each is read as a whole and converted.
    pub in_place: bool,
    /// Why EXPBUF does not give a dmabuf; None: it does.
    pub export_refused: Option<String>,
    pub bytes: usize,
    /// Megabytes per second.
    pub read_mb_s: f64,
    /// Of ordinary memory, measured the same way.
    pub ordinary_mb_s: f64,
}

pub fn probe_buffers(config: &CameraConfig) -> Result<BufferReport, Fault> {
    probe_on(&Machine::this(), config)
}

fn probe_on(machine: &Machine, config: &CameraConfig) -> Result<BufferReport, Fault> {
    let (node, config) = v4l2_select::choose(machine, config)?;
    let fault = |call: &str, cause: &io::Error| fault(&node, call, cause);
    let agreement = negotiate(node.device.as_ref(), node.kind, &config, &fault)?;
    // as many as a driver might insist on; one is looked at
    node.device.request_buffers(node.kind, 2).map_err(|cause| fault("VIDIOC_REQBUFS", &cause))?;
    let looked = look(node.device.as_ref(), node.kind, agreement.wire.plane_count);
    // closing the device does the same
    let _ = node.device.request_buffers(node.kind, 0);
    let (bytes, read_mb_s, export) = looked.map_err(|cause| fault("map a buffer", &cause))?;
    Ok(BufferReport {
        picture: format!("{} {}", agreement.wire.fourcc, agreement.wire.size),
        in_place: matches!(agreement.access, Access::Lend(_)),
        export_refused: export.err().map(|cause| cause.to_string()),
        bytes,
        read_mb_s,
        ordinary_mb_s: speed(&vec![0x55; bytes]),
    })
}

type Looked = (usize, f64, io::Result<()>);

fn look(device: &dyn Device, kind: BufferKind, planes: usize) -> io::Result<Looked> {
    let memory = device.buffer_memory(kind, 0, planes)?[0];
    let mapping = device.map(memory)?;
    let export = device.export(kind, 0, 0).map(drop);
    Ok((mapping.len(), speed(bytes_of(&mapping)), export))
}

fn bytes_of(mapping: &Mapping) -> &[u8] {
    // SAFETY: mapped as long as the borrow; the buffer was never queued, so that the driver does not write.
    unsafe { std::slice::from_raw_parts(mapping.start().as_ptr(), mapping.len()) }
}

/// Megabytes per second of CPU time; the first pass, which meets fresh pages, does not count.
fn speed(memory: &[u8]) -> f64 {
    let mut near = [0u8; STEP];
    let mut pass = || memory.chunks(STEP).for_each(|chunk| black_box(&mut near)[..chunk.len()].copy_from_slice(chunk));
    pass();
    let started = thread_cpu();
    let mut passes = 0;
    while thread_cpu() - started < SPAN || passes == 0 {
        pass();
        passes += 1;
    }
    (passes * memory.len()) as f64 / 1e6 / (thread_cpu() - started).as_secs_f64().max(1e-9)
}

fn fault(node: &Node, call: &str, cause: &io::Error) -> Fault {
    let kind = if cause.raw_os_error() == Some(libc::EBUSY) { FaultKind::Busy } else { FaultKind::Failing };
    Fault { kind, detail: format!("{}: {call}: {cause}", node.title()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::v4l2_fake::FakeCamera;

    fn config() -> CameraConfig {
        CameraConfig { device: "/dev/video0".into(), ..CameraConfig::default() }
    }

    #[test]
    fn buffers_are_measured_and_all_is_given_back() {
        for (fourcc, in_place) in [(b"NV12", true), (b"YUYV", false)] {
            let camera = FakeCamera::simple(fourcc);
            let report = probe_on(&camera.machine(), &config()).expect("it opens");
            assert!(report.in_place == in_place && report.export_refused.is_none(), "{report:?}");
            assert!(report.picture.ends_with("640x480") && report.bytes > 0, "{report:?}");
            assert!(report.read_mb_s > 1.0 && report.ordinary_mb_s > 1.0, "{report:?}");
            assert_eq!(camera.leftovers(), (0, 0), "open devices and mappings");
        }
    }

    #[test]
    fn a_driver_that_exports_nothing_says_why_and_one_that_is_busy_is_a_fault() {
        let camera = FakeCamera::simple(b"NV12");
        camera.refuse("export", libc::ENOTTY);
        let report = probe_on(&camera.machine(), &config()).expect("it opens");
        assert!(report.export_refused.is_some_and(|why| why.contains("ioctl")));
        camera.refuse("request_buffers", libc::EBUSY);
        let fault = probe_on(&camera.machine(), &config()).expect_err("busy");
        assert_eq!(fault.kind, FaultKind::Busy);
    }
}
