//! What is known of each board: the profiles of `boards/`, and which of them this machine is.
//!
//! Adding a board is one file there and one row in `BOARDS`. A profile only supplies defaults and facts; whatever the
//! user sets goes over it. Must never open a device. Input: the embedded profiles and the device tree.

use super::board_keys::PROFILE;
use super::{Config, PlaneHeight, PreferredNode, parse};
use crate::error::Result;
use crate::media::frame::{Matrix, Range};
use crate::media::srtp::SrtpProfile;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// One row per file of `boards/`; the text is the file's.
pub struct Board {
    pub name: &'static str,
    text: &'static str,
}

macro_rules! board {
    ($name:literal) => {
        Board { name: $name, text: include_str!(concat!("../../boards/", $name, ".toml")) }
    };
}

/// A machine that several rows fit is the first of them whose compatible string its device tree names first.
pub static BOARDS: &[Board] = &[
    board!("rv1126"),
    board!("rv1109"),
    board!("rv1126b"),
    board!("rk356x"),
    board!("rk3588"),
    board!("raspberry-pi-4"),
    board!("raspberry-pi-zero2"),
    board!("qemu-virt"),
    board!("pc"),
    board!("generic-armv7"),
    board!("generic-aarch64"),
];

/// What `board` may be set to.
pub fn choices() -> Vec<&'static str> {
    ["auto"].into_iter().chain(BOARDS.iter().map(|board| board.name)).collect()
}

impl Board {
    pub fn profile(&self) -> Result<Profile> {
        let profile = Profile::read(&format!("boards/{}.toml", self.name), self.text)?;
        Ok(Profile { name: self.name.into(), ..profile })
    }
}

/// A board's file. The default says nothing: a machine we know nothing of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    pub name: String,
    /// For people: `Rockchip RV1126 (4x Cortex-A7)`.
    pub title: String,
    pub matching: Matching,
    pub build: Build,
    pub capture: Capture,
    pub encoder: Encoder,
    pub network: Network,
    pub startup: Startup,
    pub permissions: Permissions,
    pub status: Status,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matching {
    /// Strings of the device tree's `compatible`; none: any machine of the architecture that no other profile fits.
    pub compatible: Vec<String>,
    /// Of the program: `arm`, `aarch64`, `x86_64`, `x86`.
    pub architecture: Vec<String>,
    /// The least memory such a board is sold with.
    pub ram_mib: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Build {
    pub target: String,
    /// The oldest C library found on such boards.
    pub glibc: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capture {
    /// Nodes by name, never by number; none: the first camera.
    pub devices: Vec<String>,
    pub fourcc: String,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub fps: Option<u32>,
    /// `driver`: S_PARM sets it; `sensor`: set elsewhere, the driver refuses or ignores S_PARM.
    pub fps_from: String,
    pub buffers: u32,
    pub matrix: String,
    pub range: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoder {
    /// Best first.
    pub backends: Vec<String>,
    /// Where the vendor's encoder library is, in the order to try.
    pub libraries: Vec<String>,
    /// Nodes the hardware encoder needs; of alternatives, each one is listed.
    pub devices: Vec<String>,
    /// Bytes the rows of copied pictures are a multiple of.
    pub stride: Option<u32>,
    /// `frame`: the chroma plane begins at stride x height of the captured picture; `rounded`: of one rounded up to 16.
    pub plane_height: String,
    /// The highest H.264 level that the hardware encoder is known to take: `4.1`.
    pub level: String,
    pub bitrate_kbps: Option<u32>,
    pub bitrate_min_kbps: u32,
    pub bitrate_max_kbps: u32,
    pub key_interval_s: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    pub max_viewers: Option<u32>,
    /// How packets are encrypted, best first. Empty: measured at start, which is better where nothing speaks against it.
    pub srtp: Vec<SrtpProfile>,
    pub wmem_max: u32,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Startup {
    /// One of these processes must run, or the picture is dark or green: the service for exposure, white balance, focus.
    pub three_a: Vec<String>,
    /// Programs of the vendor's image that hold the camera.
    pub vendor_apps: Vec<String>,
    /// What stops them.
    pub vendor_stop: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Permissions {
    pub udev: Vec<String>,
    /// For the unit's DeviceAllow.
    pub devices: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// `no`, or the date somebody ran it on such a board.
    pub verified_on_hardware: String,
    pub notes: String,
}

impl Profile {
    /// Reads a profile; `name` is how messages call the text.
    pub fn read(name: &str, text: &str) -> Result<Profile> {
        parse::read(&PROFILE, name, text)
    }

    /// Puts this board's defaults into a config that the user's settings have not been read into yet.
    pub fn lay_under(self, config: &mut Config) {
        let (matrix, range) = (self.known_matrix(), self.known_range());
        let format = if self.capture.fourcc.is_empty() { "auto".into() } else { self.capture.fourcc };
        let sets_rate = self.capture.fps_from != "sensor";
        let preferred = |device| PreferredNode { device, format: format.clone(), matrix, range, sets_rate };
        config.camera.preferred = self.capture.devices.into_iter().map(preferred).collect();
        let put = |place: &mut u32, known: Option<u32>| *place = known.unwrap_or(*place);
        put(&mut config.camera.width, self.capture.width);
        put(&mut config.camera.height, self.capture.height);
        put(&mut config.camera.fps, self.capture.fps);
        put(&mut config.encoder.bitrate_kbps.0, self.encoder.bitrate_kbps);
        put(&mut config.encoder.key_interval_s, self.encoder.key_interval_s);
        put(&mut config.webrtc.max_viewers, self.network.max_viewers);
        put(&mut config.camera.buffers, Some(self.capture.buffers).filter(|count| *count > 0));
        put(&mut config.encoder.stride, self.encoder.stride);
        if self.encoder.plane_height == "rounded" {
            config.encoder.plane_height = PlaneHeight::Rounded;
        }
        config.encoder.preferred = self.encoder.backends;
        config.encoder.libraries = self.encoder.libraries;
        config.webrtc.srtp = self.network.srtp;
    }

    /// Not one of those for any machine of an architecture.
    pub fn is_one_board(&self) -> bool {
        !self.matching.compatible.is_empty()
    }

    pub fn is_verified(&self) -> bool {
        self.status.verified_on_hardware != "no"
    }

    /// As level_idc: 41 for `4.1`. None: nothing is known, or there is no hardware encoder.
    pub fn highest_level(&self) -> Option<u8> {
        self.encoder.level.replace('.', "").parse().ok()
    }

    /// What this board's encoder can be asked for, kbit/s.
    pub fn bitrates(&self) -> RangeInclusive<u32> {
        self.encoder.bitrate_min_kbps..=self.encoder.bitrate_max_kbps
    }
}

impl Profile {
    /// None: the driver knows.
    fn known_matrix(&self) -> Option<Matrix> {
        match self.capture.matrix.as_str() {
            "bt601" => Some(Matrix::Bt601),
            "bt709" => Some(Matrix::Bt709),
            _ => None,
        }
    }

    fn known_range(&self) -> Option<Range> {
        match self.capture.range.as_str() {
            "full" => Some(Range::Full),
            "limited" => Some(Range::Limited),
            _ => None,
        }
    }
}

/// What tells one board from another.
pub struct Machine {
    pub root: PathBuf,
    /// As in `std::env::consts::ARCH`; empty: no board fits.
    pub architecture: &'static str,
}

impl Machine {
    pub fn this() -> Machine {
        Machine { root: "/".into(), architecture: std::env::consts::ARCH }
    }

    pub fn unknown() -> Machine {
        Machine { root: "/".into(), architecture: "" }
    }

    /// The device tree's names for this machine, the most exact one first; none where there is no device tree.
    pub fn compatible(&self) -> Vec<String> {
        let bytes = std::fs::read(self.root.join("proc/device-tree/compatible")).unwrap_or_default();
        let strings = bytes.split(|byte| *byte == 0).filter(|string| !string.is_empty());
        strings.map(|string| String::from_utf8_lossy(string).into_owned()).collect()
    }

    /// The profile of the board named, or for `auto` of the one this is. A name that is none gives the empty profile:
    /// the setting itself is refused elsewhere.
    pub fn profile(&self, wanted: &str) -> Result<Profile> {
        if wanted == "auto" {
            return Ok(self.recognise()?.unwrap_or_default());
        }
        BOARDS.iter().find(|board| board.name == wanted).map_or_else(|| Ok(Profile::default()), Board::profile)
    }

    fn recognise(&self) -> Result<Option<Profile>> {
        if self.architecture.is_empty() {
            return Ok(None);
        }
        let compatible = self.compatible();
        let mut best: Option<(usize, Profile)> = None;
        for board in BOARDS {
            let profile = board.profile()?;
            if let Some(rank) = self.rank(&profile, &compatible)
                && best.as_ref().is_none_or(|(other, _)| rank < *other)
            {
                best = Some((rank, profile));
            }
        }
        Ok(best.map(|(_, profile)| profile))
    }

    /// How well a profile fits, the smaller the better; None: not at all.
    fn rank(&self, profile: &Profile, compatible: &[String]) -> Option<usize> {
        if !profile.matching.architecture.iter().any(|name| name == self.architecture) {
            return None;
        }
        if profile.matching.compatible.is_empty() {
            return Some(usize::MAX);
        }
        compatible.iter().position(|string| profile.matching.compatible.contains(string))
    }
}

/// For messages: `rv1126 (Rockchip RV1126)`.
impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        if self.name.is_empty() { f.write_str("unknown") } else { write!(f, "{} ({})", self.name, self.title) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_on;
    use crate::units::KbitPerSec;

    fn every() -> Vec<Profile> {
        BOARDS.iter().map(|board| board.profile().expect("every profile is good")).collect()
    }

    /// A machine in a temporary folder with these strings in its device tree.
    fn machine(architecture: &'static str, compatible: &[&str]) -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().expect("a temporary folder");
        let tree = root.path().join("proc/device-tree");
        if !compatible.is_empty() {
            std::fs::create_dir_all(&tree).expect("writable");
            let text: String = compatible.iter().map(|string| format!("{string}\0")).collect();
            std::fs::write(tree.join("compatible"), text).expect("writable");
        }
        let machine = Machine { root: root.path().into(), architecture };
        (root, machine)
    }

    fn found(architecture: &'static str, compatible: &[&str]) -> String {
        machine(architecture, compatible).1.profile("auto").expect("every profile is good").name
    }

    #[test]
    fn every_file_of_boards_has_a_row_and_loads() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/boards");
        let entries = std::fs::read_dir(folder).expect("boards/ is there");
        let mut files: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().into_string().expect("plain names")).collect();
        files.sort();
        let mut rows: Vec<String> = every().iter().map(|profile| format!("{}.toml", profile.name)).collect();
        rows.sort();
        assert_eq!(files, rows);
    }

    #[test]
    fn every_profile_says_what_the_others_rely_on() {
        for profile in every() {
            let name = &profile.name;
            assert!(!profile.title.is_empty(), "{name}: title");
            assert!(!profile.matching.architecture.is_empty(), "{name}: match.architecture");
            assert!(!profile.build.target.is_empty() && !profile.build.glibc.is_empty(), "{name}: build");
            assert_eq!(
                profile.encoder.backends.last().map(String::as_str),
                Some("openh264"),
                "{name}: the last resort"
            );
            assert!(profile.network.max_viewers.is_some(), "{name}: network.max_viewers");
            let mpp = profile.encoder.backends.iter().any(|backend| backend == "mpp");
            assert_eq!(mpp, !profile.encoder.libraries.is_empty(), "{name}: encoder.libraries");
            assert!(
                profile.permissions.devices.contains(&"char-video4linux".to_owned()),
                "{name}: permissions.devices"
            );
            assert_eq!(profile.status.verified_on_hardware, "no", "{name}: nobody ran it on hardware yet");
            let mut config = Config::default();
            profile.clone().lay_under(&mut config);
            assert!(profile.bitrates().contains(&config.encoder.bitrate_kbps.0), "{name}: bit rate and its bounds");
            for device in &profile.capture.devices {
                assert!(!device.starts_with("/dev/video"), "{name}: {device}: numbers move");
            }
        }
    }

    #[test]
    fn the_unit_and_the_udev_rules_cover_every_profile() {
        let unit = include_str!("../../systemd/rtcam.service");
        let rules = include_str!("../../systemd/60-rtcam.rules");
        for profile in every() {
            for device in &profile.permissions.devices {
                let line = format!("DeviceAllow={device} rw");
                assert!(unit.lines().any(|have| have == line), "{}: the unit lacks {line}", profile.name);
            }
            for rule in &profile.permissions.udev {
                assert!(rules.lines().any(|have| have == rule), "{}: the rules lack {rule}", profile.name);
            }
        }
    }

    #[test]
    fn boards_are_known_by_the_most_exact_name_in_their_device_tree() {
        for (compatible, name) in [
            (vec!["rockchip,rv1126-evb-ddr3-v13", "rockchip,rv1126"], "rv1126"),
            (vec!["rockchip,rv1109-38x38-v10", "rockchip,rv1109"], "rv1109"),
            // a board of the smaller chip whose maker left both names
            (vec!["vendor,cam", "rockchip,rv1109", "rockchip,rv1126"], "rv1109"),
            (vec!["raspberrypi,4-model-b", "brcm,bcm2711"], "raspberry-pi-4"),
            (vec!["linux,dummy-virt"], "qemu-virt"),
            (vec!["somebody,else"], "generic-armv7"),
            (vec![], "generic-armv7"),
        ] {
            assert_eq!(found("arm", &compatible), name, "{compatible:?}");
        }
        assert_eq!(found("aarch64", &["vendor,x", "rockchip,rk3588s"]), "rk3588");
        assert_eq!(found("aarch64", &["rockchip,rk3566"]), "rk356x");
        assert_eq!(found("aarch64", &["rockchip,rv1126b"]), "rv1126b");
        assert_eq!(found("aarch64", &["rockchip,rv1126"]), "generic-aarch64", "no such chip runs 64 bits");
        assert_eq!(found("aarch64", &["raspberrypi,model-zero-2-w", "brcm,bcm2837"]), "raspberry-pi-zero2");
        assert_eq!(found("x86_64", &[]), "pc");
        assert_eq!(found("riscv64", &[]), "");
        assert_eq!(found("", &["rockchip,rv1126"]), "");
    }

    /// What an RV1126 makes of a config text and arguments.
    fn on_rv1126(text: &str, sets: &[&str]) -> Config {
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        let (_root, machine) = machine("arm", &["rockchip,rv1126"]);
        parse_on(&machine, "rtcam.toml", text, &sets).expect("a good config")
    }

    #[test]
    fn a_profile_says_where_an_encoder_looks_for_the_planes() {
        let text = "[encoder]\nstride = 64\nplane_height = \"rounded\"\nlevel = \"4.2\"\n";
        let profile = Profile::read("boards/test.toml", text).expect("a good profile");
        assert_eq!(profile.highest_level(), Some(42));
        let mut config = Config::default();
        profile.lay_under(&mut config);
        assert_eq!((config.encoder.stride, config.encoder.plane_height), (64, PlaneHeight::Rounded));
    }

    #[test]
    fn without_settings_the_profile_counts_and_elsewhere_the_builtin_default() {
        let config = on_rv1126("", &[]);
        assert_eq!(config.profile.name, "rv1126");
        assert_eq!((config.camera.width, config.camera.height), (1280, 720));
        assert_eq!(config.webrtc.max_viewers, 12);
        assert_eq!(config.encoder.bitrate_kbps, KbitPerSec(2500));
        assert_eq!(config.camera.preferred[0].device, "name:rkispp_scale0");
        assert_eq!(config.camera.preferred[0].format, "NV12");
        assert_eq!(config.camera.preferred[0].range, Some(Range::Full));
        assert!(
            !config.camera.preferred[0].sets_rate && config.camera.sets_rate,
            "the sensor's, but a webcam's is set"
        );
        assert_eq!((config.encoder.stride, config.encoder.plane_height), (16, PlaneHeight::Frame));
        assert_eq!(config.camera.range, None, "a webcam in the board's USB port is not the board's own camera");
        assert_eq!(config.encoder.preferred, ["mpp", "openh264"]);
        assert_eq!(config.encoder.libraries.last().map(String::as_str), Some("/oem/usr/lib/librockchip_mpp.so"));
        assert!(config.webrtc.srtp.is_empty(), "measured at start");
        assert_eq!(config.http, Config::default().http, "a profile says nothing about the network address");
    }

    #[test]
    fn a_profile_may_say_how_packets_are_encrypted() {
        let text = "[network]\nsrtp = [\"AES_CM_128_HMAC_SHA1_80\", \"AEAD_AES_128_GCM\"]";
        let mut config = Config::default();
        Profile::read("b.toml", text).expect("a good profile").lay_under(&mut config);
        assert_eq!(config.webrtc.srtp, [SrtpProfile::Cm, SrtpProfile::Gcm]);
        let error = Profile::read("b.toml", "[network]\nsrtp = [\"NULL\"]").expect_err("no such thing").to_string();
        assert!(error.starts_with("b.toml:2: network.srtp = [\"NULL\"]: \"NULL\": "), "{error}");
    }

    #[test]
    fn the_users_file_goes_over_the_profile_and_arguments_over_the_file() {
        let text = "[camera]\nwidth = 640\n[webrtc]\nmax_viewers = 3\n[encoder]\nbitrate_kbps = 900\n";
        let config = on_rv1126(text, &["webrtc.max_viewers=4"]);
        assert_eq!((config.camera.width, config.camera.height), (640, 720), "only the keys that were set");
        assert_eq!(config.webrtc.max_viewers, 4);
        assert_eq!(config.encoder.bitrate_kbps, KbitPerSec(900));
    }

    #[test]
    fn a_device_the_user_names_is_taken_whatever_the_profile_prefers() {
        let config = on_rv1126("[camera]\ndevice = \"usb:046d:0825\"\n", &[]);
        assert_eq!(config.camera.device, "usb:046d:0825");
        assert_eq!(config.camera.format, "auto", "a preferred node's format is not that of a webcam");
    }

    #[test]
    fn board_in_file_or_argument_overrides_what_the_machine_is() {
        assert_eq!(on_rv1126("board = \"rv1109\"", &[]).webrtc.max_viewers, 6);
        assert_eq!(on_rv1126("board = \"rv1109\"", &["board=pc"]).profile.name, "pc");
        assert_eq!(on_rv1126("board = \"rv1109\"", &["board=auto"]).profile.name, "rv1126");
        let stays = on_rv1126("board = \"pc\"\n[webrtc]\nmax_viewers = 5\n", &[]);
        assert_eq!((stays.webrtc.max_viewers, stays.board.as_str()), (5, "pc"));
    }

    #[test]
    fn an_unknown_board_is_refused_with_the_nearest_one() {
        let error =
            crate::config::parse("rtcam.toml", "board = \"rv1162\"", &[]).expect_err("there is none").to_string();
        assert!(error.starts_with("rtcam.toml:1: board = \"rv1162\": must be one of \"auto\", \"rv1126\","), "{error}");
        assert!(error.ends_with("; did you mean \"rv1126\"?"), "{error}");
        let error = crate::config::parse("rtcam.toml", "bord = \"pc\"", &[]).expect_err("no such key").to_string();
        assert!(error.ends_with("unknown key \"bord\" outside a section; did you mean \"board\"?"), "{error}");
    }

    #[test]
    fn mistakes_in_a_profile_are_told_with_file_and_line() {
        for (text, expected) in [
            ("[capture]\nwidht = 1", "b.toml:2: [capture] unknown key \"widht\"; did you mean \"width\"?"),
            ("[captur]", "b.toml:1: unknown section [captur]; did you mean [capture]?"),
            (
                "\n[network]\nmax_viewers = \"many\"",
                "b.toml:3: network.max_viewers = \"many\": expected a whole number",
            ),
            (
                "[capture]\ndevices = [\"/dev/video0\"]",
                "b.toml:2: capture.devices = [\"/dev/video0\"]: \"/dev/video0\": ",
            ),
            ("[status]\nverified_on_hardware = \"yes\"", "b.toml:2: status.verified_on_hardware = \"yes\": must be "),
        ] {
            let error = Profile::read("b.toml", text).expect_err("it has a mistake").to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
