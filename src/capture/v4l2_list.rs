//! What `rtcam cameras` tells about each camera: formats, sizes, rates, controls.
//!
//! Opens every capture node once, asks, and closes it; changes nothing on it. The `v4l` crate's own listing of
//! controls is not used: it panics on control types it does not know. Input: the machine's video nodes.

use crate::capture::v4l2_controls::{
    Answer, CTRL_FLAG_DISABLED, CTRL_TYPE_BOOLEAN, CTRL_TYPE_BUTTON, CTRL_TYPE_CLASS, CTRL_TYPE_INTEGER,
    CTRL_TYPE_INTEGER_MENU, CTRL_TYPE_INTEGER64, CTRL_TYPE_MENU, Search, menu,
};
use crate::capture::v4l2_device::{BufferKind, ControlDescription, Device, FourCc, RateRange, SizeRange};
use crate::capture::v4l2_format;
use crate::capture::v4l2_negotiate::{formats, rates, sizes};
use crate::capture::v4l2_select::{self, Machine};
use crate::capture::{Fault, FaultKind};
use crate::units::{FrameRate, Size};
use serde::Serialize;
use std::path::Path;

/// Listed controls at most; a broken driver could go on for ever.
const MOST_CONTROLS: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CameraListing {
    pub path: String,
    /// What `device = "name:..."` compares.
    pub name: String,
    pub card: String,
    pub driver: String,
    pub bus: String,
    /// `046d:0825`, for `device = "usb:..."`.
    pub usb_id: Option<String>,
    pub multiplanar: bool,
    pub formats: Vec<FormatListing>,
    pub controls: Vec<ControlListing>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FormatListing {
    pub fourcc: String,
    pub description: String,
    /// Whether rtcam can use it.
    pub usable: bool,
    pub sizes: Vec<SizeListing>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeListing {
    /// `640x480`, or `32x32 to 4096x2160 in steps of 2x2`.
    pub size: String,
    /// Frames per second, fastest first; empty where the driver does not say.
    pub fps: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ControlListing {
    pub name: String,
    /// `integer`, `boolean`, `menu`, `button`, ...
    pub kind: &'static str,
    /// None for buttons, and where the driver refuses to tell.
    pub value: Option<i32>,
    pub minimum: i64,
    pub maximum: i64,
    pub step: u64,
    pub default: i64,
    pub menu: Vec<String>,
}

/// A node that is a camera, or that would not tell.
#[derive(Clone, Debug)]
pub struct NodeReport {
    pub path: String,
    pub name: String,
    pub camera: Result<CameraListing, Fault>,
    /// The process that has it open: `ffmpeg (pid 812)`.
    pub holder: Option<String>,
}

/// All cameras of this machine.
pub fn list_cameras() -> Vec<CameraListing> {
    list_on(&Machine::this())
}

/// As `list_cameras`, with those that do not open and who holds them.
pub fn survey_cameras() -> Vec<NodeReport> {
    survey_on(&Machine::this())
}

pub fn list_on(machine: &Machine) -> Vec<CameraListing> {
    survey_on(machine).into_iter().filter_map(|report| report.camera.ok()).collect()
}

pub fn survey_on(machine: &Machine) -> Vec<NodeReport> {
    let listed = v4l2_select::listed(machine);
    listed.iter().filter_map(|listed| report(machine, listed)).collect()
}

/// None for metadata nodes, codecs and the like.
fn report(machine: &Machine, listed: &v4l2_select::Listed) -> Option<NodeReport> {
    let camera = match v4l2_select::open_node(machine, &listed.path) {
        Ok(node) if node.capability.is_codec() => return None,
        Err(fault) if fault.kind == FaultKind::NotACamera => return None,
        Ok(node) => Ok(describe(listed, node)),
        Err(fault) => Err(fault),
    };
    let holder = v4l2_select::holder(machine, &listed.path);
    Some(NodeReport { path: display(&listed.path), name: listed.name.clone(), camera, holder })
}

fn describe(listed: &v4l2_select::Listed, node: v4l2_select::Node) -> CameraListing {
    let device = node.device.as_ref();
    CameraListing {
        path: display(&listed.path),
        name: listed.name.clone(),
        usb_id: listed.usb_id.clone(),
        multiplanar: node.kind == BufferKind::Multi,
        formats: list_formats(device, node.kind),
        controls: list_controls(device),
        card: node.capability.card,
        driver: node.capability.driver,
        bus: node.capability.bus,
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

fn list_formats(device: &dyn Device, kind: BufferKind) -> Vec<FormatListing> {
    let list = |format: crate::capture::v4l2_device::FormatDescription| FormatListing {
        fourcc: format.fourcc.to_string(),
        description: format.text,
        usable: v4l2_format::known(format.fourcc).is_some(),
        sizes: sizes(device, format.fourcc).iter().map(|range| list_size(device, format.fourcc, range)).collect(),
    };
    formats(device, kind).into_iter().map(list).collect()
}

fn list_size(device: &dyn Device, fourcc: FourCc, range: &SizeRange) -> SizeListing {
    match *range {
        SizeRange::Discrete(size) => SizeListing { size: size.to_string(), fps: list_rates(device, fourcc, size) },
        SizeRange::Range { min, max, step } => {
            let steps =
                if step == (Size { width: 1, height: 1 }) { String::new() } else { format!(" in steps of {step}") };
            SizeListing { size: format!("{min} to {max}{steps}"), fps: list_rates(device, fourcc, max) }
        }
    }
}

fn list_rates(device: &dyn Device, fourcc: FourCc, size: Size) -> Vec<f64> {
    let ends = |range: RateRange| match range {
        RateRange::Discrete(rate) => vec![rate],
        RateRange::Range { slowest, fastest } => vec![slowest, fastest],
    };
    let rates = rates(device, fourcc, size).into_iter().flat_map(ends);
    let hundredths = |rate: FrameRate| (rate.as_f64() * 100.0).round() / 100.0;
    let mut fps: Vec<f64> = rates.map(hundredths).collect();
    fps.sort_by(|a, b| b.total_cmp(a));
    fps.dedup();
    fps
}

fn kind_name(kind: u32) -> &'static str {
    match kind {
        CTRL_TYPE_INTEGER => "integer",
        CTRL_TYPE_BOOLEAN => "boolean",
        CTRL_TYPE_MENU => "menu",
        CTRL_TYPE_BUTTON => "button",
        CTRL_TYPE_INTEGER64 => "integer64",
        7 => "string",
        8 => "bitmask",
        CTRL_TYPE_INTEGER_MENU => "integer menu",
        _ => "compound",
    }
}

fn list_controls(device: &dyn Device) -> Vec<ControlListing> {
    let mut listed = Vec::new();
    let mut search = Search::default();
    while listed.len() < MOST_CONTROLS {
        match search.next(device) {
            Answer::Control(found) if found.kind == CTRL_TYPE_CLASS || found.flags & CTRL_FLAG_DISABLED != 0 => {}
            Answer::Control(found) => listed.push(list_control(device, found)),
            Answer::Nothing => {}
            Answer::End => break,
        }
    }
    listed
}

fn list_control(device: &dyn Device, control: ControlDescription) -> ControlListing {
    let single =
        matches!(control.kind, CTRL_TYPE_INTEGER | CTRL_TYPE_BOOLEAN | CTRL_TYPE_MENU | 8 | CTRL_TYPE_INTEGER_MENU);
    let items = if control.kind == CTRL_TYPE_MENU { menu(device, &control) } else { Vec::new() };
    ControlListing {
        kind: kind_name(control.kind),
        value: if single { device.control_value(control.id).ok() } else { None },
        name: control.name,
        minimum: control.minimum,
        maximum: control.maximum,
        step: control.step,
        default: control.default,
        menu: items.into_iter().map(|(_, label)| label).collect(),
    }
}
