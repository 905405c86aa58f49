//! Floor 3: where encoded pictures go. One folder per output; `webrtc/` serves the viewers.
//!
//! Owns the words that signalling (floor 4) uses to speak with the WebRTC output: the `ViewerDoor`. Outputs must never
//! hold the pipeline up: they take from a bounded hub queue (I2).

pub mod giving_way;
pub mod webrtc;

use crate::media::srtp::SrtpProfile;
use crate::units::Micros;
use std::net::{IpAddr, SocketAddr};
use tokio::sync::{mpsc, oneshot};

/// One viewer from offer to close. Never reused while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewerId(pub u64);

/// What signalling may ask of the WebRTC output. A trait so that signalling is tested without sockets.
pub trait ViewerDoor: Send + Sync {
    /// Answers a browser's offer (recvonly video, optional data channel). The reply comes within 2 s; the viewer must
    /// then connect within 10 s or it is closed with `CloseReason::ConnectTimeout`.
    fn offer(&self, offer: Offer) -> oneshot::Receiver<Result<Answer, OfferError>>;

    /// A trickled candidate line (`candidate:...`); empty means end of candidates. Unknown viewers are ignored.
    fn add_candidate(&self, viewer: ViewerId, candidate: String);

    /// A new offer of a living viewer, with new ICE credentials: its path is found anew, everything else stays (RFC 8445
    /// section 9). An error leaves the caller with a fresh `offer`, which replaces the viewer.
    fn restart(&self, viewer: ViewerId, sdp: String) -> oneshot::Receiver<Result<Answer, OfferError>> {
        let (reply, answer) = oneshot::channel();
        let _ = reply.send(Err(OfferError::BadOffer(format!("viewer {} cannot restart ICE here", viewer.0))));
        let _ = sdp;
        answer
    }

    /// Ends a viewer. Unknown viewers are ignored. No event follows.
    fn close(&self, viewer: ViewerId);

    /// Sends text on the viewer's "sync" channel (ordered, reliable). False: it could not be taken over. What the channel
    /// cannot take later on is told by `ViewerEvent::Behind`.
    fn send(&self, viewer: ViewerId, text: String) -> bool {
        let _ = (viewer, text);
        false
    }

    /// What is known of the network in front of us.
    fn network(&self) -> NetworkStats {
        NetworkStats::default()
    }

    /// What each viewer gets, for `/api/v1/status` and `/metrics`. At most a quarter of a second old.
    fn viewers(&self) -> Vec<ViewerStats>;
}

pub struct Offer {
    pub sdp: String,
    /// The network it came from; where every place is taken, who has not connected gives way for it.
    pub from: IpAddr,
    /// Told of `Connected`, of the "sync" channel, and at last `Closed`. Bounded: the output never waits for it (a full
    /// channel loses events). A viewer whose events nobody takes any more is closed within seconds.
    pub events: mpsc::Sender<ViewerEvent>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub viewer: ViewerId,
    /// Complete: all host candidates are in it, none will be trickled.
    pub sdp: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferError {
    /// `max_viewers` are here already.
    Full { max_viewers: u32 },
    /// The offer has no H.264 with packetization-mode=1 that we could answer.
    NoH264,
    /// Not an SDP offer we understand; the reason in words.
    BadOffer(String),
    /// No encoded picture yet and none to be had (the encoder does not start).
    NotReady(String),
}

impl std::fmt::Display for OfferError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            OfferError::Full { max_viewers } => write!(f, "all {max_viewers} places are taken; try again later"),
            OfferError::NoH264 => write!(f, "the offer has no H.264 (packetization-mode=1); rtcam sends H.264 only"),
            OfferError::BadOffer(reason) => write!(f, "the offer cannot be used: {reason}"),
            OfferError::NotReady(reason) => write!(f, "the stream is not ready: {reason}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewerEvent {
    Connected,
    /// Text (or UTF-8 bytes) on the viewer's "sync" channel that the output does not answer by itself.
    Said(String),
    /// Comes before `Closed(ConnectTimeout)`: what was tried in vain.
    Tried(Box<Tried>),
    /// The "sync" channel opened or closed.
    Channel(bool),
    /// Text for the "sync" channel was given up because the page did not take it; now it takes some again.
    Behind,
    Closed(CloseReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// ICE and DTLS did not finish within 10 s.
    ConnectTimeout,
    /// Every place was taken when somebody else came, and this one had not connected yet.
    GaveWay,
    /// No sign of life (ICE consent, RFC 7675).
    Lost,
    /// The browser closed its peer connection.
    Left,
    /// rtcam is stopping.
    Shutdown,
    /// The WebRTC core gave up; details are in the log.
    Failed,
}

/// The NAT in front of our UDP socket, as far as STUN servers could tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatKind {
    /// No server asked, or none has answered.
    #[default]
    Unknown,
    /// Our address is the public one.
    NoNat,
    /// There is one; with one server only, its kind cannot be told.
    Nat,
    /// The same mapping towards everybody: direct paths can be made through it.
    Cone,
    /// Another mapping towards everybody: no direct path but to peers without NAT; TURN helps.
    Symmetric,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkStats {
    pub nat: NatKind,
    /// Our UDP socket as STUN servers see it.
    pub public: Vec<SocketAddr>,
    pub udp_port: u16,
    pub tcp_port: Option<u16>,
    pub tcp_connections: usize,
    pub socket: SocketCounters,
}

/// Of the sockets and the threads around them, since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketCounters {
    /// Datagrams that belonged to no viewer: dropped unread.
    pub stray_datagrams: u64,
    pub datagrams_sent: u64,
    pub send_calls: u64,
    /// Datagrams the kernel would not send.
    pub send_refused: u64,
    /// ICE-TCP connections closed because there were too many.
    pub tcp_turned_away: u64,
    /// Between the threads, where one did not keep up.
    pub messages_lost: u64,
}

/// The pair of candidates in use, without addresses: types `host`, `srflx`, `prflx`, `relay`; protocol `udp` or `tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SelectedPath {
    pub local: &'static str,
    pub remote: &'static str,
    pub protocol: &'static str,
}

/// Why no path was found, in facts. Holds nobody's address.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tried {
    /// Kinds of candidates: `host udp 4`, `srflx udp 6`, ...
    pub ours: Vec<String>,
    pub theirs: Vec<String>,
    /// ICE checks of the peer that reached us.
    pub checks_received: u32,
    pub nat: NatKind,
    pub udp_port: u16,
    pub advice: Advice,
}

/// What the operator should do first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// Let the UDP port through the firewall.
    OpenUdp,
    /// A TURN server in `[[webrtc.ice_server]]`.
    AddTurn,
    /// The router's public address in `webrtc.extra_addresses`.
    AddExtraAddress,
}

impl std::fmt::Display for Tried {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let list = |kinds: &[String]| if kinds.is_empty() { "none".into() } else { kinds.join(", ") };
        write!(f, "tried from here: {}; from there: {}; ", list(&self.ours), list(&self.theirs))?;
        match self.checks_received {
            0 => write!(f, "nothing of the viewer's arrived; ")?,
            checks => write!(f, "{checks} checks of the viewer's arrived, no answer got back; ")?,
        }
        match self.advice {
            Advice::OpenUdp => write!(f, "open UDP port {} towards rtcam", self.udp_port),
            Advice::AddTurn => write!(f, "set up a TURN server ([[webrtc.ice_server]])"),
            Advice::AddExtraAddress => write!(
                f,
                "forward UDP port {} to rtcam and name the public address in webrtc.extra_addresses, or set up a TURN server",
                self.udp_port
            ),
        }
    }
}

/// Counters since the viewer joined.
#[derive(Clone, Debug)]
pub struct ViewerStats {
    pub viewer: ViewerId,
    pub joined_at: Micros,
    /// None while connecting.
    pub connected_at: Option<Micros>,
    pub peer: Option<SocketAddr>,
    /// None until ICE has chosen one.
    pub path: Option<SelectedPath>,
    /// How its packets are encrypted; None while connecting.
    pub srtp: Option<SrtpProfile>,
    pub pictures_sent: u64,
    /// Pictures this viewer missed because it did not keep up.
    pub pictures_dropped: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub packets_resent: u64,
    pub key_requests: u64,
    /// From the viewer's receiver reports: fraction lost in the last report, 0.0..=1.0.
    pub loss: f64,
    pub round_trip_ms: Option<f64>,
}
