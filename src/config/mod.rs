//! What the user may set, as checked types; every default is written once, here and in `camera.rs`.
//!
//! Names and ranges are in `keys.rs` (one row per key), rules between keys in `check.rs`. Must never read a device or
//! the network. Input: `parse.rs` (TOML text and `--set` arguments).

pub mod board;
mod board_keys;
mod camera;
mod check;
mod ice_url;
mod keys;
mod parse;
mod rule;

pub use camera::{CameraConfig, PreferredNode, Preset, SourceChoice};
pub use check::FurtherRule;
pub use ice_url::{IceUrl, Scheme, Transport};
pub use keys::{USER_NAME_FORM, is_user_name};
pub use parse::{load, parse, parse_on};

use crate::media::srtp::SrtpProfile;
use crate::units::KbitPerSec;
use board::Profile;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `auto` or the name of a board.
    pub board: String,
    /// Where keys, links and certificates are kept. Empty: the usual place.
    pub state_dir: PathBuf,
    /// What is known of the board this is; not a setting. Its defaults lie below the user's.
    pub profile: Profile,
    pub camera: CameraConfig,
    pub overlays: Vec<OverlayConfig>,
    pub encoder: EncoderConfig,
    pub http: HttpConfig,
    pub auth: AuthConfig,
    pub webrtc: WebRtcConfig,
    pub room: RoomConfig,
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            board: "auto".into(),
            state_dir: PathBuf::new(),
            profile: Profile::default(),
            camera: CameraConfig::default(),
            overlays: Vec::new(),
            encoder: EncoderConfig::default(),
            http: HttpConfig::default(),
            auth: AuthConfig::default(),
            webrtc: WebRtcConfig::default(),
            room: RoomConfig::default(),
            log: LogConfig::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    Logo,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corner {
    TopLeft,
    TopRight,
    BottomLeft,
    BottomRight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Colour,
    Grey,
}

/// One layer, drawn in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct OverlayConfig {
    pub kind: LayerKind,
    /// logo: PNG or JPEG. Empty: the rtcam logo.
    pub file: PathBuf,
    /// text: strftime codes, {host}, {fps}; UTF-8.
    pub text: String,
    /// text: a TrueType/OpenType file. Empty: the embedded font.
    pub font: PathBuf,
    /// text: height of a line in pixels.
    pub size: u32,
    /// text: `#rrggbb`.
    pub colour: String,
    /// text: darken a box behind the letters, 0.0 (none)..=1.0 (black).
    pub background: f32,
    pub corner: Corner,
    /// Distance from the corner's edges, pixels.
    pub margin: u32,
    /// Left upper corner in pixels; both given: they replace `corner`.
    pub x: Option<i32>,
    pub y: Option<i32>,
    /// logo: times its own size.
    pub scale: f32,
    /// 0.0 is invisible, 1.0 hides the picture.
    pub opacity: f32,
    /// logo: `colour`, or `grey` for brightness only on a neutral ground.
    pub tone: Tone,
}

impl Default for OverlayConfig {
    fn default() -> Self {
        OverlayConfig {
            kind: LayerKind::Logo,
            file: PathBuf::new(),
            text: "%Y-%m-%d %H:%M:%S".into(),
            font: PathBuf::new(),
            size: 24,
            colour: "#ffffff".into(),
            background: 0.4,
            corner: Corner::TopRight,
            margin: 16,
            x: None,
            y: None,
            scale: 1.0,
            opacity: 1.0,
            tone: Tone::Colour,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// `auto` or a backend's name (`mpp`, `v4l2_m2m`, `openh264`).
    pub backend: String,
    pub bitrate_kbps: KbitPerSec,
    /// Longest time between key frames, seconds. Joining viewers get theirs at once, so long is cheap.
    pub key_interval_s: u32,
    /// `auto` (`libraries`) or the file of Rockchip's MPP library.
    pub mpp_library: String,
    /// What `backend = "auto"` tries, best first: from the board's profile. Empty: every backend there is.
    pub preferred: Vec<String>,
    /// What `mpp_library = "auto"` tries, from the board's profile. Empty: the usual names.
    pub libraries: Vec<String>,
    /// Rows of pictures that are copied for a hardware encoder are a multiple of so many bytes: from the board's profile.
    pub stride: u32,
    /// Where MPP looks for the chroma plane: from the board's profile.
    pub plane_height: PlaneHeight,
}

/// The rows of luma before the chroma plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaneHeight {
    /// Those of the picture.
    Frame,
    /// A multiple of 16.
    Rounded,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        EncoderConfig {
            backend: "auto".into(),
            bitrate_kbps: KbitPerSec(1500),
            key_interval_s: 10,
            mpp_library: "auto".into(),
            preferred: Vec::new(),
            libraries: Vec::new(),
            stride: 16,
            plane_height: PlaneHeight::Frame,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    /// Names by which browsers may reach us besides our own addresses, `host` or `host:port` (Origin and Host check).
    pub names: Vec<String>,
    pub tls: TlsMode,
    /// PEM files of `tls = "files"`.
    pub tls_certificate: PathBuf,
    pub tls_key: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    Off,
    /// A certificate of our own making, kept in the state directory.
    SelfSigned,
    Files,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            names: Vec::new(),
            tls: TlsMode::Off,
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
        }
    }
}

/// What somebody may do; each may do all that the one before may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Watches, chats, may ask for control.
    #[default]
    Viewer,
    /// May change overlay and camera while nobody else holds control.
    Operator,
    /// Grants control, changes roles, removes people, makes links.
    Host,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Host => "host",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Credentials are needed where any are set; without, everybody on this machine is at home.
    Auto,
    /// Nobody needs credentials, on whatever address. Only by the user's own hand.
    Open,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AuthConfig {
    pub mode: AuthMode,
    /// With `mode = "open"`: what somebody without credentials may do.
    pub open_role: Role,
    /// The one shared password, as an Argon2 hash in PHC form, printed by `rtcam password`. Empty: there is none.
    pub password_hash: Secret,
    pub password_role: Role,
    pub users: Vec<UserConfig>,
    /// How long a login lasts.
    pub session_hours: u32,
}

impl Default for AuthConfig {
    fn default() -> Self {
        AuthConfig {
            mode: AuthMode::Auto,
            open_role: Role::Viewer,
            password_hash: Secret::default(),
            password_role: Role::Host,
            users: Vec::new(),
            session_hours: 12,
        }
    }
}

impl AuthConfig {
    pub fn has_credentials(&self) -> bool {
        !self.password_hash.is_empty() || !self.users.is_empty()
    }

    /// What somebody who shows nothing may do; None: nothing at all.
    pub fn role_of_strangers(&self) -> Option<Role> {
        match self.mode {
            AuthMode::Open => Some(self.open_role),
            AuthMode::Auto if self.has_credentials() => None,
            AuthMode::Auto => Some(Role::Host),
        }
    }
}

/// One `[[auth.user]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserConfig {
    pub name: String,
    pub role: Role,
    pub password_hash: Secret,
}

/// A value that never reaches a log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(secret)" })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct WebRtcConfig {
    /// The one UDP port all viewers share; 0 lets the system choose.
    pub udp_port: u16,
    /// The TCP port for viewers whose network lets no UDP through (RFC 6544); 0: none.
    pub tcp_port: u16,
    /// Addresses browsers reach us by that no interface of ours has.
    pub extra_addresses: Vec<ExtraAddress>,
    /// STUN and TURN servers, for the page and for ourselves.
    pub ice_servers: Vec<IceServerConfig>,
    /// One more gets an answer that says so.
    pub max_viewers: u32,
    /// Playout delay asked of browsers, in milliseconds. 0/0 shows each picture at once.
    pub playout_delay_min_ms: u32,
    pub playout_delay_max_ms: u32,
    /// How packets are encrypted, best first: from the board's profile. Empty: measured at start.
    pub srtp: Vec<SrtpProfile>,
}

impl Default for WebRtcConfig {
    fn default() -> Self {
        WebRtcConfig {
            udp_port: 8189,
            tcp_port: 0,
            extra_addresses: Vec::new(),
            ice_servers: Vec::new(),
            max_viewers: 32,
            playout_delay_min_ms: 0,
            playout_delay_max_ms: 0,
            srtp: Vec::new(),
        }
    }
}

/// An address of a NAT or cloud gateway in front of us that forwards our ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtraAddress {
    pub public: IpAddr,
    /// Offered only while this machine has this address. None: always.
    pub private: Option<IpAddr>,
}

impl ExtraAddress {
    /// `203.0.113.7` or `203.0.113.7/10.0.0.5`.
    pub fn parse(text: &str) -> Option<ExtraAddress> {
        let (public, private) = match text.split_once('/') {
            Some((public, private)) => (public, Some(private.parse::<IpAddr>().ok()?)),
            None => (text, None),
        };
        let public: IpAddr = public.parse().ok()?;
        let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
        let one_family = private.is_none_or(|private| private.is_ipv4() == public.is_ipv4() && usable(&private));
        (usable(&public) && one_family).then_some(ExtraAddress { public, private })
    }
}

/// One `[[webrtc.ice_server]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServerConfig {
    /// `stun:`, `stuns:`, `turn:` or `turns:` URLs of one server (RFC 7064, RFC 7065).
    pub urls: Vec<String>,
    /// TURN with an account of its own.
    pub username: String,
    pub credential: Secret,
    /// TURN with time-limited credentials: what coturn's `static-auth-secret` says.
    pub secret: Secret,
    /// How long such credentials are good for, seconds.
    pub ttl_s: u32,
}

impl Default for IceServerConfig {
    fn default() -> Self {
        IceServerConfig {
            urls: Vec::new(),
            username: String::new(),
            credential: Secret::default(),
            secret: Secret::default(),
            ttl_s: 3600,
        }
    }
}

/// What becomes of the room when its last host leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostLeaves {
    /// Control stays with its holder.
    Keep,
    /// Control becomes free.
    Release,
    /// Newcomers are refused until a host is back.
    Close,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RoomConfig {
    pub host_leaves: HostLeaves,
    /// Off: only hosts write.
    pub chat: bool,
    /// Seats; never fewer than `webrtc.max_viewers`.
    pub max_people: u32,
}

impl Default for RoomConfig {
    fn default() -> Self {
        RoomConfig { host_leaves: HostLeaves::Keep, chat: true, max_people: 64 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    pub level: LogLevel,
    /// One JSON line per viewer and 10 s. Empty: none are written.
    pub viewers_file: PathBuf,
    /// Megabytes after which a new file is begun; three are kept.
    pub viewers_file_mb: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { level: LogLevel::Info, viewers_file: PathBuf::new(), viewers_file_mb: 1 }
    }
}
