//! Every key of the config file: its name, its range or form, and where its value goes. One row per key.
//!
//! Must never hold a default (those are in `mod.rs`). Input: `parse.rs` looks the rows up; what a row
//! can say is in `rule.rs`.

use super::board;
use super::rule::{Key, List, Plan, Rule, Section, even, flag, fraction, one_of, secret, text, whole};
use super::{
    AuthMode, Config, Corner, ExtraAddress, HostLeaves, IceServerConfig, IceUrl, LayerKind, LogLevel, OverlayConfig,
    Preset, Role, Secret, SourceChoice, TlsMode, Tone, UserConfig,
};
use crate::units::KbitPerSec;
use argon2::password_hash::phc::PasswordHash;
use std::path::PathBuf;

/// The config file, in the order of `rtcam.example.toml`.
pub static CONFIG: Plan<Config> =
    Plan { top: TOP, sections: SECTIONS, lists: &["overlay", "camera.preset", "auth.user", "webrtc.ice_server"] };

pub static OVERLAYS: List<OverlayConfig> =
    List { name: "overlay", keys: OVERLAY, most: 32, example: r#"{type="logo"}"# };

pub static PRESETS: List<Preset> =
    List { name: "camera.preset", keys: PRESET, most: 16, example: r#"{name="night", controls={brightness=10}}"# };

pub static USERS: List<UserConfig> =
    List { name: "auth.user", keys: USER, most: 64, example: r#"{name="anna", role="host", password_hash="..."}"# };

pub static ICE_SERVERS: List<IceServerConfig> =
    List { name: "webrtc.ice_server", keys: ICE_SERVER, most: 4, example: r#"{urls=["stun:stun.example.org"]}"# };

static TOP: &[Key<Config>] = &[
    Key { name: "board", rule: Rule::Known { words: board::choices, set: |c, v| c.board = v.into() } },
    text("state_dir", "a path", |c, v| put_path(&mut c.state_dir, v)),
];

static SECTIONS: &[Section<Config>] = &[
    Section { name: "camera", keys: CAMERA },
    Section { name: "encoder", keys: ENCODER },
    Section { name: "http", keys: HTTP },
    Section { name: "auth", keys: AUTH },
    Section { name: "webrtc", keys: WEBRTC },
    Section { name: "room", keys: ROOM },
    Section { name: "log", keys: LOG },
];

static CAMERA: &[Key<Config>] = &[
    one_of(
        "source",
        &[
            ("auto", |c| c.camera.source = SourceChoice::Auto),
            ("v4l2", |c| c.camera.source = SourceChoice::V4l2),
            ("pattern", |c| c.camera.source = SourceChoice::Pattern),
            ("file", |c| c.camera.source = SourceChoice::File),
        ],
    ),
    text("device", r#""auto", a path such as "/dev/video0", "name:rkispp_scale0" or "usb:046d:0825""#, |c, v| {
        c.camera.device = v.into();
        is_device(v)
    }),
    even("width", 16, 4096, |c, v| c.camera.width = v as u32),
    even("height", 16, 4096, |c, v| c.camera.height = v as u32),
    whole("fps", 1, 240, |c, v| c.camera.fps = v as u32),
    text("format", r#""auto" or a V4L2 FourCC such as "NV12", "YUYV" or "MJPG""#, |c, v| {
        c.camera.format = v.into();
        is_pixel_format(v)
    }),
    text("file", "a path", |c, v| put_path(&mut c.camera.file, v)),
    flag("timecode", |c, v| c.camera.timecode = v),
];

/// The keys of one `[[camera.preset]]`.
static PRESET: &[Key<Preset>] = &[
    text("name", "text of 1 to 32 characters", |p, v| {
        p.name = v.into();
        (1..=32).contains(&v.chars().count()) && !v.chars().any(char::is_control)
    }),
    Key {
        name: "controls",
        rule: Rule::Numbers {
            form: "at most 32 names of controls, each with a whole number, true or false",
            add: |p, name, value| {
                p.controls.insert(name.into(), value);
                p.controls.len() <= 32 && !name.is_empty()
            },
        },
    },
];

/// The keys of one `[[overlay]]`.
static OVERLAY: &[Key<OverlayConfig>] = &[
    one_of("type", &[("logo", |o| o.kind = LayerKind::Logo), ("text", |o| o.kind = LayerKind::Text)]),
    text("file", "a path", |o, v| put_path(&mut o.file, v)),
    text("text", "text of at most 512 bytes without control characters", |o, v| {
        o.text = v.into();
        v.len() <= 512 && !v.chars().any(char::is_control)
    }),
    text("font", "a path", |o, v| put_path(&mut o.font, v)),
    whole("size", 8, 400, |o, v| o.size = v as u32),
    text("colour", r##"six hexadecimal digits such as "#ffffff""##, |o, v| {
        o.colour = v.into();
        v.strip_prefix('#').is_some_and(|digits| is_hex(digits, 6))
    }),
    fraction("background", 0.0, 1.0, |o, v| o.background = v),
    one_of(
        "corner",
        &[
            ("top-left", |o| o.corner = Corner::TopLeft),
            ("top-right", |o| o.corner = Corner::TopRight),
            ("bottom-left", |o| o.corner = Corner::BottomLeft),
            ("bottom-right", |o| o.corner = Corner::BottomRight),
        ],
    ),
    whole("margin", 0, 4096, |o, v| o.margin = v as u32),
    whole("x", -4096, 4096, |o, v| o.x = Some(v as i32)),
    whole("y", -4096, 4096, |o, v| o.y = Some(v as i32)),
    fraction("scale", 0.05, 20.0, |o, v| o.scale = v),
    fraction("opacity", 0.0, 1.0, |o, v| o.opacity = v),
    one_of("tone", &[("colour", |o| o.tone = Tone::Colour), ("grey", |o| o.tone = Tone::Grey)]),
];

static ENCODER: &[Key<Config>] = &[
    text("backend", r#""auto" or the name of an encoder: "mpp", "v4l2_m2m", "openh264""#, |c, v| {
        c.encoder.backend = v.into();
        !v.is_empty() && v.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }),
    whole("bitrate_kbps", 100, 40_000, |c, v| c.encoder.bitrate_kbps = KbitPerSec(v as u32)),
    whole("key_interval_s", 1, 3600, |c, v| c.encoder.key_interval_s = v as u32),
    text("mpp_library", r#""auto" or the path of librockchip_mpp.so"#, |c, v| {
        c.encoder.mpp_library = v.into();
        !v.is_empty() && !v.contains('\0')
    }),
];

static HTTP: &[Key<Config>] = &[
    text("listen", r#"an address and a port such as "127.0.0.1:8080", "0.0.0.0:8080" or "[::]:8080""#, |c, v| {
        v.parse().map(|address| c.http.listen = address).is_ok()
    }),
    Key {
        name: "names",
        rule: Rule::Texts {
            form: r#"names as "host" or "host:port", without http://"#,
            clear: |c| c.http.names.clear(),
            add: |c, v| {
                c.http.names.push(v.into());
                is_host(v)
            },
        },
    },
    one_of(
        "tls",
        &[
            ("off", |c| c.http.tls = TlsMode::Off),
            ("self-signed", |c| c.http.tls = TlsMode::SelfSigned),
            ("files", |c| c.http.tls = TlsMode::Files),
        ],
    ),
    text("tls_certificate", "a path", |c, v| put_path(&mut c.http.tls_certificate, v)),
    text("tls_key", "a path", |c, v| put_path(&mut c.http.tls_key, v)),
];

static AUTH: &[Key<Config>] = &[
    one_of("mode", &[("auto", |c| c.auth.mode = AuthMode::Auto), ("open", |c| c.auth.mode = AuthMode::Open)]),
    one_of(
        "open_role",
        &[
            ("viewer", |c| c.auth.open_role = Role::Viewer),
            ("operator", |c| c.auth.open_role = Role::Operator),
            ("host", |c| c.auth.open_role = Role::Host),
        ],
    ),
    Key {
        name: "password_hash",
        rule: Rule::Secret {
            form: "the line that `rtcam password` prints (an Argon2 hash), not the password itself",
            set: |c, v| {
                c.auth.password_hash = Secret::new(v);
                v.is_empty() || is_password_hash(v)
            },
        },
    },
    one_of(
        "password_role",
        &[
            ("viewer", |c| c.auth.password_role = Role::Viewer),
            ("operator", |c| c.auth.password_role = Role::Operator),
            ("host", |c| c.auth.password_role = Role::Host),
        ],
    ),
    whole("session_hours", 1, 720, |c, v| c.auth.session_hours = v as u32),
];

/// The keys of one `[[auth.user]]`.
static USER: &[Key<UserConfig>] = &[
    text("name", USER_NAME_FORM, |u, v| {
        u.name = v.into();
        is_user_name(v)
    }),
    one_of(
        "role",
        &[
            ("viewer", |u| u.role = Role::Viewer),
            ("operator", |u| u.role = Role::Operator),
            ("host", |u| u.role = Role::Host),
        ],
    ),
    Key {
        name: "password_hash",
        rule: Rule::Secret {
            form: "the line that `rtcam access add` prints (an Argon2 hash), not the password itself",
            set: |u, v| {
                u.password_hash = Secret::new(v);
                is_password_hash(v)
            },
        },
    },
];

pub const USER_NAME_FORM: &str = "1 to 32 characters without a colon, control characters or blanks at its ends";

/// People see it, and Basic ends it with a colon.
pub fn is_user_name(value: &str) -> bool {
    (1..=32).contains(&value.chars().count())
        && !value.contains(|c: char| c == ':' || c.is_control())
        && value.trim() == value
}

static WEBRTC: &[Key<Config>] = &[
    whole("udp_port", 0, 65_535, |c, v| c.webrtc.udp_port = v as u16),
    whole("tcp_port", 0, 65_535, |c, v| c.webrtc.tcp_port = v as u16),
    Key {
        name: "extra_addresses",
        rule: Rule::Texts {
            form: r#"at most 8 addresses as "203.0.113.7" or "203.0.113.7/10.0.0.5""#,
            clear: |c| c.webrtc.extra_addresses.clear(),
            add: |c, v| {
                let address = ExtraAddress::parse(v);
                c.webrtc.extra_addresses.extend(address);
                address.is_some() && c.webrtc.extra_addresses.len() <= 8
            },
        },
    },
    whole("max_viewers", 1, 256, |c, v| c.webrtc.max_viewers = v as u32),
    whole("playout_delay_min_ms", 0, 40_950, |c, v| c.webrtc.playout_delay_min_ms = v as u32),
    whole("playout_delay_max_ms", 0, 40_950, |c, v| c.webrtc.playout_delay_max_ms = v as u32),
];

/// The keys of one `[[webrtc.ice_server]]`.
static ICE_SERVER: &[Key<IceServerConfig>] = &[
    Key {
        name: "urls",
        rule: Rule::Texts {
            form: r#"at most 4 URLs as "stun:HOST", "turn:HOST:3478", "turn:HOST?transport=tcp" or "turns:HOST""#,
            clear: |s| s.urls.clear(),
            add: |s, v| {
                s.urls.push(v.into());
                IceUrl::parse(v).is_some() && s.urls.len() <= 4
            },
        },
    },
    text("username", "text of at most 128 bytes without control characters", |s, v| {
        s.username = v.into();
        is_short_text(v)
    }),
    secret("credential", "text of at most 128 bytes without control characters", |s, v| {
        s.credential = Secret::new(v);
        is_short_text(v)
    }),
    secret("secret", "text of at most 128 bytes without control characters", |s, v| {
        s.secret = Secret::new(v);
        is_short_text(v)
    }),
    whole("ttl_s", 60, 3600, |s, v| s.ttl_s = v as u32),
];

static ROOM: &[Key<Config>] = &[
    one_of(
        "host_leaves",
        &[
            ("keep", |c| c.room.host_leaves = HostLeaves::Keep),
            ("release", |c| c.room.host_leaves = HostLeaves::Release),
            ("close", |c| c.room.host_leaves = HostLeaves::Close),
        ],
    ),
    flag("chat", |c, v| c.room.chat = v),
    whole("max_people", 1, 256, |c, v| c.room.max_people = v as u32),
];

static LOG: &[Key<Config>] = &[
    one_of(
        "level",
        &[
            ("error", |c| c.log.level = LogLevel::Error),
            ("warn", |c| c.log.level = LogLevel::Warn),
            ("info", |c| c.log.level = LogLevel::Info),
            ("debug", |c| c.log.level = LogLevel::Debug),
        ],
    ),
    text("viewers_file", "a path", |c, v| put_path(&mut c.log.viewers_file, v)),
    whole("viewers_file_mb", 1, 1024, |c, v| c.log.viewers_file_mb = v as u32),
];

fn put_path(place: &mut PathBuf, value: &str) -> bool {
    *place = value.into();
    !value.contains('\0')
}

fn is_short_text(value: &str) -> bool {
    value.len() <= 128 && !value.chars().any(char::is_control)
}

fn is_hex(digits: &str, count: usize) -> bool {
    digits.len() == count && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_device(value: &str) -> bool {
    match value.split_once(':') {
        Some(("name", name)) => !name.is_empty(),
        Some(("usb", ids)) => {
            ids.split_once(':').is_some_and(|(vendor, product)| is_hex(vendor, 4) && is_hex(product, 4))
        }
        // a path may hold colons: /dev/v4l/by-path/platform-xhci:0
        _ => value == "auto" || value.len() > 1 && value.starts_with('/') && !value.contains('\0'),
    }
}

fn is_pixel_format(value: &str) -> bool {
    value == "auto"
        || value.len() == 4 && value.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ')
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`, as in a Host header.
fn is_host(value: &str) -> bool {
    let (host, port) = match value.rfind(':') {
        Some(colon) if !value[colon..].contains(']') => (&value[..colon], Some(&value[colon + 1..])),
        _ => (value, None),
    };
    let host_is_fine = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(literal) => literal.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    };
    host_is_fine && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn is_password_hash(value: &str) -> bool {
    PasswordHash::new(value).is_ok_and(|hash| {
        hash.algorithm.as_str().starts_with("argon2")
            && hash.salt.is_some()
            && hash.hash.is_some()
            && argon2::Params::try_from(&hash).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_by_path_name_or_usb_id() {
        for good in ["auto", "/dev/video0", "name:HD Webcam: one", "usb:046d:0825", "/dev/v4l/by-path/a:1"] {
            assert!(is_device(good), "{good}");
        }
        for bad in ["", "video0", "/", "name:", "usb:46d:0825", "usb:046d", "usb:046g:0825", "Auto"] {
            assert!(!is_device(bad), "{bad}");
        }
    }

    #[test]
    fn names_are_hosts_with_or_without_a_port() {
        for good in ["cam", "cam.local", "cam.local:80", "10.0.0.2:8080", "[fe80::1]", "[::1]:8080"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "http://cam", "cam/", "cam:", "cam:99999", ":80", "[cam]", "[::1]x", "a b"] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn only_a_whole_argon2_hash_is_a_password_hash() {
        let good = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(is_password_hash(good));
        let no_hash = good.rsplit_once('$').expect("the hash is the last part").0;
        let other = good.replace("argon2id", "scrypt");
        for bad in ["hunter2", no_hash, &other, &good[1..], &good.replace("m=65536", "m=1")] {
            assert!(!is_password_hash(bad), "{bad}");
        }
    }

    const EXAMPLE: &str = include_str!("../../rtcam.example.toml");

    /// The example with its commented-out settings (`#key`, without a blank) made real.
    fn whole_example() -> String {
        let open = |line: &str| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        };
        EXAMPLE.lines().map(open).collect()
    }

    /// What the comment above a key says, on one line; None when the key is not in that section.
    fn comment_of(text: &str, section: &str, key: &str) -> Option<String> {
        let (mut inside, mut comment, mut found) = (section.is_empty(), Vec::new(), None);
        for line in text.lines() {
            if let Some(words) = line.strip_prefix("# ") {
                comment.push(words);
                continue;
            }
            if line.starts_with('[') {
                inside = line.trim_matches(['[', ']']) == section;
            } else if inside && line.split(" = ").next() == Some(key) {
                found = found.or_else(|| Some(comment.join(" ")));
            }
            comment.clear();
        }
        found
    }

    fn check_comments<T>(section: &str, keys: &[Key<T>]) {
        let text = whole_example();
        for key in keys {
            let comment = comment_of(&text, section, key.name)
                .unwrap_or_else(|| panic!("{section}.{}: not in the example", key.name));
            let allowed = key.rule.allowed();
            assert!(comment.contains(&allowed), "{section}.{}: the comment lacks {allowed:?}: {comment}", key.name);
        }
    }

    #[test]
    fn the_example_is_the_defaults() {
        let config = crate::config::parse("rtcam.example.toml", EXAMPLE, &[]).expect("the example is good");
        assert_eq!(config, Config::default());
    }

    #[test]
    fn the_example_has_every_key_and_says_what_is_allowed() {
        check_comments("", CONFIG.top);
        for section in SECTIONS {
            check_comments(section.name, section.keys);
        }
        check_comments("overlay", OVERLAY);
        check_comments("auth.user", USER);
        check_comments("webrtc.ice_server", ICE_SERVER);
        check_comments("camera.preset", PRESET);
    }

    #[test]
    fn the_examples_of_lists_are_the_defaults_too() {
        let config = crate::config::parse("rtcam.example.toml", &whole_example(), &[]).expect("the example is good");
        let logo = OverlayConfig { x: Some(16), y: Some(16), ..OverlayConfig::default() };
        let text = OverlayConfig { kind: LayerKind::Text, ..OverlayConfig::default() };
        assert_eq!(config.overlays, [logo, text]);
        let server = IceServerConfig { urls: vec!["stun:stun.example.org".into()], ..IceServerConfig::default() };
        assert_eq!(config.webrtc.ice_servers, [server]);
        let controls = [("exposure_auto".into(), 1), ("brightness".into(), 10)].into();
        assert_eq!(config.camera.presets, [Preset { name: "night".into(), controls }]);
    }
}
