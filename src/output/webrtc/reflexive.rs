//! How the world sees our UDP socket: STUN Binding requests over that very socket (RFC 8489), and what two servers'
//! answers say about the NAT in between.
//!
//! Sans-IO: `now`, servers and datagrams come in, requests go out. An answer counts only from the server asked and with
//! the transaction id it was asked with. Must never be waited for.

use crate::output::NatKind;
use crate::units::Micros;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, TransactionId};
use rtc::stun::xoraddr::XorMappedAddress;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Requests repeat after 0.5, 1, 2, 4 s (RFC 8489 section 6.2.1); then the server counts as silent until the next round.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const SENDS: u32 = 4;
/// Below the 30 s after which the strictest NATs forget a UDP mapping (RFC 4787 asks for 2 minutes).
pub const REFRESH: Duration = Duration::from_secs(25);
/// An answer is as good as new for so long.
pub const FRESH: Duration = Duration::from_secs(30);
/// And better than none for so long: the port may have changed, the address has hardly.
const STALE: Duration = Duration::from_secs(600);
/// Server addresses asked at a time.
pub const MAX_TARGETS: usize = 8;

#[derive(Default)]
pub struct Reflexive {
    targets: Vec<Target>,
    round_at: Option<Micros>,
}

struct Target {
    server: SocketAddr,
    asking: Option<Asking>,
    seen: Option<Seen>,
}

struct Asking {
    id: TransactionId,
    sent: u32,
    due: Micros,
}

#[derive(Clone, Copy)]
struct Seen {
    mapped: SocketAddr,
    /// Our own address the answer came to.
    own: SocketAddr,
    at: Micros,
}

/// What is known now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub public: Vec<SocketAddr>,
    pub nat: NatKind,
    /// Every server has answered: nothing to wait for.
    pub complete: bool,
    /// When the servers were last asked.
    pub asked_at: Option<Micros>,
}

impl Reflexive {
    /// Replaces the servers; what those that stay have said is kept. Two names may lead to one server.
    pub fn set_servers(&mut self, mut servers: Vec<SocketAddr>) {
        let mut known = HashSet::new();
        servers.retain(|server| known.insert(*server));
        servers.truncate(MAX_TARGETS);
        let mut before = std::mem::take(&mut self.targets);
        for server in servers {
            let kept = before.iter().position(|target| target.server == server).map(|at| before.swap_remove(at));
            self.targets.push(kept.unwrap_or(Target { server, asking: None, seen: None }));
        }
        // newcomers are asked in the next round, which is due at once
        if self.targets.iter().any(|target| target.seen.is_none()) {
            self.round_at = None;
        }
    }

    /// What has to be sent now. `wanted`: there are viewers, or soon will be.
    pub fn poll(&mut self, now: Micros, wanted: bool, out: &mut Vec<(SocketAddr, Vec<u8>)>) {
        let due = self.round_at.is_none_or(|at| now.since(at) >= REFRESH);
        if wanted && due && !self.targets.is_empty() {
            self.round_at = Some(now);
            for target in &mut self.targets {
                target.asking = Some(Asking { id: TransactionId::new(), sent: 0, due: now });
            }
        }
        for target in &mut self.targets {
            let Some(asking) = target.asking.as_mut().filter(|asking| asking.due <= now) else { continue };
            if asking.sent == SENDS {
                target.asking = None;
                continue;
            }
            asking.due = now + FIRST_WAIT * (1 << asking.sent);
            asking.sent += 1;
            out.extend(request(asking.id).map(|bytes| (target.server, bytes)));
        }
    }

    pub fn next_due(&self, wanted: bool) -> Option<Micros> {
        let round = self.round_at.map_or(Micros(0), |at| at + REFRESH);
        let round = (wanted && !self.targets.is_empty()).then_some(round);
        self.targets.iter().filter_map(|target| target.asking.as_ref()).map(|asking| asking.due).chain(round).min()
    }

    /// Whether the datagram was an answer for us. `own`: where it came in.
    pub fn datagram(&mut self, now: Micros, own: SocketAddr, from: SocketAddr, bytes: &[u8]) -> bool {
        let asked = |target: &&mut Target| target.server == from && target.asking.is_some();
        let Some(target) = self.targets.iter_mut().find(asked) else { return false };
        let mut message = Message { raw: bytes.to_vec(), ..Message::default() };
        let id = target.asking.as_ref().map(|asking| asking.id);
        if message.decode().is_err() || Some(message.transaction_id) != id || message.typ == BINDING_REQUEST {
            return false;
        }
        target.asking = None;
        let mut mapped = XorMappedAddress::default();
        if message.typ == BINDING_SUCCESS && mapped.get_from(&message).is_ok() && mapped.port != 0 {
            let mapped = SocketAddr::new(mapped.ip.to_canonical(), mapped.port);
            target.seen = Some(Seen { mapped, own, at: now });
        }
        true
    }

    pub fn found(&self, now: Micros) -> Found {
        let seen = |target: &Target| Some((target.server, target.seen.filter(|seen| now.since(seen.at) <= STALE)?));
        let answers: Vec<(SocketAddr, Seen)> = self.targets.iter().filter_map(seen).collect();
        let mut public: Vec<SocketAddr> = answers.iter().map(|(_, seen)| seen.mapped).collect();
        public.sort_by_key(|address| (address.is_ipv6(), *address));
        public.dedup();
        let fresh = answers.iter().filter(|(_, seen)| now.since(seen.at) <= FRESH).count();
        Found {
            nat: nat_kind(&answers),
            complete: !self.targets.is_empty() && fresh == self.targets.len(),
            asked_at: self.round_at,
            public,
        }
    }
}

/// What the answers say of the mapping (RFC 5780 section 4.3, with servers instead of one server's second address).
/// IPv4, where NATs are; IPv6 only when there is nothing else.
fn nat_kind(all: &[(SocketAddr, Seen)]) -> NatKind {
    let of = |v6: bool| all.iter().filter(|(server, _)| server.is_ipv6() == v6).copied().collect::<Vec<_>>();
    let answers = if of(false).is_empty() { of(true) } else { of(false) };
    let Some((server, first)) = answers.first().copied() else { return NatKind::Unknown };
    if answers.iter().all(|(_, seen)| seen.mapped == seen.own) {
        return NatKind::NoNat;
    }
    if answers.iter().any(|(_, seen)| seen.mapped != first.mapped) {
        return NatKind::Symmetric;
    }
    // two ports of one address say nothing about mappings that differ by address
    let several = answers.iter().any(|(other, _)| other.ip() != server.ip());
    if several { NatKind::Cone } else { NatKind::Nat }
}

fn request(id: TransactionId) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.build(&[Box::new(BINDING_REQUEST), Box::new(id)]).ok().map(|()| message.raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn at(milliseconds: u64) -> Micros {
        Micros(1_000_000 + milliseconds * 1000)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    const OWN: &str = "10.0.0.5:8189";
    const A: &str = "198.51.100.1:3478";
    const B: &str = "198.51.100.2:3478";

    fn asked(reflexive: &mut Reflexive, now: Micros) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Vec::new();
        reflexive.poll(now, true, &mut out);
        out
    }

    fn answer(request: &[u8], mapped: &str) -> Vec<u8> {
        let mut asked = Message { raw: request.to_vec(), ..Message::default() };
        asked.decode().expect("our own request");
        let mapped = address(mapped);
        let mut message = Message::new();
        message
            .build(&[
                Box::new(BINDING_SUCCESS),
                Box::new(asked.transaction_id),
                Box::new(XorMappedAddress { ip: mapped.ip(), port: mapped.port() }),
            ])
            .expect("an answer");
        message.raw
    }

    /// Both servers asked, and answering so.
    fn with_answers(a: &str, b: Option<&str>) -> Reflexive {
        let mut reflexive = Reflexive::default();
        let servers = [Some(A), b.map(|_| B)];
        reflexive.set_servers(servers.into_iter().flatten().map(address).collect());
        for (server, request) in asked(&mut reflexive, at(0)) {
            let mapped = if server == address(A) { a } else { b.unwrap_or(a) };
            assert!(reflexive.datagram(at(20), address(OWN), server, &answer(&request, mapped)));
        }
        reflexive
    }

    #[test]
    fn two_names_of_one_server_are_one_server() {
        let mut reflexive = Reflexive::default();
        reflexive.set_servers([A, B, A].map(address).to_vec());
        let requests = asked(&mut reflexive, at(0));
        assert_eq!(requests.len(), 2);
        for (server, request) in requests {
            assert!(reflexive.datagram(at(20), address(OWN), server, &answer(&request, OWN)));
        }
        assert!(reflexive.found(at(20)).complete);
    }

    #[test]
    fn the_answers_of_two_servers_tell_the_kind_of_nat() {
        for (a, b, nat) in [
            (OWN, Some(OWN), NatKind::NoNat),
            ("203.0.113.7:8189", None, NatKind::Nat),
            ("203.0.113.7:8189", Some("203.0.113.7:8189"), NatKind::Cone),
            ("203.0.113.7:8189", Some("203.0.113.7:8190"), NatKind::Symmetric),
        ] {
            let found = with_answers(a, b).found(at(30));
            assert_eq!((found.nat, found.complete), (nat, true), "{a} {b:?}");
            assert!(found.public.contains(&address(a)));
        }
    }

    #[test]
    fn a_silent_server_is_asked_four_times_and_again_in_the_next_round() {
        let mut reflexive = Reflexive::default();
        reflexive.set_servers(vec![address(A)]);
        let mut sent = Vec::new();
        for ms in 0..24_000 {
            sent.extend(asked(&mut reflexive, at(ms)).iter().map(|_| ms));
        }
        assert_eq!(sent, [0, 500, 1500, 3500]);
        assert_eq!(reflexive.found(at(24_000)).nat, NatKind::Unknown);
        assert_eq!(reflexive.next_due(true), Some(at(25_000)));
        assert_eq!(asked(&mut reflexive, at(25_000)).len(), 1);
    }

    #[test]
    fn nothing_is_sent_while_nobody_watches_and_what_is_known_grows_old() {
        let mut reflexive = with_answers("203.0.113.7:8189", None);
        let mut out = Vec::new();
        reflexive.poll(at(60_000), false, &mut out);
        assert!(out.is_empty() && reflexive.next_due(false).is_none());
        assert!(reflexive.found(at(30_020)).complete);
        let old = reflexive.found(at(30_021));
        assert_eq!((old.complete, old.public.len()), (false, 1), "better than nothing");
        assert!(reflexive.found(at(601_000)).public.is_empty());
        reflexive.poll(at(60_000), true, &mut out);
        assert_eq!(out.len(), 1, "the first offer asks again");
    }

    #[test]
    fn only_the_server_asked_with_the_id_it_was_asked_with_is_believed() {
        let mut reflexive = Reflexive::default();
        reflexive.set_servers(vec![address(A)]);
        let request = asked(&mut reflexive, at(0)).remove(0).1;
        let good = answer(&request, "203.0.113.7:1");
        assert!(!reflexive.datagram(at(1), address(OWN), address(B), &good), "another sender");
        let mut other = good.clone();
        other[10] ^= 1;
        assert!(!reflexive.datagram(at(1), address(OWN), address(A), &other), "another transaction");
        assert!(!reflexive.datagram(at(1), address(OWN), address(A), &request), "a request");
        assert!(reflexive.found(at(1)).public.is_empty());
        assert!(reflexive.datagram(at(1), address(OWN), address(A), &good));
        assert!(!reflexive.datagram(at(2), address(OWN), address(A), &good), "once is enough");
        assert_eq!(reflexive.found(at(2)).public, [address("203.0.113.7:1")]);
    }

    #[test]
    fn any_bytes_from_a_server_are_survived() {
        let mut reflexive = Reflexive::default();
        reflexive.set_servers(vec![address(A)]);
        let request = asked(&mut reflexive, at(0)).remove(0).1;
        let good = answer(&request, "203.0.113.7:1");
        let mut dice = Dice::new(1);
        for round in 0..5000usize {
            let mut bytes = good.clone();
            for _ in 0..2 {
                let at = dice.place(bytes.len());
                // the id stays, so that the rest is really looked at
                if !(4..20).contains(&at) {
                    bytes[at] = dice.byte();
                }
            }
            bytes.truncate(if round % 3 == 0 { dice.place(good.len() + 1) } else { good.len() });
            reflexive.datagram(at(1), address(OWN), address(A), &bytes);
            reflexive.round_at = None;
            asked(&mut reflexive, at(1));
        }
    }

    #[test]
    fn servers_that_stay_keep_what_they_said() {
        let mut reflexive = with_answers("203.0.113.7:1", None);
        reflexive.set_servers(vec![address(B), address(A)]);
        let found = reflexive.found(at(30));
        assert_eq!((found.public.len(), found.complete), (1, false));
        assert_eq!(asked(&mut reflexive, at(40)).len(), 2, "the newcomer is asked at once");
    }
}
