//! What of the room outlives a run: the seats with their names, roles and tokens' hashes, who holds control, who agreed to
//! a call, what hosts decided, and who was put out.
//!
//! Pure. What is said is not in it (it lives in memory only), nor is the state of camera and overlay: after a start the
//! driver's values rule, and every page gets the whole state with its welcome. Must never let anybody have more back than
//! they had: a seat is for the same token from the same identity, and a role that a host gave is only that seat's.
//! Input: a file that an earlier run left, trusted in nothing but its secrecy.

use super::people::{Digest, Kept, PutOut};
use super::words::{Control, SeatId};
use super::{Moment, Room};
use crate::config::HostLeaves;
use crate::units::Micros;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Browsers count exactly up to here.
const LAST_SEAT: u64 = 1 << 53;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The highest number a seat ever had.
    last: u64,
    seats: Vec<Kept>,
    control: Control,
    calls: Vec<(SeatId, SeatId)>,
    closed: bool,
    hostless: bool,
    muted: bool,
    put_out: Vec<PutOut>,
}

impl Snapshot {
    /// None: it is none, or damaged.
    pub fn parse(bytes: &[u8]) -> Option<Snapshot> {
        let snapshot: Snapshot = serde_json::from_slice(bytes).ok()?;
        let is_one = |seat: &Kept| (1..=snapshot.last).contains(&seat.id.0) && Digest::parse(&seat.resume).is_some();
        (snapshot.last < LAST_SEAT && snapshot.seats.iter().all(is_one)).then_some(snapshot)
    }

    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and plain enums only")
    }
}

impl Room {
    /// The same room gives the same snapshot, whenever it is asked.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            last: self.people.last_id(),
            seats: self.people.kept(),
            control: self.control.clone(),
            calls: self.calls.agreed(),
            closed: self.closed,
            hostless: self.hostless,
            muted: self.muted,
            put_out: self.people.put_out_list().to_vec(),
        }
    }

    /// For a room where nobody is yet. From now on everybody has as long to come back as after a broken connection.
    pub fn restore(&mut self, at: Moment, snapshot: Snapshot) {
        let Snapshot { last, mut seats, control, calls, closed, hostless, muted, put_out } = snapshot;
        seats.truncate(self.rules.max_people);
        self.people.restore(at, last, seats, put_out);
        let is_here = |id: &SeatId| self.people.get(*id).is_some();
        let mut asking: Vec<SeatId> = Vec::new();
        for id in control.asking.into_iter().filter(is_here) {
            if !asking.contains(&id) && control.holder != Some(id) {
                asking.push(id);
            }
        }
        self.control = Control { holder: control.holder.filter(is_here), asking };
        self.calls.restore(calls.into_iter().filter(|(a, b)| a != b && is_here(a) && is_here(b)));
        (self.closed, self.muted) = (closed, muted);
        self.hostless = hostless && self.rules.host_leaves == HostLeaves::Close && self.people.hosts() == 0;
    }
}

/// How long ago that was, on a clock that may have been stepped since.
pub fn back(at: Moment, unix_ms: u64) -> Micros {
    at.now - Duration::from_millis(at.unix_ms.saturating_sub(unix_ms))
}

/// When that will be, at the latest after `longest`.
pub fn ahead(at: Moment, unix_ms: u64, longest: Duration) -> Micros {
    at.now + Duration::from_millis(unix_ms.saturating_sub(at.unix_ms)).min(longest)
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
