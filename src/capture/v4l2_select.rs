//! Finding the camera the user means: by path, name, USB id, or the first usable one.
//!
//! Node numbers move, and one camera has several nodes (metadata, codecs): each is opened and asked what it is.
//! Owns the roots it reads (/dev, /sys, /proc), so that tests bring their own. Input: the config's device text.

use crate::capture::v4l2_device::{BufferKind, Capability, Device};
use crate::capture::v4l2_negotiate::has_usable_format;
use crate::capture::v4l2_sys::KernelDevice;
use crate::capture::{Fault, FaultKind};
use crate::config::{CameraConfig, PreferredNode};
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

/// The camera of a config, and the config as it counts for that camera. `auto` is a preferred node of the board if there
/// is one, else the first camera: on a board whose own sensor is not connected that is the webcam in its USB port.
pub fn choose(machine: &Machine, config: &CameraConfig) -> Result<(Node, CameraConfig), Fault> {
    let preferred = config.preferred.iter().filter(|_| config.device == "auto");
    for node in preferred {
        match find(machine, &node.device) {
            Err(fault) if fault.kind == FaultKind::Missing => {}
            found => {
                let format = if config.format == "auto" { &node.format } else { &config.format }.clone();
                let PreferredNode { matrix, range, sets_rate, .. } = *node;
                let config = CameraConfig { format, matrix, range, sets_rate, ..config.clone() };
                return found.map(|node| (node, config));
            }
        }
    }
    find(machine, &config.device).map(|node| (node, config.clone()))
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

pub fn open_node(machine: &Machine, path: &Path) -> Result<Node, Fault> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::v4l2_fake::{CAPTURE, CAPTURE_MPLANE, FakeCamera, format};
    use crate::capture::v4l2_list::list_on;
    use crate::capture::{resolve_on, v4l2::Camera};
    use crate::config::{PreferredNode, SourceChoice};
    use std::collections::HashMap;
    use std::os::unix::fs::symlink;

    const METADATA: u32 = 0x0480_0000;
    const CODEC: u32 = 0x0400_4000;

    /// A machine in a temporary folder, its nodes answered by scripted cameras.
    struct Board {
        root: tempfile::TempDir,
        cameras: HashMap<PathBuf, Arc<FakeCamera>>,
    }

    impl Board {
        fn new() -> Board {
            let root = tempfile::tempdir().unwrap();
            for folder in ["dev", "sys/class/video4linux", "proc"] {
                fs::create_dir_all(root.path().join(folder)).unwrap();
            }
            Board { root, cameras: HashMap::new() }
        }

        fn node(&mut self, number: u32, name: &str, caps: u32, formats: &[&[u8; 4]]) -> Arc<FakeCamera> {
            let formats = formats.iter().map(|fourcc| format(fourcc, &[(640, 480)], &[30])).collect();
            let camera = FakeCamera::new(formats);
            camera.state().caps = caps;
            camera.state().card = format!("card of {name}");
            let entry = self.entry(number);
            fs::create_dir_all(&entry).unwrap();
            fs::write(entry.join("name"), format!("{name}\n")).unwrap();
            let path = self.root.path().join(format!("dev/video{number}"));
            fs::write(&path, "").unwrap();
            self.cameras.insert(path, camera.clone());
            camera
        }

        fn entry(&self, number: u32) -> PathBuf {
            self.root.path().join(format!("sys/class/video4linux/video{number}"))
        }

        fn usb(&self, number: u32, vendor: &str, product: &str) {
            let device = self.root.path().join(format!("sys/devices/usb1/1-{number}"));
            let interface = device.join(format!("1-{number}:1.0"));
            fs::create_dir_all(&interface).unwrap();
            fs::write(device.join("idVendor"), format!("{vendor}\n")).unwrap();
            fs::write(device.join("idProduct"), format!("{product}\n")).unwrap();
            symlink(interface, self.entry(number).join("device")).unwrap();
        }

        fn machine(&self) -> Machine {
            let cameras = self.cameras.clone();
            Machine {
                dev: self.root.path().join("dev"),
                sys: self.root.path().join("sys"),
                proc: self.root.path().join("proc"),
                open: Box::new(move |path| match cameras.get(path) {
                    Some(camera) => camera.open_handle(),
                    None => Err(io::Error::from_raw_os_error(libc::ENOENT)),
                }),
            }
        }

        /// The number of the node that is found, or the kind of fault.
        fn find(&self, wanted: &str) -> Result<String, FaultKind> {
            let node = find(&self.machine(), wanted).map_err(|fault| fault.kind)?;
            Ok(node.path.file_name().unwrap().to_str().unwrap().into())
        }
    }

    /// Metadata, codec and raw sensor nodes around two cameras of the same name.
    fn crowded() -> Board {
        let mut board = Board::new();
        board.node(0, "rkisp_rawwr", CAPTURE_MPLANE, &[b"BG10"]);
        board.node(1, "bcm2835-codec", CODEC | CAPTURE_MPLANE, &[b"NV12"]);
        board.node(3, "HD Webcam: HD Webcam", METADATA, &[]);
        board.node(2, "HD Webcam: HD Webcam", CAPTURE, &[b"MJPG", b"YUYV"]);
        board.node(10, "rkispp_scale0", CAPTURE_MPLANE, &[b"NV12"]);
        board.node(12, "rkispp_scale0", CAPTURE_MPLANE, &[b"NV12"]);
        board.usb(2, "046d", "0825");
        board.usb(3, "046d", "0825");
        board
    }

    #[test]
    fn auto_takes_the_first_node_that_gives_usable_pictures() {
        assert_eq!(crowded().find("auto"), Ok("video2".into()));
        let mut board = Board::new();
        assert_eq!(board.find("auto"), Err(FaultKind::Missing));
        board.node(4, "metadata", METADATA, &[]);
        assert_eq!(board.find("auto"), Err(FaultKind::Missing));
        board.node(5, "raw sensor", CAPTURE, &[b"BG10"]);
        assert_eq!(board.find("auto"), Ok("video5".into()), "opening it will say what it lacks");
    }

    #[test]
    fn cameras_are_found_by_name_part_of_it_card_and_usb_id() {
        let board = crowded();
        for (wanted, expected) in [
            ("name:rkispp_scale0", Ok("video10")),
            ("name:hd webcam", Ok("video2")),
            ("name:card of rkispp", Ok("video10")),
            ("name:bcm2835", Err(FaultKind::Missing)),
            ("name:nothing like it", Err(FaultKind::Missing)),
            ("usb:046D:0825", Ok("video2")),
            ("usb:dead:beef", Err(FaultKind::Missing)),
        ] {
            assert_eq!(board.find(wanted), expected.map(String::from), "{wanted}");
        }
        let path = |number| board.root.path().join(format!("dev/video{number}")).display().to_string();
        assert_eq!(board.find(&path(12)), Ok("video12".into()));
        assert_eq!(board.find(&path(3)), Err(FaultKind::NotACamera));
        assert_eq!(board.find(&path(99)), Err(FaultKind::Missing));
    }

    #[test]
    fn auto_takes_the_node_the_board_prefers_and_else_the_first_camera() {
        let choose = |board: &Board, config: &CameraConfig| {
            let (node, config) = choose(&board.machine(), config).map_err(|fault| fault.kind)?;
            Ok((node.path.file_name().unwrap().to_str().unwrap().to_owned(), config.format))
        };
        let prefer = |device: &str| PreferredNode {
            device: device.into(),
            format: "NV12".into(),
            matrix: None,
            range: None,
            sets_rate: false,
        };
        let preferred = vec![prefer("name:rkispp_bypass"), prefer("name:rkispp_scale0")];
        let auto = CameraConfig { preferred, ..CameraConfig::default() };
        assert_eq!(choose(&crowded(), &auto), Ok(("video10".into(), "NV12".into())));
        let own_format = CameraConfig { format: "YUYV".into(), ..auto.clone() };
        assert_eq!(choose(&crowded(), &own_format), Ok(("video10".into(), "YUYV".into())), "the user's word counts");
        let named = CameraConfig { device: "usb:046d:0825".into(), ..auto.clone() };
        assert_eq!(choose(&crowded(), &named), Ok(("video2".into(), "auto".into())), "the user's word counts");
        let mut webcam_only = Board::new();
        assert_eq!(choose(&webcam_only, &auto), Err(FaultKind::Missing));
        webcam_only.node(0, "HD Webcam", CAPTURE, &[b"YUYV"]);
        assert_eq!(choose(&webcam_only, &auto), Ok(("video0".into(), "auto".into())));
    }

    #[test]
    fn what_auto_means_is_a_camera_if_there_is_one_or_one_was_named() {
        let auto = CameraConfig::default();
        let named = CameraConfig { device: "usb:046d:0825".into(), ..auto.clone() };
        let empty = Board::new();
        assert_eq!(resolve_on(&empty.machine(), &auto), SourceChoice::Pattern);
        assert_eq!(resolve_on(&empty.machine(), &named), SourceChoice::V4l2);
        assert_eq!(resolve_on(&crowded().machine(), &auto), SourceChoice::V4l2);
        let mut board = Board::new();
        board.node(0, "metadata", METADATA, &[]);
        assert_eq!(resolve_on(&board.machine(), &auto), SourceChoice::Pattern);
        board.node(1, "locked", CAPTURE, &[b"NV12"]).refuse("open", libc::EACCES);
        assert_eq!(resolve_on(&board.machine(), &auto), SourceChoice::V4l2, "the picture will say what to do");
        let file = CameraConfig { source: SourceChoice::File, ..auto };
        assert_eq!(resolve_on(&empty.machine(), &file), SourceChoice::File);
    }

    #[test]
    fn a_busy_camera_names_the_process_that_holds_it() {
        let mut board = Board::new();
        let camera = board.node(0, "HD Webcam", CAPTURE, &[b"NV12"]);
        camera.refuse("set_format", libc::EBUSY);
        let machine = board.machine();
        let config = CameraConfig::default();
        let busy = |machine: &Machine| Camera::open(machine, &config, &camera.clock).err().unwrap().detail;
        assert!(busy(&machine).ends_with("dev/video0 (card of HD Webcam): busy"), "{}", busy(&machine));
        for (pid, name, target) in [(811, "bash", "/dev/null"), (812, "ffmpeg", "video0")] {
            let process = machine.proc.join(pid.to_string());
            fs::create_dir_all(process.join("fd")).unwrap();
            fs::write(process.join("comm"), format!("{name}\n")).unwrap();
            symlink(fs::canonicalize(&machine.dev).unwrap().join(target), process.join("fd/5")).unwrap();
        }
        fs::create_dir_all(machine.proc.join("not a process")).unwrap();
        assert!(busy(&machine).ends_with(": busy: held by ffmpeg (pid 812)"), "{}", busy(&machine));
    }

    #[test]
    fn the_list_has_every_camera_with_formats_and_controls_and_nothing_else() {
        let cameras = list_on(&crowded().machine());
        let names: Vec<&str> = cameras.iter().map(|camera| camera.name.as_str()).collect();
        assert_eq!(names, ["rkisp_rawwr", "HD Webcam: HD Webcam", "rkispp_scale0", "rkispp_scale0"]);
        assert!(!cameras[0].formats[0].usable);
        let webcam = &cameras[1];
        assert_eq!((webcam.usb_id.as_deref(), webcam.multiplanar), (Some("046d:0825"), false));
        assert_eq!(webcam.formats[1].sizes[0].size, "640x480");
        assert_eq!(webcam.formats[1].sizes[0].fps, [30.0]);
        let controls: Vec<_> = webcam.controls.iter().map(|c| (c.name.as_str(), c.kind, c.value)).collect();
        let expected = [
            ("Brightness", "integer", Some(11)),
            ("Anti Flicker", "menu", Some(31)),
            ("A type nobody knows", "compound", None),
        ];
        assert_eq!(controls, expected);
        assert_eq!(webcam.controls[1].menu, ["item 0", "item 2"]);
    }
}
