//! Finding the camera the user means: by path, name, USB id, or the first usable one.
//!
//! Node numbers move, and one camera has several nodes (metadata, codecs): each is opened and asked what it is.
//! Owns the roots it reads (/dev, /sys, /proc), so that tests bring their own. Input: the config's device text.

use crate::capture::v4l2_device::{BufferKind, Capability, Device};
use crate::capture::v4l2_negotiate::has_usable_format;
use crate::capture::v4l2_sys::KernelDevice;
use crate::capture::{Fault, FaultKind};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub type OpenDevice = Box<dyn Fn(&Path) -> io::Result<Arc<dyn Device>> + Send + Sync>;

/// The machine whose cameras are meant.
pub struct Machine {
    pub dev: PathBuf,
    pub sys: PathBuf,
    pub proc: PathBuf,
    pub open: OpenDevice,
}

impl Machine {
    pub fn this() -> Machine {
        Machine {
            dev: "/dev".into(),
            sys: "/sys".into(),
            proc: "/proc".into(),
            open: Box::new(|path| Ok(Arc::new(KernelDevice::open(path)?))),
        }
    }
}

/// An open capture node.
pub struct Node {
    pub path: PathBuf,
    pub device: Arc<dyn Device>,
    pub kind: BufferKind,
    pub capability: Capability,
}

impl Node {
    /// `/dev/video0 (HD Webcam)`
    pub fn title(&self) -> String {
        format!("{} ({})", self.path.display(), self.capability.card)
    }
}

/// A node seen in sysfs (or only in /dev), not opened yet.
pub struct Listed {
    pub path: PathBuf,
    pub name: String,
    /// `046d:0825`
    pub usb_id: Option<String>,
}

pub fn find(machine: &Machine, wanted: &str) -> Result<Node, Fault> {
    if wanted == "auto" {
        return find_first(machine);
    }
    if let Some(name) = wanted.strip_prefix("name:") {
        return find_named(machine, name);
    }
    if let Some(id) = wanted.strip_prefix("usb:") {
        let matches = |listed: &Listed| listed.usb_id.as_deref().is_some_and(|usb| usb.eq_ignore_ascii_case(id));
        return find_listed(machine, wanted, matches);
    }
    open_node(machine, Path::new(wanted))
}

/// Whether `auto` would find a camera, or one that somebody must give us access to first.
pub fn any_camera(machine: &Machine) -> bool {
    match find_first(machine) {
        Ok(node) => has_usable_format(node.device.as_ref(), node.kind),
        Err(fault) => fault.kind != FaultKind::Missing,
    }
}

/// All video nodes, by number.
pub fn listed(machine: &Machine) -> Vec<Listed> {
    let class = machine.sys.join("class/video4linux");
    let from = if class.is_dir() { &class } else { &machine.dev };
    let Ok(entries) = fs::read_dir(from) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut numbers: Vec<u32> = names.filter_map(|name| name.strip_prefix("video")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.iter().map(|number| describe(machine, &class.join(format!("video{number}")), *number)).collect()
}

fn describe(machine: &Machine, entry: &Path, number: u32) -> Listed {
    let read = |path: PathBuf| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    // .../1-1:1.0 is the USB interface; the ids belong to the device above it
    let usb_id = fs::canonicalize(entry.join("device")).ok().and_then(|interface| {
        interface
            .ancestors()
            .take(3)
            .find_map(|folder| Some(format!("{}:{}", read(folder.join("idVendor"))?, read(folder.join("idProduct"))?)))
    });
    Listed {
        path: machine.dev.join(format!("video{number}")),
        name: read(entry.join("name")).unwrap_or_default(),
        usb_id,
    }
}

fn find_first(machine: &Machine) -> Result<Node, Fault> {
    let mut second_choice = None;
    let mut failure = None;
    for listed in listed(machine) {
        match open_node(machine, &listed.path) {
            Ok(node) if node.capability.is_codec() => {}
            Ok(node) if has_usable_format(node.device.as_ref(), node.kind) => return Ok(node),
            Ok(node) => second_choice = second_choice.or(Some(node)),
            Err(fault) if matches!(fault.kind, FaultKind::NotACamera | FaultKind::Missing) => {}
            Err(fault) => failure = failure.or(Some(fault)),
        }
    }
    let nothing = || Fault { kind: FaultKind::Missing, detail: "no camera is connected".into() };
    second_choice.ok_or_else(|| failure.unwrap_or_else(nothing))
}

/// An exact name wins over a part of one; the driver's card name counts like the one in sysfs.
fn find_named(machine: &Machine, name: &str) -> Result<Node, Fault> {
    let wanted = format!("name:{name}");
    let exact = find_listed(machine, &wanted, |listed| listed.name == name);
    if exact.as_ref().is_err_and(|fault| fault.kind == FaultKind::Missing) {
        let lower = name.to_lowercase();
        let part = find_listed(machine, &wanted, |listed| listed.name.to_lowercase().contains(&lower));
        if part.as_ref().is_err_and(|fault| fault.kind == FaultKind::Missing) {
            return find_card(machine, &wanted, &lower);
        }
        return part;
    }
    exact
}

fn find_card(machine: &Machine, wanted: &str, lower: &str) -> Result<Node, Fault> {
    let nodes = listed(machine).into_iter().filter_map(|listed| open_node(machine, &listed.path).ok());
    let mut matching =
        nodes.filter(|node| !node.capability.is_codec() && node.capability.card.to_lowercase().contains(lower));
    matching.next().ok_or_else(|| no_camera(wanted))
}

/// The first capture node among those that match.
fn find_listed(machine: &Machine, wanted: &str, matches: impl Fn(&Listed) -> bool) -> Result<Node, Fault> {
    let mut failure = None;
    for listed in listed(machine).iter().filter(|listed| matches(listed)) {
        match open_node(machine, &listed.path) {
            Ok(node) if !node.capability.is_codec() => return Ok(node),
            Ok(_) => {}
            // a metadata node of the camera that was unplugged a moment ago says less than the camera's own fault
            Err(fault) => failure = failure.filter(|first: &Fault| first.kind != FaultKind::NotACamera).or(Some(fault)),
        }
    }
    Err(failure.unwrap_or_else(|| no_camera(wanted)))
}

fn no_camera(wanted: &str) -> Fault {
    Fault { kind: FaultKind::Missing, detail: format!("no camera {wanted:?} is connected") }
}

fn open_node(machine: &Machine, path: &Path) -> Result<Node, Fault> {
    let open_fault = |cause: io::Error| {
        let (kind, hint) = match cause.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO | libc::ENOTDIR) => (FaultKind::Missing, ""),
            Some(libc::EBUSY) => (FaultKind::Busy, ""),
            Some(libc::EACCES | libc::EPERM) => (FaultKind::Failing, " (rtcam's user must be in the group video)"),
            _ => (FaultKind::Failing, ""),
        };
        Fault { kind, detail: format!("open {}: {cause}{hint}", path.display()) }
    };
    let device = (machine.open)(path).map_err(open_fault)?;
    let capability = device.capability().map_err(|cause| match cause.raw_os_error() {
        Some(libc::ENOTTY | libc::EINVAL) => not_a_camera(path, "it is no V4L2 device"),
        Some(libc::ENODEV) => open_fault(cause),
        _ => Fault { kind: FaultKind::Failing, detail: format!("VIDIOC_QUERYCAP {}: {cause}", path.display()) },
    })?;
    let Some(kind) = capability.capture_kind() else {
        return Err(not_a_camera(path, &format!("{:?} captures no video", capability.card)));
    };
    Ok(Node { path: path.to_owned(), device, kind, capability })
}

fn not_a_camera(path: &Path, cause: &str) -> Fault {
    Fault { kind: FaultKind::NotACamera, detail: format!("open {}: {cause}", path.display()) }
}

/// The process that holds a node, other than this one: `ffmpeg (pid 812)`. Only what /proc lets us see.
pub fn holder(machine: &Machine, node: &Path) -> Option<String> {
    let node = fs::canonicalize(node).ok()?;
    let own = std::process::id();
    let processes = fs::read_dir(&machine.proc).ok()?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let fds = fs::read_dir(machine.proc.join(pid.to_string()).join("fd"));
        fds.is_ok_and(|fds| fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == node)))
    };
    let pid = pids.filter(|pid| *pid != own).find(holds)?;
    let name = fs::read_to_string(machine.proc.join(pid.to_string()).join("comm")).unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    Some(format!("{} (pid {pid})", if name.is_empty() { "a process" } else { &name }))
}
