//! The WebRTC output: all viewers over one UDP socket, on the sans-IO core `rtc`.
//!
//! Two threads: the lobby answers offers and does handshakes, the media loop sends pictures. This file starts them and
//! is the door that signalling speaks through. The modules that read what peers send are open for the fuzz targets.

mod answer;
mod channels;
mod complaint;
pub mod demux;
mod entry;
pub mod feedback;
pub mod frames;
pub mod handshake;
mod lobby;
mod media_loop;
mod negotiation;
mod network;
mod packetize;
mod path;
mod reach;
mod reacher;
mod recent;
pub mod reflexive;
mod resend_limit;
mod srtp;
pub mod sync_channel;
mod tcp;
mod tried;
mod udp_send_sys;
mod udp_sys;
mod video_track;
mod viewer;

pub use answer::{choose_profile, ice_ufrag, sends_video, state_real_level, with_candidates};
pub use packetize::{MAX_PAYLOAD, packetize};
pub use srtp::Sealing;

use crate::clock::Clock;
use crate::config::WebRtcConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::output::{Answer, NetworkStats, Offer, OfferError, SocketCounters, ViewerDoor, ViewerId, ViewerStats};
use crate::stream::{Stream, Wake};
use crate::units::Micros;
use entry::{Places, SharedRoutes, ToViewer, Waker};
use lobby::{LOBBY_QUEUE, Lobby, ToLobby};
use media_loop::{LoopCounters, MEDIA_QUEUE, MediaLoop, ToMedia};
use negotiation::Common;
use network::{Network, SharedNetwork};
use reacher::Reacher;
use rtc::peer_connection::certificate::RTCCertificate;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tcp::TcpIce;
use tokio::sync::oneshot;
use udp_sys::MediaSocket;

/// The running output.
pub struct WebRtc {
    next_viewer: AtomicU64,
    places: Arc<Places>,
    lobby: SyncSender<ToLobby>,
    media: SyncSender<ToMedia>,
    waker: Arc<Waker>,
    lobby_stats: Arc<Mutex<Vec<ViewerStats>>>,
    media_stats: Arc<Mutex<Vec<ViewerStats>>>,
    counters: Arc<LoopCounters>,
    network: SharedNetwork,
    address: SocketAddr,
    tcp_address: Option<SocketAddr>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl WebRtc {
    /// Binds the socket and starts both threads. `bind`: where HTTP listens, so that a daemon kept on loopback keeps
    /// its media there too; unspecified means all interfaces, IPv4 and IPv6.
    pub fn start(config: &WebRtcConfig, bind: IpAddr, stream: Arc<dyn Stream>, clock: Clock) -> Result<Arc<WebRtc>> {
        let io = |what: String| move |cause: std::io::Error| Error::new(ErrorKind::Io, what).because(cause);
        let socket = MediaSocket::bind(bind, config.udp_port)
            .map_err(|cause| bind_error(bind, "UDP", config.udp_port, &cause))?;
        let address = socket.local_addr().map_err(io("webrtc: read the socket's address".into()))?;
        let listener = match config.tcp_port {
            0 => None,
            port => Some(tcp::listen(bind, port).map_err(|cause| bind_error(bind, "TCP", port, &cause))?),
        };
        let tcp_address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let waker = Arc::new(Waker::new().map_err(io("webrtc: create an eventfd".into()))?);
        let (lobby, lobby_inbox) = sync_channel(LOBBY_QUEUE);
        let (media, media_inbox) = sync_channel(MEDIA_QUEUE);
        let places = Places::new(config.max_viewers, waker.clone());
        let routes = SharedRoutes::default();
        let lobby_stats = Arc::new(Mutex::new(Vec::new()));
        let media_stats = Arc::new(Mutex::new(Vec::new()));
        let counters = Arc::new(LoopCounters { last_turn: AtomicU64::new(clock.now().0), ..LoopCounters::default() });
        let shared = SharedNetwork::default();
        let network = Network::start(&config.ice_servers, bind, shared.clone(), media.clone(), waker.clone());
        let tcp = TcpIce::new(listener, config.max_viewers);
        let reacher = Reacher {
            bind,
            extra: config.extra_addresses.clone(),
            udp_port: socket.port(),
            tcp_port: tcp_address.map(|address| address.port()),
            network: shared.clone(),
            stream: stream.clone(),
        };
        let lobby_loop = Lobby {
            clock: clock.clone(),
            common: common(config)?,
            places: places.clone(),
            routes: routes.clone(),
            socket: socket.clone(),
            reacher,
            inbox: lobby_inbox,
            media: media.clone(),
            waker: waker.clone(),
            stats: lobby_stats.clone(),
            counters: counters.clone(),
        };
        let media_loop = MediaLoop {
            clock,
            stream,
            routes,
            places: places.clone(),
            socket,
            inbox: media_inbox,
            lobby: lobby.clone(),
            waker: waker.clone(),
            stats: media_stats.clone(),
            counters: counters.clone(),
            network: shared.clone(),
        };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(run).map_err(io(format!("webrtc: start thread {name}")))
        };
        let threads = vec![
            spawn("webrtc-lobby", Box::new(move || lobby_loop.run()))?,
            spawn("webrtc-media", Box::new(move || media_loop.run(network, tcp)))?,
        ];
        Ok(Arc::new(WebRtc {
            next_viewer: AtomicU64::new(1),
            places,
            lobby,
            media,
            waker,
            lobby_stats,
            media_stats,
            counters,
            network: shared,
            address,
            tcp_address,
            threads: Mutex::new(threads),
        }))
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where ICE-TCP is listened for; None: nowhere.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp_address
    }

    /// When the media loop last showed a sign of life; without viewers it sleeps for up to 5 s.
    pub fn last_turn(&self) -> Micros {
        Micros(self.counters.last_turn.load(Ordering::Relaxed))
    }

    fn counters(&self) -> SocketCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SocketCounters {
            stray_datagrams: read(&self.counters.stray),
            datagrams_sent: read(&self.counters.datagrams_sent),
            send_calls: read(&self.counters.send_calls),
            send_refused: read(&self.counters.send_refused),
            tcp_turned_away: read(&self.counters.tcp_turned_away),
            messages_lost: read(&self.counters.lobby_full) + read(&self.counters.media_full),
        }
    }

    /// Closes all viewers and waits for the threads at most `limit`.
    pub fn stop(&self, clock: &Clock, limit: Duration) {
        let deadline = clock.now() + limit;
        let (mut lobby_knows, mut media_knows) = (false, false);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while threads.iter().any(|thread| !thread.is_finished()) && clock.now() < deadline {
            // a queue that is full has room again a moment later
            lobby_knows = lobby_knows || self.lobby.try_send(ToLobby::Shutdown).is_ok();
            media_knows = media_knows || self.media.try_send(ToMedia::Shutdown).is_ok();
            self.waker.wake();
            clock.sleep(Duration::from_millis(5));
        }
        threads.clear();
    }

    /// Gives back what the lobby did not take.
    fn tell_lobby(&self, message: ToLobby) -> std::result::Result<(), ToLobby> {
        let (TrySendError::Full(message) | TrySendError::Disconnected(message)) = match self.lobby.try_send(message) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        self.counters.lobby_full.fetch_add(1, Ordering::Relaxed);
        Err(message)
    }
}

impl ViewerDoor for WebRtc {
    fn offer(&self, offer: Offer) -> oneshot::Receiver<Result<Answer, OfferError>> {
        let (reply, answer) = oneshot::channel();
        let viewer = ViewerId(self.next_viewer.fetch_add(1, Ordering::Relaxed));
        let message = ToLobby::Offer { viewer, offer, place: self.places.take(), reply };
        if let Err(ToLobby::Offer { reply, .. }) = self.tell_lobby(message) {
            let _ = reply.send(Err(OfferError::NotReady("too many offers at once".into())));
        }
        answer
    }

    fn add_candidate(&self, viewer: ViewerId, candidate: String) {
        // the lobby passes it on when the viewer is connected already
        let _ = self.tell_lobby(ToLobby::Viewer(viewer, ToViewer::Candidate(candidate)));
    }

    fn close(&self, viewer: ViewerId) {
        // lost in a full queue, it is made up for when the caller drops the viewer's events
        let _ = self.tell_lobby(ToLobby::Viewer(viewer, ToViewer::Close));
    }

    fn restart(&self, viewer: ViewerId, sdp: String) -> oneshot::Receiver<Result<Answer, OfferError>> {
        let (reply, answer) = oneshot::channel();
        // full, or no such viewer: the caller sees the question dropped
        let _ = self.tell_lobby(ToLobby::Restart { viewer, sdp, reply });
        answer
    }

    fn send(&self, viewer: ViewerId, text: String) -> bool {
        let taken = self.media.try_send(ToMedia::Viewer(viewer, ToViewer::Say(text))).is_ok();
        match taken {
            true => self.waker.wake(),
            false => drop(self.counters.media_full.fetch_add(1, Ordering::Relaxed)),
        }
        taken
    }

    fn network(&self) -> NetworkStats {
        let known = self.network.read();
        NetworkStats {
            nat: known.found.nat,
            public: known.found.public,
            udp_port: self.address.port(),
            tcp_port: self.tcp_address.map(|address| address.port()),
            tcp_connections: known.tcp_connections,
            socket: self.counters(),
        }
    }

    fn viewers(&self) -> Vec<ViewerStats> {
        let mut all = self.media_stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.extend(self.lobby_stats.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        all
    }
}

fn bind_error(bind: IpAddr, protocol: &str, port: u16, cause: &std::io::Error) -> Error {
    let key = if protocol == "UDP" { "webrtc.udp_port" } else { "webrtc.tcp_port" };
    let (kind, hint) = match cause.kind() {
        std::io::ErrorKind::AddrInUse => {
            (ErrorKind::Busy, format!("; another program has this port: stop it, or set another {key}"))
        }
        std::io::ErrorKind::PermissionDenied => {
            (ErrorKind::Denied, format!("; ports below 1024 need a permission: set another {key}"))
        }
        _ => (ErrorKind::Io, String::new()),
    };
    Error::new(kind, format!("webrtc: bind {protocol} port {port} on {bind}: {cause}{hint}"))
}

fn common(config: &WebRtcConfig) -> Result<Common> {
    let internal = |what: &str, cause: String| Error::new(ErrorKind::Internal, format!("webrtc: {what}: {cause}"));
    let provider = rtc::crypto::default_provider().map_err(|e| internal("crypto provider", format!("{e:?}")))?;
    let parameters = rcgen::CertificateParams::new(vec!["rtcam".to_string()])
        .map_err(|e| internal("certificate parameters", e.to_string()))?;
    let scheme = rtc::crypto::SignatureScheme::EcdsaP256Sha256;
    let certificate = RTCCertificate::generate(provider.crypto(), scheme, parameters)
        .map_err(|e| internal("make a certificate", e.to_string()))?;
    let mut ssrc = [0; 4];
    getrandom::fill(&mut ssrc).map_err(|e| internal("random source", e.to_string()))?;
    Ok(Common {
        certificate,
        ssrc: u32::from_ne_bytes(ssrc) | 1,
        playout_delay: playout_delay(config.playout_delay_min_ms, config.playout_delay_max_ms),
        srtp: srtp::choose(&config.srtp),
    })
}

/// The extension's payload: MIN and MAX in 12 bits each, units of 10 ms.
fn playout_delay(min_ms: u32, max_ms: u32) -> [u8; 3] {
    let (min, max) = ((min_ms / 10).min(4095), (max_ms / 10).min(4095));
    let [_, bytes @ ..] = (min << 12 | max).to_be_bytes();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn playout_delay_is_two_twelve_bit_numbers_of_10_ms() {
        assert_eq!(playout_delay(0, 0), [0, 0, 0]);
        assert_eq!(playout_delay(100, 40_950), [0x00, 0xaf, 0xff]);
        assert_eq!(playout_delay(99_999, 99_999), [0xff, 0xff, 0xff]);
    }
}
