//! Who holds a connection: the caps, in total and per address, and who gives way to a newcomer.
//!
//! Owns the count. A connection is in use while a request that the gate let in is answered and a moment longer, and while
//! its WebSocket watches. Whoever holds one and does none of that gives way when there is no other place: a crowd that
//! comes and says nothing keeps nobody out. Must never cut off somebody who watches. Input: addresses of peers.

use crate::clock::Clock;
use crate::output::giving_way::who_goes;
use crate::units::Micros;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// So long after its last request a connection is still somebody's: a page's next request is on its way.
const IN_USE_FOR: Duration = Duration::from_secs(1);

macro_rules! refusal {
    ($words:literal) => {
        concat!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n",
            "Connection: close\r\n\r\n",
            $words,
            "; try again later\n"
        )
    };
}

const FULL: &str = refusal!("the server has all the connections it can serve");
const ADDRESS_FULL: &str = refusal!("too many connections from your address");
/// For who gave way.
pub const GAVE_WAY: &str =
    refusal!("the server has all the connections it can serve, and gave yours, which said nothing, to somebody else");

/// Shared by the accept loop and every connection.
pub struct Seats {
    total: usize,
    per_address: usize,
    clock: Clock,
    taken: Mutex<Taken>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Taken {
    /// The oldest first.
    seats: BTreeMap<u64, (IpAddr, Arc<Use>)>,
    last: u64,
}

impl Taken {
    fn of(&self, network: IpAddr) -> usize {
        self.seats.values().filter(|(other, _)| *other == network).count()
    }

    /// Takes its place from a silent one, of everybody's or of the newcomer's own.
    fn make_room(&mut self, newcomer: IpAddr, own: bool, now: Micros) -> bool {
        let silent =
            self.seats.iter().filter(|(_, (network, used))| !used.is_in_use(now) && (!own || *network == newcomer));
        let Some(number) = who_goes(silent.map(|(number, (network, _))| (*network, *number)), newcomer) else {
            return false;
        };
        if let Some((_, used)) = self.seats.remove(&number) {
            used.give_way();
        }
        true
    }
}

impl Seats {
    pub fn new(total: usize, per_address: usize, clock: Clock) -> Arc<Seats> {
        Arc::new(Seats { total, per_address, clock, taken: Mutex::default(), refused: AtomicU64::new(0) })
    }

    /// `Err`: the whole answer, for somebody who speaks HTTP.
    pub fn take(seats: &Arc<Seats>, peer: IpAddr) -> Result<Seat, &'static str> {
        let (network, now) = (network(peer), seats.clock.now());
        let mut taken = seats.taken();
        // everything behind a proxy or a tunnel on this machine comes from loopback
        let own_full = taken.of(network) >= seats.per_address && !peer.is_loopback();
        let full = taken.seats.len() >= seats.total;
        if own_full || full {
            seats.refused.fetch_add(1, Ordering::Relaxed);
            if !taken.make_room(network, own_full, now) {
                return Err(if full { FULL } else { ADDRESS_FULL });
            }
        }
        taken.last += 1;
        let number = taken.last;
        let used = Arc::new(Use::new(seats.clock.clone()));
        taken.seats.insert(number, (network, used.clone()));
        Ok(Seat { seats: seats.clone(), number, used })
    }

    pub fn open(&self) -> usize {
        self.taken().seats.len()
    }

    /// Those who gave way included.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // whoever panicked while counting left whole numbers behind
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, given back on drop.
pub struct Seat {
    seats: Arc<Seats>,
    number: u64,
    used: Arc<Use>,
}

impl Seat {
    pub fn used(&self) -> &Arc<Use> {
        &self.used
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // whoever gave way has lost it already
        self.seats.taken().seats.remove(&self.number);
    }
}

/// Whether somebody uses a connection.
pub struct Use {
    clock: Clock,
    users: AtomicUsize,
    /// When the last one ended; 0: there was none.
    ended_us: AtomicU64,
    gave_way: AtomicBool,
    told: Notify,
}

impl Use {
    fn new(clock: Clock) -> Use {
        let (users, ended_us) = (AtomicUsize::new(0), AtomicU64::new(0));
        Use { clock, users, ended_us, gave_way: AtomicBool::new(false), told: Notify::new() }
    }

    /// From now on until the token is dropped.
    pub fn begin(used: &Arc<Use>) -> InUse {
        used.users.fetch_add(1, Ordering::AcqRel);
        InUse(used.clone())
    }

    fn is_in_use(&self, now: Micros) -> bool {
        let ended = Micros(self.ended_us.load(Ordering::Acquire));
        self.users.load(Ordering::Acquire) > 0 || ended.0 > 0 && now < ended + IN_USE_FOR
    }

    fn give_way(&self) {
        self.gave_way.store(true, Ordering::Release);
        self.told.notify_one();
    }

    pub fn has_given_way(&self) -> bool {
        self.gave_way.load(Ordering::Acquire)
    }

    /// Returns when it has to give way. For one listener at a time.
    pub async fn gives_way(&self) {
        while !self.has_given_way() {
            self.told.notified().await;
        }
    }
}

pub struct InUse(Arc<Use>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.ended_us.store(self.0.clock.now().0, Ordering::Release);
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 subscriber owns.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip => ip,
    }
}

/// An address as logs may have it: enough to tell networks apart, not people.
pub fn redacted(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.x")
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:x")
        }
    }
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
