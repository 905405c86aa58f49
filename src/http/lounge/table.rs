//! Who watches, for those who look: the host's panel, `/metrics` and the log of viewers.
//!
//! Must never tell a whole address. Input: the room's people, the viewers' counters.

use super::{Inner, Lounge};
use crate::config::Config;
use crate::http::viewer_log::ViewerLog;
use crate::metrics::{RoomFigures, ViewerFigures};
use crate::signal::room::Moment;
use crate::signal::room::words::{SeatId, Told, ViewerRow};
use crate::units::Micros;
use serde_json::json;
use tracing::warn;

impl Lounge {
    pub(super) fn tell_table(&self, now: Micros) {
        let lookers: Vec<SeatId> = self.inner().room.people().filter(|seat| seat.table).map(|seat| seat.id).collect();
        if lookers.is_empty() {
            return;
        }
        let table = Told::Viewers { list: self.table(now) };
        let mut inner = self.inner();
        lookers.into_iter().for_each(|seat| self.tell(&mut inner, seat, &table));
    }

    /// Everybody in the room, with what is known of their viewers.
    pub fn table(&self, now: Micros) -> Vec<ViewerRow> {
        let stats = self.door.viewers();
        let mut inner = self.inner();
        let Inner { room, rates, .. } = &mut *inner;
        rates.rows(now, room.people(), &stats)
    }

    /// For `/metrics`.
    pub fn figures(&self) -> RoomFigures {
        let rows = self.table(self.clock.now());
        let mut inner = self.inner();
        RoomFigures {
            people: inner.room.len(),
            joined: self.counts.joined.read(),
            resumed: self.counts.resumed.read(),
            turned_away: self.counts.turned_away.read(),
            behind: self.counts.behind.read(),
            chat_lines: self.counts.chat_lines.read(),
            relayed: self.counts.relayed.read(),
            log_lines_lost: self.log.as_ref().map_or(0, ViewerLog::lost),
            viewers: inner.numbers.of(&rows).into_iter().map(figures_of).collect(),
        }
    }

    pub(super) fn log_table(&self, now: Micros) {
        if self.log.is_some() {
            for row in self.table(now) {
                self.note(self.moment(), "viewer", json!(row));
            }
        }
    }

    /// One line for the log of viewers.
    pub(super) fn note(&self, at: Moment, event: &str, mut what: serde_json::Value) {
        let Some(log) = &self.log else { return };
        if let Some(fields) = what.as_object_mut() {
            fields.insert("at_ms".into(), json!(at.unix_ms));
            fields.insert("event".into(), json!(event));
        }
        log.write(what.to_string());
    }
}

fn figures_of((number, row): (usize, ViewerRow)) -> ViewerFigures {
    let report = row.report.unwrap_or_default();
    ViewerFigures {
        number,
        kbps: row.kbps,
        loss: row.loss,
        round_trip_ms: row.round_trip_ms,
        page_fps: report.fps,
        page_freezes: report.freezes,
        page_latency_ms: report.latency_ms,
    }
}

pub(super) fn open_log(config: &Config) -> Option<ViewerLog> {
    let path = &config.log.viewers_file;
    if path.as_os_str().is_empty() {
        return None;
    }
    let log = ViewerLog::start(path, u64::from(config.log.viewers_file_mb) << 20);
    log.inspect_err(|error| warn!("log of viewers {}: {error}; none is written", path.display())).ok()
}
