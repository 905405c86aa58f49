//! Camera controls by raw ioctls: the kernel side of `v4l2_device::ControlCalls`.
//!
//! One control per call: a driver's answer about one says nothing about the others. Must never trust what a driver
//! writes into a structure. Input: the open device of `v4l2_sys.rs`.

use crate::capture::v4l2_device::{ControlCalls, ControlDescription, ControlEvent, Width};
use crate::capture::v4l2_sys::KernelDevice;
use crate::media::v4l2_abi as abi;
use std::io;
use std::mem::zeroed;

const CTRL_FLAG_NEXT_CTRL: u32 = 0x8000_0000;
/// V4L2_CTRL_ID2WHICH
const CLASS_MASK: u32 = 0x0fff_0000;
const CTRL_TYPE_INTEGER64: u32 = 5;
/// V4L2_EVENT_CTRL
pub const EVENT_CTRL: u32 = 3;
const EVENT_CTRL_CH_VALUE: u32 = 1;
const EVENT_CTRL_CH_RANGE: u32 = 4;
const EVENT_SUB_FL_ALLOW_FEEDBACK: u32 = 2;

impl ControlCalls for KernelDevice {
    fn next_control(&self, id: u32) -> io::Result<ControlDescription> {
        self.control(id | CTRL_FLAG_NEXT_CTRL)
    }

    fn control(&self, id: u32) -> io::Result<ControlDescription> {
        // SAFETY: all-zero bytes are a valid v4l2_query_ext_ctrl.
        let mut raw: abi::QueryExtCtrl = unsafe { zeroed() };
        raw.id = id;
        // SAFETY: QUERY_EXT_CTRL takes a v4l2_query_ext_ctrl.
        unsafe { self.ioctl(abi::QUERY_EXT_CTRL, &mut raw)? };
        Ok(ControlDescription {
            id: raw.id,
            name: abi::text(&raw.name),
            kind: raw.kind,
            minimum: raw.minimum,
            maximum: raw.maximum,
            step: raw.step,
            default: raw.default_value,
            flags: raw.flags,
        })
    }

    fn next_old_control(&self, id: u32) -> io::Result<ControlDescription> {
        self.old_control(id | CTRL_FLAG_NEXT_CTRL)
    }

    fn old_control(&self, id: u32) -> io::Result<ControlDescription> {
        // SAFETY: all-zero bytes are a valid v4l2_queryctrl.
        let mut raw: abi::QueryCtrl = unsafe { zeroed() };
        raw.id = id;
        // SAFETY: QUERYCTRL takes a v4l2_queryctrl.
        unsafe { self.ioctl(abi::QUERYCTRL, &mut raw)? };
        Ok(ControlDescription {
            id: raw.id,
            name: abi::text(&raw.name),
            kind: raw.kind,
            minimum: raw.minimum.into(),
            maximum: raw.maximum.into(),
            step: raw.step.max(0) as u64,
            default: raw.default_value.into(),
            flags: raw.flags,
        })
    }

    fn menu_item(&self, id: u32, index: u32) -> io::Result<String> {
        let mut raw = abi::QueryMenu { id, index, ..Default::default() };
        // SAFETY: QUERYMENU takes a v4l2_querymenu.
        unsafe { self.ioctl(abi::QUERYMENU, &mut raw)? };
        Ok(abi::text(&raw.name))
    }

    fn menu_number(&self, id: u32, index: u32) -> io::Result<i64> {
        let mut raw = abi::QueryMenu { id, index, ..Default::default() };
        // SAFETY: as above.
        unsafe { self.ioctl(abi::QUERYMENU, &mut raw)? };
        let mut number = [0; 8];
        number.copy_from_slice(&raw.name[..8]);
        Ok(i64::from_ne_bytes(number))
    }

    fn value(&self, id: u32, width: Width) -> io::Result<i64> {
        self.value_call(abi::G_EXT_CTRLS, id, width, 0)
    }

    fn control_value(&self, id: u32) -> io::Result<i32> {
        let mut raw = abi::Control { id, value: 0 };
        // SAFETY: G_CTRL takes a v4l2_control.
        unsafe { self.ioctl(abi::G_CTRL, &mut raw)? };
        Ok(raw.value)
    }

    fn set_value(&self, id: u32, width: Width, value: i64) -> io::Result<i64> {
        self.value_call(abi::S_EXT_CTRLS, id, width, value)
    }

    fn set_control_value(&self, id: u32, value: i32) -> io::Result<i32> {
        let mut raw = abi::Control { id, value };
        // SAFETY: S_CTRL takes a v4l2_control.
        unsafe { self.ioctl(abi::S_CTRL, &mut raw)? };
        Ok(raw.value)
    }

    fn subscribe_control(&self, id: u32) -> io::Result<()> {
        let flags = EVENT_SUB_FL_ALLOW_FEEDBACK;
        let mut raw = abi::EventSubscription { kind: EVENT_CTRL, id, flags, ..Default::default() };
        // SAFETY: SUBSCRIBE_EVENT takes a v4l2_event_subscription.
        unsafe { self.ioctl(abi::SUBSCRIBE_EVENT, &mut raw) }
    }
}

impl KernelDevice {
    fn value_call(&self, request: u32, id: u32, width: Width, value: i64) -> io::Result<i64> {
        let mut control = abi::ExtControl { id, value: to_bytes(width, value)?, ..Default::default() };
        let mut raw = abi::ExtControls {
            which: id & CLASS_MASK,
            count: 1,
            error_idx: 0,
            request_fd: 0,
            reserved: 0,
            controls: &mut control,
        };
        // SAFETY: G_EXT_CTRLS and S_EXT_CTRLS take a v4l2_ext_controls; `control` outlives the call, `count` says one,
        // and its size of 0 says that it holds a number, no pointer.
        unsafe { self.ioctl(request, &mut raw)? };
        Ok(from_bytes(width, control.value))
    }
}

fn to_bytes(width: Width, value: i64) -> io::Result<[u8; 8]> {
    let mut bytes = value.to_ne_bytes();
    if width == Width::Bits32 {
        let value = i32::try_from(value).map_err(|_| io::Error::from_raw_os_error(libc::ERANGE))?;
        bytes = [0; 8];
        bytes[..4].copy_from_slice(&value.to_ne_bytes());
    }
    Ok(bytes)
}

fn from_bytes(width: Width, bytes: [u8; 8]) -> i64 {
    let [a, b, c, d, ..] = bytes;
    match width {
        Width::Bits32 => i32::from_ne_bytes([a, b, c, d]).into(),
        Width::Bits64 => i64::from_ne_bytes(bytes),
    }
}

/// What a V4L2_EVENT_CTRL says.
pub fn control_event(raw: &abi::Event) -> ControlEvent {
    // SAFETY: the union of v4l2_event has 64 bytes and the alignment of u64, v4l2_event_ctrl has 36 and that of u32;
    // plain numbers, any bytes are valid.
    let said: abi::EventCtrl = unsafe { std::ptr::from_ref(&raw.data).cast::<abi::EventCtrl>().read() };
    let width = if said.kind == CTRL_TYPE_INTEGER64 { Width::Bits64 } else { Width::Bits32 };
    ControlEvent {
        id: raw.id,
        value: (said.changes & EVENT_CTRL_CH_VALUE != 0).then(|| from_bytes(width, said.value)),
        flags: said.flags,
        range: said.changes & EVENT_CTRL_CH_RANGE != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_kernels_union_in_both_widths() {
        for value in [0, 1, -1, i64::from(i32::MIN), i64::from(i32::MAX)] {
            for width in [Width::Bits32, Width::Bits64] {
                assert_eq!(from_bytes(width, to_bytes(width, value).expect("it fits")), value);
            }
        }
        let wide = i64::MIN + 7;
        assert_eq!(from_bytes(Width::Bits64, to_bytes(Width::Bits64, wide).expect("it fits")), wide);
        assert!(to_bytes(Width::Bits32, 1 << 31).is_err(), "never cut");
    }

    #[test]
    fn an_event_is_read_where_the_kernel_writes_it() {
        let mut raw = abi::Event { kind: EVENT_CTRL, id: 0x0098_0900, ..Default::default() };
        let words = |low: u32, high: u32| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&low.to_ne_bytes());
            bytes[4..].copy_from_slice(&high.to_ne_bytes());
            u64::from_ne_bytes(bytes)
        };
        // changes and type; the value; flags and minimum
        raw.data[..3].copy_from_slice(&[words(1, 1), words(u32::MAX, 77), words(0x10, 0)]);
        let event = control_event(&raw);
        let expected = ControlEvent { id: 0x0098_0900, value: Some(-1), flags: 0x10, range: false };
        assert_eq!(event, expected, "the upper half of a 32-bit value is not read");
        raw.data[..2].copy_from_slice(&[words(5, CTRL_TYPE_INTEGER64), words(0, 1)]);
        let event = control_event(&raw);
        let wide = i64::from_ne_bytes(words(0, 1).to_ne_bytes());
        assert_eq!((event.value, event.range), (Some(wide), true));
        raw.data[0] = words(2, 1);
        assert_eq!(control_event(&raw).value, None, "only the flags changed");
    }
}
