//! What a viewer's way in was tried by, and what to do when none was found.
//!
//! Pure. Must never keep a peer's address. Input: the offer, trickled candidates, and the fact that a check came.

use crate::output::webrtc::reach::{self, Reach};
use crate::output::{Advice, NatKind, Tried};
use std::net::IpAddr;

/// Kinds there are at most: 4 types, 2 protocols, 3 spellings of an address.
const MAX_KINDS: usize = 24;

#[derive(Clone, Debug)]
pub struct Attempt {
    ours: Vec<String>,
    /// One of our addresses can be reached from anywhere.
    is_public: bool,
    theirs: Vec<String>,
    checks_received: u32,
    nat: NatKind,
    udp_port: u16,
}

impl Attempt {
    pub fn new(reach: &Reach, nat: NatKind, offer: &str) -> Attempt {
        let outside = !reach.extra.is_empty() || !reach.reflexive.is_empty();
        let mut attempt = Attempt {
            ours: reach.kinds(),
            is_public: outside || reach.own.iter().any(is_global),
            theirs: Vec::new(),
            checks_received: 0,
            nat,
            udp_port: reach.udp_port,
        };
        offer.lines().filter_map(|line| line.strip_prefix("a=")).for_each(|line| attempt.candidate(line));
        attempt
    }

    pub fn candidate(&mut self, line: &str) {
        if let Some(kind) = reach::kind(line)
            && !self.theirs.contains(&kind)
            && self.theirs.len() < MAX_KINDS
        {
            self.theirs.push(kind);
        }
    }

    pub fn check_received(&mut self) {
        self.checks_received = self.checks_received.saturating_add(1);
    }

    pub fn verdict(&self) -> Tried {
        Tried {
            ours: self.ours.clone(),
            theirs: self.theirs.clone(),
            checks_received: self.checks_received,
            nat: self.nat,
            udp_port: self.udp_port,
            advice: self.advice(),
        }
    }

    fn advice(&self) -> Advice {
        let has = |kind: &str| self.theirs.iter().any(|theirs| theirs.starts_with(kind));
        let behind_nat = matches!(self.nat, NatKind::Nat | NatKind::Cone | NatKind::Symmetric);
        if !has("relay") && (self.checks_received > 0 || behind_nat) {
            return Advice::AddTurn;
        }
        // the viewer knows the way out of its network, and we have told it only of ours inside
        if !self.is_public && has("srflx") && self.checks_received == 0 {
            return Advice::AddExtraAddress;
        }
        Advice::OpenUdp
    }
}

fn is_global(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            // 100.64.0.0/10: carrier-grade NAT (RFC 6598)
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || shared)
        }
        // 2000::/3 is what there is of global unicast
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(own: &str, nat: NatKind, theirs: &[&str]) -> Attempt {
        let reach = Reach::new(vec![own.parse().expect("an address")], &[], 8189, None);
        let lines = |kind: &&str| {
            let (address, rest) = kind.split_once(' ').expect("address and type");
            format!("a=candidate:1 1 udp 1 {address} 5 typ {rest}\r\n")
        };
        Attempt::new(&reach, nat, &theirs.iter().map(lines).collect::<String>())
    }

    const HOST: &str = "192.168.1.9 host";
    const REFLEXIVE: &str = "198.51.100.9 srflx raddr 0.0.0.0 rport 0";
    const RELAY: &str = "203.0.113.1 relay raddr 0.0.0.0 rport 0";

    #[test]
    fn advice_follows_what_was_missing() {
        let private = "192.168.1.5";
        for (own, nat, theirs, checks, wanted) in [
            (private, NatKind::Unknown, &[HOST][..], 0, Advice::OpenUdp),
            (private, NatKind::Unknown, &[HOST, REFLEXIVE], 0, Advice::AddExtraAddress),
            ("198.51.100.5", NatKind::Unknown, &[HOST, REFLEXIVE], 0, Advice::OpenUdp),
            (private, NatKind::Symmetric, &[HOST, REFLEXIVE], 0, Advice::AddTurn),
            (private, NatKind::Cone, &[HOST], 0, Advice::AddTurn),
            (private, NatKind::Unknown, &[HOST, REFLEXIVE], 3, Advice::AddTurn),
            ("198.51.100.5", NatKind::NoNat, &[HOST, REFLEXIVE, RELAY], 0, Advice::OpenUdp),
        ] {
            let mut attempt = attempt(own, nat, theirs);
            (0..checks).for_each(|_| attempt.check_received());
            assert_eq!(attempt.verdict().advice, wanted, "{own} {nat:?} {theirs:?} {checks}");
        }
    }

    #[test]
    fn the_verdict_has_kinds_and_no_addresses() {
        let mut attempt = attempt("192.168.1.5", NatKind::Symmetric, &[HOST, REFLEXIVE]);
        attempt.candidate("candidate:1 1 udp 1 198.51.100.77 5 typ srflx raddr 10.1.2.3 rport 5");
        attempt.candidate("");
        let tried = attempt.verdict();
        assert_eq!(
            (tried.ours.join(", "), tried.theirs.join(", ")),
            ("host udp 4".into(), "host udp 4, srflx udp 4".into())
        );
        let json = serde_json::to_string(&tried).expect("plain data");
        assert!(!json.contains("198.51") && !json.contains("10.1.2.3") && json.len() < 300, "{json}");
        assert!(json.contains(r#""nat":"symmetric""#) && json.contains(r#""advice":"add-turn""#), "{json}");
        assert!(tried.to_string().contains("TURN"), "{tried}");
    }
}
