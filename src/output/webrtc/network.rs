//! What is known of the network in front of us, and the pump around `reflexive.rs` that finds it out.
//!
//! Owns the names of STUN servers (resolved on a thread of their own, which may hang as long as it likes) and the shared
//! snapshot that answers are made with. Driven by the media loop; must never make it wait.

use crate::config::{IceServerConfig, IceUrl};
use crate::output::webrtc::demux::Ends;
use crate::output::webrtc::entry::Waker;
use crate::output::webrtc::media_loop::ToMedia;
use crate::output::webrtc::reflexive::{FRESH, Found, MAX_TARGETS, Reflexive};
use crate::output::webrtc::udp_sys::Outgoing;
use crate::stream::Wake;
use crate::units::Micros;
use bytes::BytesMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// An answer waits at most so long for what STUN servers say.
const ANSWER_WAITS: Duration = Duration::from_millis(300);
/// Addresses of one name: one of each IP version, and a second for the kind of NAT.
const ADDRESSES_PER_NAME: usize = 3;
const RESOLVE_EVERY: Duration = Duration::from_secs(300);
const RESOLVE_AGAIN: Duration = Duration::from_secs(10);

/// The snapshot: written by the media loop, read by the lobby and for the status.
#[derive(Clone, Default)]
pub struct SharedNetwork(Arc<Mutex<Known>>);

#[derive(Clone, Debug, Default)]
pub struct Known {
    /// There are servers to ask.
    pub asks: bool,
    pub found: Found,
    pub tcp_connections: usize,
}

impl SharedNetwork {
    pub fn read(&self) -> Known {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn set_tcp_connections(&self, count: usize) {
        self.write(|known| known.tcp_connections = count);
    }
}

impl Known {
    /// How long an answer should wait to be complete; None: it is, or waiting would not help.
    pub fn worth_waiting(&self, now: Micros) -> Option<Duration> {
        if !self.asks {
            return None;
        }
        match self.found.asked_at.map(|at| now.since(at)) {
            Some(ago) if ago < FRESH && (self.found.complete || ago >= ANSWER_WAITS) => None,
            Some(ago) if ago < FRESH => Some(ANSWER_WAITS - ago),
            _ => Some(ANSWER_WAITS),
        }
    }
}

/// The media loop's side.
pub struct Network {
    reflexive: Reflexive,
    shared: SharedNetwork,
    names: Option<SyncSender<()>>,
    resolve_at: Micros,
    complete: bool,
}

impl Network {
    /// `bind`: servers of an IP version the socket does not speak are left out.
    pub fn start(
        servers: &[IceServerConfig],
        bind: IpAddr,
        shared: SharedNetwork,
        media: SyncSender<ToMedia>,
        waker: Arc<Waker>,
    ) -> Network {
        let hosts = hosts(servers, bind);
        let mut network =
            Network { reflexive: Reflexive::default(), names: None, resolve_at: Micros(0), complete: false, shared };
        network.shared.write(|known| known.asks = !hosts.is_empty());
        let literal: Option<Vec<SocketAddr>> =
            hosts.iter().map(|(host, port)| Some(SocketAddr::new(host.parse().ok()?, *port))).collect();
        match literal {
            Some(addresses) => network.set_servers(usable(addresses, bind)),
            None => network.names = start_resolver(hosts, bind, media, waker),
        }
        network
    }

    pub fn set_servers(&mut self, servers: Vec<SocketAddr>) {
        self.reflexive.set_servers(servers);
    }

    /// What is due now. True when every server's answer has just come in.
    pub fn turn(&mut self, now: Micros, wanted: bool, out: &mut Vec<Outgoing>) -> bool {
        self.resolve(now, wanted);
        let mut requests = Vec::new();
        self.reflexive.poll(now, wanted, &mut requests);
        out.extend(requests.into_iter().map(|(peer, bytes)| Outgoing {
            // the system chooses the way
            local: if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() },
            peer,
            tcp: false,
            bytes: BytesMut::from(&bytes[..]),
        }));
        let found = self.reflexive.found(now);
        let news = found.complete && !self.complete;
        self.complete = found.complete;
        self.shared.write(|known| known.found = found);
        news
    }

    fn resolve(&mut self, now: Micros, wanted: bool) {
        if let Some(names) = self.names.as_ref().filter(|_| wanted && now >= self.resolve_at) {
            // full: it still works on the last question
            let _ = names.try_send(());
            let known = self.reflexive.next_due(true).is_some();
            self.resolve_at = now + if known { RESOLVE_EVERY } else { RESOLVE_AGAIN };
        }
    }

    pub fn next_due(&self, wanted: bool) -> Option<Micros> {
        let resolve = self.names.as_ref().filter(|_| wanted).map(|_| self.resolve_at);
        self.reflexive.next_due(wanted).into_iter().chain(resolve).min()
    }

    /// Whether the datagram was a STUN server's answer.
    pub fn datagram(&mut self, now: Micros, ends: Ends, bytes: &[u8]) -> bool {
        self.reflexive.datagram(now, ends.local, ends.peer, bytes)
    }
}

/// Who answers Binding requests over UDP. A daemon kept on loopback has no outside.
fn hosts(servers: &[IceServerConfig], bind: IpAddr) -> Vec<(String, u16)> {
    if bind.is_loopback() {
        return Vec::new();
    }
    let urls = servers.iter().flat_map(|server| &server.urls).filter_map(|url| IceUrl::parse(url));
    let mut hosts: Vec<(String, u16)> =
        urls.filter(IceUrl::answers_udp_binding).map(|url| (url.host, url.port)).collect();
    hosts.sort();
    hosts.dedup();
    hosts.truncate(MAX_TARGETS);
    hosts
}

fn usable(mut addresses: Vec<SocketAddr>, bind: IpAddr) -> Vec<SocketAddr> {
    addresses.retain(|address| bind.is_unspecified() || bind.is_ipv4() == address.is_ipv4());
    addresses
}

/// Where names lead. One that cannot be looked up for a while leads where it led before.
struct Names(Vec<Name>);

#[derive(Clone, Default)]
struct Name {
    addresses: Vec<SocketAddr>,
    fails: bool,
}

impl Names {
    fn new(count: usize) -> Names {
        Names(vec![Name::default(); count])
    }

    fn lead_to(&mut self, at: usize, addresses: Vec<SocketAddr>) {
        let (v4, v6): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses.into_iter().partition(SocketAddr::is_ipv4);
        let one_each = v4.iter().take(1).chain(v6.iter().take(1));
        let rest = v4.iter().skip(1).chain(v6.iter().skip(1));
        let addresses = one_each.chain(rest).copied().take(ADDRESSES_PER_NAME).collect();
        self.0[at] = Name { addresses, fails: false };
    }

    /// False: it has failed before, and that was told.
    fn fails_newly(&mut self, at: usize) -> bool {
        !std::mem::replace(&mut self.0[at].fails, true)
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().flat_map(|name| name.addresses.iter().copied()).collect()
    }
}

fn start_resolver(
    hosts: Vec<(String, u16)>,
    bind: IpAddr,
    media: SyncSender<ToMedia>,
    waker: Arc<Waker>,
) -> Option<SyncSender<()>> {
    let (ask, asked) = sync_channel(1);
    let resolve = move || {
        let mut names = Names::new(hosts.len());
        while asked.recv().is_ok() {
            for (at, (host, port)) in hosts.iter().enumerate() {
                let looked_up = (host.as_str(), *port).to_socket_addrs();
                match looked_up.map(|addresses| usable(addresses.collect(), bind)) {
                    Ok(addresses) => names.lead_to(at, addresses),
                    Err(error) if names.fails_newly(at) => {
                        tracing::warn!("webrtc.ice_server: look up {host}: {error}; trying again")
                    }
                    Err(_) => {}
                }
            }
            let found = names.addresses();
            // full: the next question comes in a while
            if media.try_send(ToMedia::StunServers(found)).is_ok() {
                waker.wake();
            }
        }
    };
    let thread = std::thread::Builder::new().name("webrtc-names".into()).spawn(resolve);
    match thread {
        Ok(_) => Some(ask),
        Err(error) => {
            tracing::warn!("webrtc: start the thread that looks up STUN servers: {error}; going on without them");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(urls: &[&str]) -> IceServerConfig {
        IceServerConfig { urls: urls.iter().map(|url| (*url).to_owned()).collect(), ..IceServerConfig::default() }
    }

    #[test]
    fn each_server_is_asked_once_whatever_it_is_for() {
        let servers = [server(&["stun:a", "turn:a", "turn:a?transport=tcp", "turns:b"]), server(&["stun:c:99"])];
        let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        assert_eq!(hosts(&servers, all), [("a".to_string(), 3478), ("c".to_string(), 99)]);
        assert!(hosts(&servers, IpAddr::V4(Ipv4Addr::LOCALHOST)).is_empty());
        let two = ["192.0.2.1:1", "[2001:db8::1]:1"].map(|a| a.parse::<SocketAddr>().expect("an address"));
        assert_eq!(usable(two.to_vec(), all), two);
        assert_eq!(usable(two.to_vec(), "10.0.0.1".parse().expect("an address")), two[..1]);
    }

    #[test]
    fn a_name_that_cannot_be_looked_up_leads_where_it_led_before_and_is_told_once() {
        let address = |n: u8| SocketAddr::from(([192, 0, 2, n], 3478));
        let mut names = Names::new(2);
        assert!(names.fails_newly(0) && !names.fails_newly(0));
        names.lead_to(0, (1..=9).map(address).collect());
        names.lead_to(1, vec![address(20)]);
        assert!(names.fails_newly(0), "it worked in between");
        assert_eq!(names.addresses(), [1, 2, 3, 20].map(address));
        let v6 = |n: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 3478));
        names.lead_to(0, vec![v6(1), v6(2), v6(3), address(1), address(2)]);
        assert_eq!(names.addresses(), [address(1), v6(1), address(2), address(20)], "not of one version only");
    }

    #[test]
    fn an_answer_waits_only_where_it_helps_and_never_long() {
        let at = |ms: u64| Micros(60_000_000 + ms * 1000);
        let known = |asks: bool, complete: bool, asked_at: Option<Micros>| Known {
            asks,
            found: Found { complete, asked_at, ..Found::default() },
            tcp_connections: 0,
        };
        for (known, wanted) in [
            (known(false, false, None), None),
            (known(true, false, None), Some(300)),
            (known(true, false, Some(at(0))), Some(200)),
            (known(true, true, Some(at(0))), None),
            (known(true, false, Some(Micros(at(100).0 - 300_000))), None),
            (known(true, true, Some(Micros(at(100).0 - 30_000_000))), Some(300)),
        ] {
            assert_eq!(known.worth_waiting(at(100)), wanted.map(Duration::from_millis), "{known:?}");
        }
    }
}
