//! Floor 4: the one TCP port: the page, WebSocket and WHEP signalling, health, metrics, status.
//!
//! Owns sockets, deadlines, caps, routes and who may use them. Must never block the runtime (one thread), hold the
//! pipeline up, or touch a viewer but through `ViewerDoor`. Input: anything anybody sends to the port.

mod backoff;
mod call;
mod certificate;
mod connections;
mod cookies;
mod farewells;
#[cfg(test)]
mod full_disk_tests;
mod gate;
mod gate_links;
mod health;
mod kept;
mod link_store;
pub mod links;
mod listener;
mod login;
mod lounge;
mod origin;
mod page;
mod passwords;
mod routes;
pub mod sessions;
mod stall;
mod state;
mod status;
mod tls;
mod viewer_log;
mod watch;
mod watchers;
mod whep;
pub mod whep_fragment;
mod ws;

pub use gate::{Denial, Gate};
pub use link_store::{Links, MadeLink};
pub use links::{Link, LinkRefusal};
pub use routes::{Access, Route, table as route_table};
pub use state::place as state_place;

use crate::clock::{self, Clock};
use crate::config::{Config, IceServerConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::{Requests, Totals};
use crate::output::ViewerDoor;
use crate::signal::ice;
use crate::signal::message::Status;
use crate::signal::session::{self, Greeting};
use crate::stream::Stream;
use crate::units::Micros;
use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

/// What the network may cost us. The defaults are the promise; tests shorten the waits.
#[derive(Clone, Debug)]
pub struct Limits {
    pub session: session::Limits,
    /// TCP connections at a time, in total and per address (loopback: only the total counts).
    pub connections: usize,
    pub connections_per_address: usize,
    /// From accept, or from the last response, to the end of the request's header. Also ends idle connections.
    pub header_within: Duration,
    pub header_bytes: usize,
    pub body_within: Duration,
    pub body_bytes: usize,
    /// A peer that takes nothing for so long is gone.
    pub stall_within: Duration,
    /// Unsent bytes held for one WebSocket.
    pub unsent_bytes: usize,
    /// Messages of the room held for one WebSocket.
    pub seat_messages: usize,
    /// WHEP resources, those still waiting for an answer included.
    pub whep_sessions: usize,
    /// Everything is closed this long after the word to stop.
    pub stop_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            session: session::Limits::default(),
            connections: 256,
            connections_per_address: 16,
            header_within: Duration::from_secs(10),
            header_bytes: 16 * 1024,
            body_within: Duration::from_secs(10),
            body_bytes: 64 * 1024,
            stall_within: Duration::from_secs(10),
            unsent_bytes: 256 * 1024,
            seat_messages: lounge::TEXTS,
            whep_sessions: 512,
            stop_within: Duration::from_millis(900),
        }
    }
}

/// Everything the port needs; cheap to clone.
#[derive(Clone)]
pub struct HttpState(Arc<Shared>);

impl HttpState {
    /// Fails when a password hash, a name or a certificate of the config cannot be used. Without `state_dir` nothing is
    /// kept: links, logins and our certificate live as long as this.
    pub fn new(config: &Config, door: Arc<dyn ViewerDoor>, stream: Arc<dyn Stream>, clock: Clock) -> Result<HttpState> {
        HttpState::with_limits(config, door, stream, clock, Limits::default())
    }

    pub fn with_limits(
        config: &Config,
        door: Arc<dyn ViewerDoor>,
        stream: Arc<dyn Stream>,
        clock: Clock,
        limits: Limits,
    ) -> Result<HttpState> {
        let viewer_limit = config.webrtc.max_viewers;
        let greeting = Greeting { server: SERVER.into(), viewer_limit, ice_servers: Vec::new() };
        let status = Status::from(&stream.status());
        let state = open_state(config);
        let tls = tls::Tls::open(&config.http, state.clone(), clock.clone())?;
        let gate = gate::Gate::new(&config.auth, tls.is_some(), state.clone(), clock.clone())?;
        let links = Arc::new(gate_links::GateLinks { gate: gate.clone(), clock: clock.clone() });
        let lounge = lounge::Lounge::new(
            config,
            clock.clone(),
            door.clone(),
            stream.clone(),
            links,
            state,
            limits.seat_messages,
        );
        Ok(HttpState(Arc::new(Shared {
            seats: connections::Seats::new(limits.connections, limits.connections_per_address, clock.clone()),
            gate,
            tls,
            names: config.http.names.iter().map(|name| parse_name(name)).collect::<Result<_>>()?,
            addresses: watch::Addresses::default(),
            whep: whep::Registry::default(),
            ice_servers: config.webrtc.ice_servers.clone(),
            lounge: Arc::new(lounge),
            status: channel::Sender::new(status),
            stop: channel::Sender::new(false),
            live: channel::Sender::new(0),
            requests: Requests::default(),
            totals: Mutex::default(),
            watched: Mutex::default(),
            started: clock.now(),
            greeting,
            limits,
            clock,
            stream,
            door,
        })))
    }

    /// Who may come in, and the links.
    pub fn gate(&self) -> Gate {
        self.0.gate.clone()
    }

    /// The SHA-256 of our certificate, as browsers show it; None: no TLS.
    pub fn fingerprint(&self) -> Option<String> {
        self.0.tls.as_ref().map(|tls| tls.fingerprint())
    }
}

/// Whether the certificate files of the config, if any, could be used.
pub fn try_certificate(config: &Config) -> Result<()> {
    tls::Tls::try_files(&config.http)
}

fn open_state(config: &Config) -> Option<Arc<state::StateFolder>> {
    if config.state_dir.as_os_str().is_empty() {
        return None;
    }
    match state::StateFolder::open(&config.state_dir) {
        Ok(folder) => Some(Arc::new(folder)),
        Err(error) => {
            let folder = config.state_dir.display();
            warn!("state folder {folder}: {error}; links, logins and certificates of our own live for this run only");
            None
        }
    }
}

const SERVER: &str = concat!("rtcam ", env!("CARGO_PKG_VERSION"));

struct Shared {
    clock: Clock,
    door: Arc<dyn ViewerDoor>,
    stream: Arc<dyn Stream>,
    limits: Limits,
    greeting: Greeting,
    names: Vec<origin::Authority>,
    addresses: watch::Addresses,
    gate: gate::Gate,
    /// None: plain HTTP.
    tls: Option<Arc<tls::Tls>>,
    seats: Arc<connections::Seats>,
    whep: whep::Registry,
    ice_servers: Vec<IceServerConfig>,
    lounge: Arc<lounge::Lounge>,
    /// The camera's state, in the words of the wire.
    status: channel::Sender<Status>,
    stop: channel::Sender<bool>,
    /// Sessions that have not ended.
    live: channel::Sender<usize>,
    requests: Requests,
    totals: Mutex<Totals>,
    /// Since when somebody subscribes to the stream.
    watched: Mutex<Option<Micros>>,
    started: Micros,
}

/// The two ends of the connection a request came in on; IPv4-mapped addresses are IPv4 here.
#[derive(Clone, Copy)]
struct Ends {
    peer: SocketAddr,
    local: SocketAddr,
}

/// Serves until `shutdown` turns true (or its sender is gone), then says goodbye and returns within a second.
pub async fn serve(listener: TcpListener, state: HttpState, mut shutdown: channel::Receiver<bool>) {
    let shared = state.0;
    let router = routes::router(shared.clone());
    if let Ok(address) = listener.local_addr() {
        let scheme = if shared.tls.is_some() { "https" } else { "http" };
        info!("http: listening on {scheme}://{address}/");
    }
    let mut tasks = JoinSet::new();
    tokio::select! {
        _ = listener::accept(listener, router, shared.clone(), &mut tasks) => {}
        _ = watch::run(shared.clone()) => {}
        _ = follow_files(&shared) => {}
        _ = shared.gate.keep_sessions() => {}
        _ = lounge::run(shared.clone()) => {}
        _ = shared.lounge.keep_room() => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    shared.stop.send_replace(true);
    let mut live = shared.live.subscribe();
    let finish = async {
        while tasks.join_next().await.is_some() {}
        live.wait_for(|sessions| *sessions == 0).await.is_ok()
    };
    if clock::within(shared.limits.stop_within, finish).await.is_none() {
        debug!("http: some connections did not end in time; cutting them off");
    }
    tasks.shutdown().await;
    tokio::join!(shared.gate.keep_sessions_at_last(), shared.lounge.keep_room_at_last());
}

/// Takes in what `rtcam access` or a renewal of the certificate changes, for as long as it is polled.
async fn follow_files(shared: &Shared) {
    loop {
        clock::sleep(Duration::from_secs(1)).await;
        shared.gate.look_at_clock();
        let (links, tls) = (shared.gate.links_on_disk(), shared.tls.clone());
        let look = move || {
            links.refresh();
            if let Some(tls) = tls {
                tls.refresh();
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(look).await {
            debug!("http: look at the files: {error}");
        }
    }
}

fn parse_name(name: &str) -> Result<origin::Authority> {
    origin::Authority::parse(name.as_bytes())
        .ok_or_else(|| Error::new(ErrorKind::BadConfig, format!("http.names: {name:?} is not a host or host:port")))
}

/// A short text for people and scripts.
fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn retry_after(mut response: Response<Body>, seconds: u32) -> Response<Body> {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Counts one session for as long as it is held.
struct Live(Arc<Shared>);

impl Live {
    fn new(shared: &Arc<Shared>) -> Live {
        shared.live.send_modify(|sessions| *sessions += 1);
        Live(shared.clone())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.send_modify(|sessions| *sessions -= 1);
    }
}

impl Shared {
    /// For a session that begins now: credentials for TURN are good for a while only.
    fn greeting(&self) -> Greeting {
        let unix_now_s = self.clock.wall().0 / 1_000_000;
        Greeting { ice_servers: ice::page_servers(&self.ice_servers, unix_now_s), ..self.greeting.clone() }
    }

    /// The addresses a Host header may name.
    fn own_addresses(&self, local: IpAddr) -> Vec<IpAddr> {
        self.addresses.all(self.clock.now(), local)
    }
}
