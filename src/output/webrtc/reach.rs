//! Where browsers may reach us: the candidates of an answer (RFC 8445, RFC 6544, RFC 8839).
//!
//! Pure but for `own_addresses`. What only exists outside (a NAT's address) never goes into the ICE core: a check that
//! comes by it arrives at one of our own addresses, which the core knows.

use crate::config::ExtraAddress;
use std::net::{IpAddr, SocketAddr};

/// Addresses offered to browsers; machines with container bridges have many.
const MAX_ADDRESSES: usize = 16;

/// RFC 8445 section 5.1.2.2. TCP below every UDP candidate but relayed ones, as browsers have it.
const HOST_UDP: u32 = 126;
const REFLEXIVE_UDP: u32 = 100;
const HOST_TCP: u32 = 90;
/// RFC 6544 section 4.2: passive.
const PASSIVE: u32 = 4 << 13;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Of this machine's interfaces.
    pub own: Vec<IpAddr>,
    /// Forwarded to us, says the config.
    pub extra: Vec<IpAddr>,
    /// Our UDP socket as STUN servers see it.
    pub reflexive: Vec<SocketAddr>,
    pub udp_port: u16,
    pub tcp_port: Option<u16>,
}

impl Reach {
    pub fn new(own: Vec<IpAddr>, extra: &[ExtraAddress], udp_port: u16, tcp_port: Option<u16>) -> Reach {
        let counts = |extra: &&ExtraAddress| extra.private.is_none_or(|private| own.contains(&private));
        let extra = extra.iter().filter(counts).map(|e| e.public).filter(|ip| !own.contains(ip)).collect();
        Reach { own, extra, reflexive: Vec::new(), udp_port, tcp_port }
    }

    /// Adds what STUN servers said, as far as it is news.
    pub fn with_reflexive(mut self, found: &[SocketAddr]) -> Reach {
        let known =
            |a: &SocketAddr| a.port() == self.udp_port && (self.own.contains(&a.ip()) || self.extra.contains(&a.ip()));
        self.reflexive = found.iter().copied().filter(|address| !known(address)).collect();
        self
    }

    /// Candidate lines of our own addresses: for the ICE core, which puts them into the answer.
    pub fn own_candidates(&self) -> Vec<String> {
        let udp = self.own.iter().enumerate().map(|(at, ip)| {
            let priority = priority(HOST_UDP, 65_535 - at as u32);
            format!("candidate:{} 1 udp {priority} {ip} {} typ host", at + 1, self.udp_port)
        });
        let tcp = self
            .tcp_port
            .into_iter()
            .flat_map(|port| self.own.iter().enumerate().map(move |(at, ip)| passive(101 + at, *ip, port, at as u32)));
        udp.chain(tcp).collect()
    }

    /// Candidate lines of addresses that are not ours: for the answer only. What they are a mapping of is not told.
    pub fn outside_candidates(&self) -> Vec<String> {
        let extra = self.extra.iter().map(|ip| SocketAddr::new(*ip, self.udp_port));
        let udp = extra.chain(self.reflexive.iter().copied()).enumerate().map(|(at, address)| {
            let (ip, port) = (address.ip(), address.port());
            let priority = priority(REFLEXIVE_UDP, 65_535 - at as u32);
            let hidden = if ip.is_ipv4() { "0.0.0.0" } else { "::" };
            format!("candidate:{} 1 udp {priority} {ip} {port} typ srflx raddr {hidden} rport 0", 201 + at)
        });
        let tcp = self.tcp_port.into_iter().flat_map(|port| {
            let own = self.own.len();
            self.extra.iter().enumerate().map(move |(at, ip)| passive(301 + at, *ip, port, (own + at) as u32))
        });
        udp.chain(tcp).collect()
    }

    /// For people: `host udp 4`, each kind once.
    pub fn kinds(&self) -> Vec<String> {
        let lines = self.own_candidates().into_iter().chain(self.outside_candidates());
        let mut kinds: Vec<String> = lines.filter_map(|line| kind(&line)).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    }
}

fn passive(foundation: usize, ip: IpAddr, port: u16, at: u32) -> String {
    let priority = priority(HOST_TCP, PASSIVE + 8191 - at);
    format!("candidate:{foundation} 1 tcp {priority} {ip} {port} typ host tcptype passive")
}

fn priority(of_type: u32, local_preference: u32) -> u32 {
    of_type << 24 | local_preference << 8 | 255
}

/// What a candidate line is, for people: type, protocol and IP version, without the address. `relay udp 4`; a name of
/// mDNS has no version: `host udp mdns`.
pub fn kind(line: &str) -> Option<String> {
    let mut words = line.strip_prefix("candidate:")?.split_ascii_whitespace().skip(2);
    let (protocol, _priority, address, _port) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let kind = words.skip_while(|word| *word != "typ").nth(1)?;
    let protocol = ["udp", "tcp"].into_iter().find(|known| protocol.eq_ignore_ascii_case(known))?;
    let kind = ["host", "srflx", "prflx", "relay"].into_iter().find(|known| *known == kind)?;
    let version = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => "4",
        Ok(IpAddr::V6(_)) => "6",
        Err(_) => "mdns",
    };
    Some(format!("{kind} {protocol} {version}"))
}

/// Where browsers may reach us: the bound address, or every address of the machine when bound to all of them.
/// See `reachable`.
pub fn own_addresses(bind: IpAddr) -> Vec<IpAddr> {
    if !bind.is_unspecified() {
        return vec![bind];
    }
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => reachable(interfaces.iter().map(|interface| interface.ip()).collect()),
        Err(error) => {
            tracing::warn!("webrtc: read this machine's addresses: {error}; the answer names none of them");
            Vec::new()
        }
    }
}

/// Loopback only when there is nothing else; IPv6 link-local never (it needs a zone the browser does not know).
fn reachable(mut all: Vec<IpAddr>) -> Vec<IpAddr> {
    all.retain(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()));
    if all.iter().any(|ip| !ip.is_loopback()) {
        all.retain(|ip| !ip.is_loopback());
    }
    // IPv4 first: it is the one that works in most houses. Last what a cable without a DHCP server gives itself
    all.sort_by_key(|ip| (matches!(ip, IpAddr::V4(v4) if v4.is_link_local()), ip.is_ipv6()));
    all.truncate(MAX_ADDRESSES);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_bound_address_is_the_only_one() {
        let bind = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(own_addresses(bind), [bind]);
    }

    #[test]
    fn all_addresses_means_something_reachable() {
        let all = own_addresses(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert!(!all.is_empty() && all.len() <= MAX_ADDRESSES);
        let loopbacks = all.iter().filter(|a| a.is_loopback()).count();
        assert!(loopbacks == 0 || loopbacks == all.len(), "loopback only when there is nothing else: {all:?}");
    }

    #[test]
    fn a_board_on_a_bare_cable_has_an_address() {
        let all = ["127.0.0.1", "::1", "fe80::1", "169.254.7.7"].map(ip);
        assert_eq!(reachable(all.to_vec()), [ip("169.254.7.7")]);
        let all = ["169.254.7.7", "2001:db8::5", "10.0.0.5", "127.0.0.1"].map(ip);
        assert_eq!(reachable(all.to_vec()), ["10.0.0.5", "2001:db8::5", "169.254.7.7"].map(ip));
        assert_eq!(reachable(vec![ip("fe80::1"), ip("127.0.0.1")]), [ip("127.0.0.1")]);
    }

    #[test]
    fn own_addresses_come_by_udp_and_where_there_is_a_port_by_tcp() {
        let reach = Reach::new(vec![ip("10.0.0.5"), ip("2001:db8::5")], &[], 8189, Some(9000));
        assert_eq!(
            reach.own_candidates(),
            [
                "candidate:1 1 udp 2130706431 10.0.0.5 8189 typ host",
                "candidate:2 1 udp 2130706175 2001:db8::5 8189 typ host",
                "candidate:101 1 tcp 1520435199 10.0.0.5 9000 typ host tcptype passive",
                "candidate:102 1 tcp 1520434943 2001:db8::5 9000 typ host tcptype passive",
            ]
        );
        assert!(reach.outside_candidates().is_empty());
        assert_eq!(reach.kinds(), ["host tcp 4", "host tcp 6", "host udp 4", "host udp 6"]);
    }

    #[test]
    fn what_lies_outside_is_offered_without_what_it_maps() {
        let extra = ["203.0.113.7/10.0.0.5", "203.0.113.8/10.0.0.6", "203.0.113.9", "10.0.0.5"]
            .map(|text| ExtraAddress::parse(text).expect("an extra address"));
        let found = [ip("203.0.113.9"), ip("198.51.100.1"), ip("10.0.0.5")].map(|ip| SocketAddr::new(ip, 8189));
        let reach = Reach::new(vec![ip("10.0.0.5")], &extra, 8189, Some(9000)).with_reflexive(&found);
        assert_eq!(
            reach.outside_candidates(),
            [
                "candidate:201 1 udp 1694498815 203.0.113.7 8189 typ srflx raddr 0.0.0.0 rport 0",
                "candidate:202 1 udp 1694498559 203.0.113.9 8189 typ srflx raddr 0.0.0.0 rport 0",
                "candidate:203 1 udp 1694498303 198.51.100.1 8189 typ srflx raddr 0.0.0.0 rport 0",
                "candidate:301 1 tcp 1520434943 203.0.113.7 9000 typ host tcptype passive",
                "candidate:302 1 tcp 1520434687 203.0.113.9 9000 typ host tcptype passive",
            ]
        );
    }

    #[test]
    fn kinds_tell_no_address() {
        for (line, wanted) in [
            ("candidate:1 1 UDP 1 192.0.2.7 5 typ srflx raddr 10.0.0.1 rport 5", Some("srflx udp 4")),
            ("candidate:1 1 tcp 1 2001:db8::1 9 typ host tcptype active", Some("host tcp 6")),
            ("candidate:1 1 udp 1 0a1b.local 5 typ host", Some("host udp mdns")),
            ("candidate:1 1 udp 1 192.0.2.7 5 typ <script>", None),
            ("candidate:1 1 sctp 1 192.0.2.7 5 typ host", None),
            ("candidate:", None),
            ("", None),
        ] {
            assert_eq!(kind(line).as_deref(), wanted, "{line}");
        }
    }
}
