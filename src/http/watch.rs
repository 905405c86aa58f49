//! Looks at the stream and the viewers while the port is open: tells sessions when the camera's state changes, adds up
//! what viewers got, knows since when somebody watches and which addresses are ours.
//!
//! Must never look more often than needed: one look serves every session.

use super::Shared;
use crate::clock;
use crate::signal::message::Status;
use crate::units::Micros;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Viewers' counters change slowly against the time they are kept for.
const COUNT_EVERY: u32 = 5;

pub async fn run(shared: Arc<Shared>) {
    let mut looks = 0u32;
    loop {
        look(&shared);
        if looks.is_multiple_of(COUNT_EVERY) {
            count(&shared);
        }
        looks = looks.wrapping_add(1);
        clock::sleep(LOOK_EVERY).await;
    }
}

fn look(shared: &Shared) {
    let stream = shared.stream.status();
    let status = Status::from(&stream);
    shared.status.send_if_modified(|known| {
        let changed = *known != status;
        if changed {
            *known = status;
        }
        changed
    });
    let mut watched = shared.watched.lock().unwrap_or_else(PoisonError::into_inner);
    *watched = (stream.subscribers > 0).then(|| watched.unwrap_or_else(|| shared.clock.now()));
}

fn count(shared: &Shared) {
    let viewers = shared.door.viewers();
    shared.totals.lock().unwrap_or_else(PoisonError::into_inner).observe(&viewers);
}

/// This machine's addresses, asked for at most every 10 s (DHCP may change them).
#[derive(Default)]
pub struct Addresses(Mutex<Option<(Micros, Vec<IpAddr>)>>);

impl Addresses {
    /// Canonical; `local`, the end a connection came in on, is always one of them.
    pub fn all(&self, now: Micros, local: IpAddr) -> Vec<IpAddr> {
        const FRESH: Duration = Duration::from_secs(10);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|(at, _)| now.since(*at) >= FRESH) {
            let found = if_addrs::get_if_addrs().unwrap_or_default();
            *known = Some((now, found.iter().map(|interface| interface.ip().to_canonical()).collect()));
        }
        let mut all = known.as_ref().map(|(_, addresses)| addresses.clone()).unwrap_or_default();
        all.push(local);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_end_of_the_connection_are_ours() {
        let addresses = Addresses::default();
        let local: IpAddr = "198.51.100.7".parse().unwrap();
        let all = addresses.all(Micros(1_000_000), local);
        assert!(all.contains(&local) && all.contains(&"127.0.0.1".parse().unwrap()), "{all:?}");
    }
}
