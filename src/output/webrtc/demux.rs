//! Whose datagram is this? One socket serves all viewers; this table says who gets what.
//!
//! A STUN check names its viewer by our ICE ufrag; the answer to a check of ours by its transaction id. Everything else
//! (DTLS, SRTCP) goes by the sender's address, which is learned only when we answered a check from it with success: the
//! ICE agent verified its MESSAGE-INTEGRITY, so a forged ufrag takes over nobody's address, and a viewer that moves or
//! comes back is found at once. Pure.

use crate::output::ViewerId;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// The two ends of a datagram's way. By TCP: a frame (RFC 4571) of the connection between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub tcp: bool,
}

/// RFC 7983 section 7: what the first byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramKind {
    Stun,
    Dtls,
    Media,
    Other,
}

pub fn kind(datagram: &[u8]) -> DatagramKind {
    match datagram.first() {
        Some(0..=3) => DatagramKind::Stun,
        Some(20..=63) => DatagramKind::Dtls,
        Some(128..=191) => DatagramKind::Media,
        _ => DatagramKind::Other,
    }
}

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0, 1];
const BINDING_SUCCESS: [u8; 2] = [1, 1];
const ATTRIBUTE_USERNAME: u16 = 6;
const ATTRIBUTE_USE_CANDIDATE: u16 = 0x25;

/// Our ufrag in a STUN binding request: USERNAME up to the colon (RFC 8445 section 7.2.2). None for anything else.
pub fn check_ufrag(datagram: &[u8]) -> Option<&str> {
    let header = datagram.get(..20)?;
    if header[..2] != BINDING_REQUEST || header[4..8] != MAGIC_COOKIE {
        return None;
    }
    let mut rest = &datagram[20..];
    while let Some(&[t0, t1, l0, l1]) = rest.first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if u16::from_be_bytes([t0, t1]) == ATTRIBUTE_USERNAME {
            let username = std::str::from_utf8(rest.get(4..4 + len)?).ok()?;
            return username.split(':').next();
        }
        rest = rest.get(4 + len.next_multiple_of(4)..)?;
    }
    None
}

/// The 96 random bits that tie a STUN answer to its question (RFC 8489 section 5).
pub type TransactionId = [u8; 12];

fn transaction_id(datagram: &[u8]) -> Option<TransactionId> {
    datagram.get(8..20)?.try_into().ok()
}

/// The transaction id of a check (binding request).
pub fn check_transaction(datagram: &[u8]) -> Option<TransactionId> {
    let is_check = datagram.len() >= 20 && datagram[..2] == BINDING_REQUEST && datagram[4..8] == MAGIC_COOKIE;
    is_check.then(|| transaction_id(datagram)).flatten()
}

/// A check by which the controlling side chooses its path (RFC 8445 section 7.1.2).
pub fn is_nomination(datagram: &[u8]) -> bool {
    check_transaction(datagram).is_some() && has_attribute(datagram, ATTRIBUTE_USE_CANDIDATE)
}

fn has_attribute(datagram: &[u8], wanted: u16) -> bool {
    let mut rest = datagram.get(20..).unwrap_or_default();
    while let Some(&[t0, t1, l0, l1]) = rest.first_chunk::<4>() {
        if u16::from_be_bytes([t0, t1]) == wanted {
            return true;
        }
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        rest = rest.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
    }
    false
}

/// The transaction id of the answer to a check.
pub fn success_transaction(datagram: &[u8]) -> Option<TransactionId> {
    is_check_success(datagram).then(|| transaction_id(datagram)).flatten()
}

pub fn is_check_success(datagram: &[u8]) -> bool {
    datagram.len() >= 20 && datagram[..2] == BINDING_SUCCESS && datagram[4..8] == MAGIC_COOKIE
}

/// Which thread drives a viewer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Still connecting: handshakes may take long and must not hold up pictures.
    Lobby,
    /// Connected: on the media loop.
    Media,
}

#[derive(Default)]
pub struct Routes {
    viewers: HashMap<ViewerId, Route>,
    by_ufrag: HashMap<String, ViewerId>,
    by_address: HashMap<SocketAddr, ViewerId>,
    by_transaction: HashMap<TransactionId, ViewerId>,
}

struct Route {
    ufrag: String,
    seat: Seat,
    addresses: Vec<SocketAddr>,
    /// Checks sent and not answered, the oldest first.
    checks: VecDeque<TransactionId>,
}

/// A viewer is reached from a few addresses at a time; the oldest is forgotten first.
const ADDRESSES_PER_VIEWER: usize = 8;
/// More than an agent has on their way at a time; the oldest is forgotten first.
const CHECKS_PER_VIEWER: usize = 64;

impl Routes {
    pub fn add(&mut self, viewer: ViewerId, ufrag: String) {
        self.by_ufrag.insert(ufrag.clone(), viewer);
        self.viewers.insert(viewer, Route { ufrag, seat: Seat::Lobby, addresses: Vec::new(), checks: VecDeque::new() });
    }

    pub fn seat(&mut self, viewer: ViewerId) {
        if let Some(route) = self.viewers.get_mut(&viewer) {
            route.seat = Seat::Media;
        }
    }

    /// After an ICE restart: the viewer's checks carry a new name of ours; those under the old one are no longer valid.
    pub fn rename(&mut self, viewer: ViewerId, ufrag: &str) {
        let Some(route) = self.viewers.get_mut(&viewer) else { return };
        if route.ufrag != ufrag {
            self.by_ufrag.remove(&route.ufrag);
            route.ufrag = ufrag.to_owned();
            self.by_ufrag.insert(ufrag.to_owned(), viewer);
        }
    }

    /// Who drives the viewer; None: there is no such viewer (any more).
    pub fn seat_of(&self, viewer: ViewerId) -> Option<Seat> {
        self.viewers.get(&viewer).map(|route| route.seat)
    }

    /// The viewer a check is for, by our name in it.
    pub fn find_by_name(&self, datagram: &[u8]) -> Option<ViewerId> {
        self.by_ufrag.get(check_ufrag(datagram)?).copied()
    }

    /// Forgets everything about a viewer.
    pub fn remove(&mut self, viewer: ViewerId) {
        let Some(route) = self.viewers.remove(&viewer) else { return };
        self.by_ufrag.remove(&route.ufrag);
        for address in route.addresses {
            if self.by_address.get(&address) == Some(&viewer) {
                self.by_address.remove(&address);
            }
        }
        for check in route.checks {
            self.by_transaction.remove(&check);
        }
    }

    /// A check of `viewer`'s agent goes out: its answer will be for that viewer, wherever it comes from.
    pub fn expect_answer(&mut self, viewer: ViewerId, check: TransactionId) {
        let Some(route) = self.viewers.get_mut(&viewer) else { return };
        route.checks.push_back(check);
        let forgotten = if route.checks.len() > CHECKS_PER_VIEWER { route.checks.pop_front() } else { None };
        if let Some(old) = forgotten {
            self.by_transaction.remove(&old);
        }
        self.by_transaction.insert(check, viewer);
    }

    /// We answered a check from `address` with success: it belongs to `viewer` now, whoever had it before.
    pub fn learn(&mut self, address: SocketAddr, viewer: ViewerId) {
        if self.by_address.get(&address) == Some(&viewer) {
            return;
        }
        let Some(route) = self.viewers.get_mut(&viewer) else { return };
        route.addresses.push(address);
        let forgotten = (route.addresses.len() > ADDRESSES_PER_VIEWER).then(|| route.addresses.remove(0));
        if let Some(old) = forgotten
            && self.by_address.get(&old) == Some(&viewer)
        {
            self.by_address.remove(&old);
        }
        if let Some(before) = self.by_address.insert(address, viewer)
            && let Some(route) = self.viewers.get_mut(&before)
        {
            route.addresses.retain(|a| *a != address);
        }
    }

    pub fn find(&self, from: SocketAddr, datagram: &[u8]) -> Option<(ViewerId, Seat)> {
        let viewer = match kind(datagram) {
            DatagramKind::Other => return None,
            DatagramKind::Stun => match check_ufrag(datagram) {
                Some(ufrag) => self.by_ufrag.get(ufrag),
                None => self.by_transaction.get(&transaction_id(datagram)?),
            },
            DatagramKind::Dtls | DatagramKind::Media => self.by_address.get(&from),
        }?;
        Some((*viewer, self.viewers.get(viewer)?.seat))
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.viewers.is_empty()
            && self.by_ufrag.is_empty()
            && self.by_address.is_empty()
            && self.by_transaction.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn check(username: &str) -> Vec<u8> {
        let mut datagram = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        datagram.extend_from_slice(&[7; 12]);
        // an attribute before it (PRIORITY), as browsers send
        datagram.extend_from_slice(&[0, 0x24, 0, 4, 1, 2, 3, 4]);
        datagram.extend_from_slice(&[0, 6, 0, username.len() as u8]);
        datagram.extend_from_slice(username.as_bytes());
        datagram.resize(datagram.len().next_multiple_of(4), 0);
        datagram
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    const DTLS: [u8; 3] = [22, 254, 253];

    #[test]
    fn a_check_finds_its_viewer_by_ufrag_and_opens_its_address() {
        let mut routes = Routes::default();
        routes.add(ViewerId(1), "alice".into());
        assert_eq!(routes.find(address(5), &check("alice:bob")), Some((ViewerId(1), Seat::Lobby)));
        assert_eq!(routes.find(address(5), &DTLS), None, "not before a check succeeded");
        routes.learn(address(5), ViewerId(1));
        routes.seat(ViewerId(1));
        assert_eq!(routes.find(address(5), &DTLS), Some((ViewerId(1), Seat::Media)));
        assert_eq!(routes.find(address(6), &check("nobody:bob")), None);
    }

    #[test]
    fn a_new_viewer_at_a_known_address_takes_it_over_and_the_old_one_leaves_no_trace() {
        let mut routes = Routes::default();
        routes.add(ViewerId(1), "one".into());
        routes.learn(address(5), ViewerId(1));
        routes.add(ViewerId(2), "two".into());
        assert_eq!(routes.find(address(5), &check("two:x")), Some((ViewerId(2), Seat::Lobby)));
        assert_eq!(routes.find(address(5), &DTLS), Some((ViewerId(1), Seat::Lobby)), "until the check succeeded");
        routes.learn(address(5), ViewerId(2));
        assert_eq!(routes.find(address(5), &DTLS), Some((ViewerId(2), Seat::Lobby)));
        routes.remove(ViewerId(1));
        assert_eq!(routes.find(address(5), &DTLS), Some((ViewerId(2), Seat::Lobby)));
        routes.remove(ViewerId(2));
        assert!(routes.is_empty());
    }

    #[test]
    fn a_restart_gives_a_viewer_a_new_name_and_takes_the_old_one() {
        let mut routes = Routes::default();
        routes.add(ViewerId(1), "old".into());
        routes.seat(ViewerId(1));
        routes.rename(ViewerId(1), "new");
        routes.rename(ViewerId(2), "nobody");
        assert_eq!(routes.find(address(5), &check("new:x")), Some((ViewerId(1), Seat::Media)));
        assert_eq!(routes.find(address(5), &check("old:x")), None);
        assert_eq!(routes.find_by_name(&check("new:x")), Some(ViewerId(1)));
        assert_eq!((routes.seat_of(ViewerId(1)), routes.seat_of(ViewerId(2))), (Some(Seat::Media), None));
        routes.remove(ViewerId(1));
        assert!(routes.is_empty());
    }

    #[test]
    fn a_wandering_viewer_holds_a_bounded_number_of_addresses() {
        let mut routes = Routes::default();
        routes.add(ViewerId(1), "one".into());
        for port in 0..1000 {
            routes.learn(address(port), ViewerId(1));
        }
        assert_eq!(routes.by_address.len(), ADDRESSES_PER_VIEWER);
        assert_eq!(routes.find(address(999), &DTLS), Some((ViewerId(1), Seat::Lobby)));
        assert_eq!(routes.find(address(3), &DTLS), None);
    }

    #[test]
    fn the_answer_to_our_check_is_found_by_its_transaction_from_wherever_it_comes() {
        let mut routes = Routes::default();
        routes.add(ViewerId(1), "one".into());
        let mut answer = check("x:y");
        let id = check_transaction(&answer).expect("a check has one");
        answer[..2].copy_from_slice(&BINDING_SUCCESS);
        assert_eq!(routes.find(address(5), &answer), None, "nobody asked");
        routes.expect_answer(ViewerId(1), id);
        assert_eq!(routes.find(address(5), &answer), Some((ViewerId(1), Seat::Lobby)));
        for n in 0..200u8 {
            routes.expect_answer(ViewerId(1), [n; 12]);
        }
        assert_eq!(routes.by_transaction.len(), CHECKS_PER_VIEWER);
        routes.remove(ViewerId(1));
        assert!(routes.is_empty());
    }

    #[test]
    fn a_nomination_is_a_check_with_the_attribute_anywhere() {
        let mut datagram = check("alice:bob");
        assert!(!is_nomination(&datagram));
        datagram.extend_from_slice(&[0, 0x25, 0, 0]);
        assert!(is_nomination(&datagram));
        datagram.extend_from_slice(&[0, 8, 0, 20]);
        assert!(is_nomination(&datagram), "before one that is cut");
        datagram[..2].copy_from_slice(&BINDING_SUCCESS);
        assert!(!is_nomination(&datagram));
        assert_eq!(success_transaction(&datagram), Some([7; 12]));
        assert!(!is_nomination(&[0, 1]) && success_transaction(&[1, 1]).is_none());
    }

    #[test]
    fn any_bytes_of_any_length_are_survived() {
        let mut routes = Routes::default();
        routes.add(ViewerId(1), "one".into());
        let mut dice = Dice::new(1);
        for len in 0..1500 {
            let mut bytes = check("one:two");
            bytes.resize(len, 0);
            for _ in 0..4 {
                if len > 0 {
                    dice.damage(&mut bytes, 1);
                }
                routes.find(address(1), &bytes);
                is_nomination(&bytes);
            }
        }
    }
}
