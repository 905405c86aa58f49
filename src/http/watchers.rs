//! The table of who watches: seats and viewers side by side, for the host's panel and for the log of viewers.
//!
//! Owns only what the bit rate is computed from. Must never tell a whole address. Input: the room's people and the
//! viewers' counters.

use super::connections::redacted;
use crate::output::{ViewerId, ViewerStats};
use crate::signal::room::people::Seat;
use crate::signal::room::words::ViewerRow;
use crate::units::Micros;
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
pub struct Rates {
    /// When each viewer was looked at last, how many bytes it had, and the rate found then.
    seen: HashMap<ViewerId, (Micros, u64, f64)>,
}

impl Rates {
    /// One row per seat, then one per viewer without a seat.
    pub fn rows<'a>(
        &mut self,
        now: Micros,
        people: impl Iterator<Item = &'a Seat>,
        stats: &[ViewerStats],
    ) -> Vec<ViewerRow> {
        let rates: HashMap<ViewerId, f64> = stats.iter().map(|s| (s.viewer, self.rate(now, s))).collect();
        self.seen.retain(|viewer, _| rates.contains_key(viewer));
        let mut seated = Vec::new();
        let mut rows: Vec<ViewerRow> = people
            .map(|seat| {
                let own = seat.viewer.and_then(|viewer| stats.iter().find(|s| s.viewer == viewer));
                seated.extend(own.map(|s| s.viewer));
                let row = own.map_or_else(away, |s| row(now, s, rates[&s.viewer]));
                ViewerRow {
                    seat: Some(seat.id),
                    name: seat.name.clone(),
                    role: seat.role,
                    joined_s: now.since(seat.joined_at).as_secs(),
                    report: seat.report,
                    ..row
                }
            })
            .collect();
        rows.extend(stats.iter().filter(|s| !seated.contains(&s.viewer)).map(|s| row(now, s, rates[&s.viewer])));
        rows
    }

    fn rate(&mut self, now: Micros, stats: &ViewerStats) -> f64 {
        let seen = self.seen.entry(stats.viewer).or_insert((now, stats.bytes_sent, 0.0));
        let span_us = now.since(seen.0).as_micros() as f64;
        // shorter spans say little: the counters are up to a quarter of a second old
        if span_us >= 1e6 {
            let bits = stats.bytes_sent.saturating_sub(seen.1) as f64 * 8.0;
            *seen = (now, stats.bytes_sent, (bits * 1e4 / span_us).round() / 10.0);
        }
        seen.2
    }
}

/// Viewers numbered from 1, the lowest number first: no more numbers than viewers are allowed, however many come and go.
#[derive(Default)]
pub struct Numbers(BTreeMap<ViewerId, usize>);

impl Numbers {
    pub fn of(&mut self, rows: &[ViewerRow]) -> Vec<(usize, ViewerRow)> {
        let here: Vec<ViewerId> = rows.iter().filter_map(|row| row.viewer.map(ViewerId)).collect();
        self.0.retain(|viewer, _| here.contains(viewer));
        for viewer in here {
            if !self.0.contains_key(&viewer) {
                let free = (1..).find(|number| !self.0.values().any(|taken| taken == number));
                self.0.insert(viewer, free.expect("there are more numbers than viewers"));
            }
        }
        let numbered = |row: &ViewerRow| Some((self.0[&ViewerId(row.viewer?)], row.clone()));
        let mut all: Vec<(usize, ViewerRow)> = rows.iter().filter_map(numbered).collect();
        all.sort_by_key(|(number, _)| *number);
        all
    }
}

fn away() -> ViewerRow {
    ViewerRow { state: "away".into(), ..ViewerRow::default() }
}

fn row(now: Micros, stats: &ViewerStats, kbps: f64) -> ViewerRow {
    ViewerRow {
        viewer: Some(stats.viewer.0),
        state: if stats.connected_at.is_some() { "connected" } else { "connecting" }.into(),
        path: stats.path.map(|path| format!("{}, {}", path.remote, path.protocol)).unwrap_or_default(),
        address: stats.peer.map(|peer| redacted(peer.ip())).unwrap_or_default(),
        round_trip_ms: stats.round_trip_ms,
        loss: stats.loss,
        kbps,
        frames_sent: stats.pictures_sent,
        frames_dropped: stats.pictures_dropped,
        bytes: stats.bytes_sent,
        joined_s: now.since(stats.joined_at).as_secs(),
        connected_s: stats.connected_at.map(|at| now.since(at).as_secs()),
        ..ViewerRow::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::SelectedPath;
    use std::time::Duration;

    fn stats(bytes_sent: u64) -> ViewerStats {
        ViewerStats {
            viewer: ViewerId(3),
            joined_at: Micros(0),
            connected_at: None,
            peer: Some("192.0.2.33:5000".parse().unwrap()),
            path: Some(SelectedPath { local: "host", remote: "relay", protocol: "udp" }),
            srtp: None,
            pictures_sent: 1,
            pictures_dropped: 0,
            packets_sent: 1,
            bytes_sent,
            packets_resent: 0,
            key_requests: 0,
            loss: 0.0,
            round_trip_ms: None,
        }
    }

    #[test]
    fn the_rate_is_what_was_sent_since_the_last_look() {
        let mut rates = Rates::default();
        let start = Micros(1_000_000);
        let none = || std::iter::empty::<&Seat>();
        assert_eq!(rates.rows(start, none(), &[stats(1000)])[0].kbps, 0.0);
        let rows = rates.rows(start + Duration::from_secs(2), none(), &[stats(251_000)]);
        assert_eq!((rows[0].kbps, rows[0].address.as_str()), (1000.0, "192.0.2.x"));
        assert_eq!(rows[0].path, "relay, udp");
        let soon = rates.rows(start + Duration::from_millis(2100), none(), &[stats(251_000)]);
        assert_eq!(soon[0].kbps, 1000.0, "asked again at once");
        assert!(rates.rows(start, none(), &[]).is_empty() && rates.seen.is_empty());
    }

    #[test]
    fn numbers_are_taken_again() {
        let row = |viewer| ViewerRow { viewer, ..ViewerRow::default() };
        let mut numbers = Numbers::default();
        let mut of = |viewers: &[Option<u64>]| {
            let rows: Vec<ViewerRow> = viewers.iter().copied().map(row).collect();
            numbers.of(&rows).into_iter().map(|(number, row)| (number, row.viewer)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[Some(7), None, Some(8)]), [(1, Some(7)), (2, Some(8))]);
        assert_eq!(of(&[Some(8), Some(9)]), [(1, Some(9)), (2, Some(8))]);
    }
}
