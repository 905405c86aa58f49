//! Every key of a board's profile (`boards/NAME.toml`): its form, and where its value goes. One row per key.
//!
//! As `keys.rs` for the config. Must never hold a board's facts: those are in the files.

use super::board::Profile;
use super::rule::{Key, Plan, Rule, Section, text, whole};
use crate::media::srtp::SrtpProfile;

pub static PROFILE: Plan<Profile> = Plan { top: TOP, sections: SECTIONS, lists: &[] };

type Row = Key<Profile>;

static TOP: &[Row] = &[text("title", "the board's name for people", |p, v| put(&mut p.title, v))];

static SECTIONS: &[Section<Profile>] = &[
    Section { name: "match", keys: MATCH },
    Section { name: "build", keys: BUILD },
    Section { name: "capture", keys: CAPTURE },
    Section { name: "encoder", keys: ENCODER },
    Section { name: "network", keys: NETWORK },
    Section { name: "startup", keys: STARTUP },
    Section { name: "permissions", keys: PERMISSIONS },
    Section { name: "status", keys: STATUS },
];

/// A list of texts, each of which `$good` takes.
macro_rules! texts {
    ($name:literal, $form:literal, $($field:ident).+, $good:expr) => {
        Key {
            name: $name,
            rule: Rule::Texts {
                form: $form,
                clear: |p| p.$($field).+.clear(),
                add: |p, v| {
                    p.$($field).+.push(v.into());
                    let good: fn(&str) -> bool = $good;
                    good(v)
                },
            },
        }
    };
}

/// One of some words.
macro_rules! word {
    ($name:literal, $($field:ident).+, [$($word:literal),+]) => {
        Key { name: $name, rule: Rule::Known { words: || vec![$($word),+], set: |p, v| p.$($field).+ = v.into() } }
    };
}

static MATCH: &[Row] = &[
    texts!("compatible", "strings as in the device tree", matching.compatible, |v| v.contains(',')),
    texts!("architecture", r#""arm", "aarch64", "x86_64" or "x86""#, matching.architecture, |v| {
        ["arm", "aarch64", "x86_64", "x86"].contains(&v)
    }),
    whole("ram_mib", 64, 65_536, |p, v| p.matching.ram_mib = v as u32),
];

static BUILD: &[Row] = &[
    text("target", "a Rust target", |p, v| put(&mut p.build.target, v)),
    text("glibc", r#"a version such as "2.28""#, |p, v| put(&mut p.build.glibc, v)),
];

static CAPTURE: &[Row] = &[
    texts!("devices", r#""name:..." or "usb:vvvv:pppp", never a number"#, capture.devices, |v| {
        v.starts_with("name:") || v.starts_with("usb:")
    }),
    text("fourcc", r#""auto" or a V4L2 FourCC"#, |p, v| put(&mut p.capture.fourcc, v) && (v == "auto" || v.len() == 4)),
    whole("width", 16, 4096, |p, v| p.capture.width = Some(v as u32)),
    whole("height", 16, 4096, |p, v| p.capture.height = Some(v as u32)),
    whole("fps", 1, 240, |p, v| p.capture.fps = Some(v as u32)),
    word!("fps_from", capture.fps_from, ["driver", "sensor"]),
    whole("buffers", 2, 32, |p, v| p.capture.buffers = v as u32),
    word!("matrix", capture.matrix, ["bt601", "bt709", "driver"]),
    word!("range", capture.range, ["full", "limited", "driver"]),
];

static ENCODER: &[Row] = &[
    texts!("backends", "names of encoders, best first", encoder.backends, |v| {
        ["mpp", "v4l2_m2m", "openh264"].contains(&v)
    }),
    texts!("libraries", "file names or paths of shared libraries", encoder.libraries, |v| v.contains(".so")),
    texts!("devices", "paths below /dev", encoder.devices, |v| v.starts_with("/dev/")),
    whole("stride", 8, 256, |p, v| p.encoder.stride = Some(v as u32)),
    word!("plane_height", encoder.plane_height, ["frame", "rounded"]),
    word!("level", encoder.level, ["3.1", "4.0", "4.2", "5.0", "5.1"]),
    whole("bitrate_kbps", 100, 40_000, |p, v| p.encoder.bitrate_kbps = Some(v as u32)),
    whole("bitrate_min_kbps", 100, 40_000, |p, v| p.encoder.bitrate_min_kbps = v as u32),
    whole("bitrate_max_kbps", 100, 40_000, |p, v| p.encoder.bitrate_max_kbps = v as u32),
    whole("key_interval_s", 1, 3600, |p, v| p.encoder.key_interval_s = Some(v as u32)),
];

static NETWORK: &[Row] = &[
    whole("max_viewers", 1, 256, |p, v| p.network.max_viewers = Some(v as u32)),
    Key {
        name: "srtp",
        rule: Rule::Texts {
            form: r#""AES_CM_128_HMAC_SHA1_80" and "AEAD_AES_128_GCM" in the order wanted"#,
            clear: |p| p.network.srtp.clear(),
            add: |p, v| {
                p.network.srtp.extend(SrtpProfile::named(v));
                SrtpProfile::named(v).is_some()
            },
        },
    },
    whole("wmem_max", 65_536, 67_108_864, |p, v| p.network.wmem_max = v as u32),
];

static STARTUP: &[Row] = &[
    texts!("three_a", "names of processes", startup.three_a, is_process),
    texts!("vendor_apps", "names of processes", startup.vendor_apps, is_process),
    text("vendor_stop", "a path", |p, v| put(&mut p.startup.vendor_stop, v) && v.starts_with('/')),
];

static PERMISSIONS: &[Row] = &[
    texts!("udev", "lines of systemd/60-rtcam.rules", permissions.udev, |v| v.contains("GROUP=")),
    texts!("devices", "as in DeviceAllow=", permissions.devices, |v| {
        v.starts_with("char-") || v.starts_with("/dev/")
    }),
];

static STATUS: &[Row] = &[
    text("verified_on_hardware", r#""no", or the date somebody ran it: "2026-05-31""#, |p, v| {
        put(&mut p.status.verified_on_hardware, v) && (v == "no" || is_date(v))
    }),
    text("notes", "what is assumed, not seen", |p, v| put(&mut p.status.notes, v)),
];

fn put(place: &mut String, value: &str) -> bool {
    *place = value.into();
    true
}

/// The kernel cuts the names of processes to 15 bytes.
fn is_process(name: &str) -> bool {
    !name.is_empty() && name.len() <= 15 && !name.contains('/')
}

fn is_date(value: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    value.len() == 10 && value.bytes().enumerate().all(shape)
}
