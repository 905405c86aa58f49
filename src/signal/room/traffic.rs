//! What goes into the room and what comes out of it.
//!
//! Only types: the room's pump (`http/lounge.rs`) and its tests speak in them. Must never know a transport.

use crate::config::{HostLeaves, Role, RoomConfig};
use crate::output::ViewerId;
use crate::signal::identity::Identity;
use crate::signal::message::{ByeReason, ErrorCode};
use crate::signal::room::words::{Link, Said, SeatId, Told};
use crate::stream::adjust::{AdjustError, Adjustable, Change};
use crate::units::Micros;

/// Both clocks: deadlines by the first, what people read by the second.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Micros,
    pub unix_ms: u64,
}

#[derive(Debug)]
pub enum Input<'a> {
    /// The seat's WebSocket came or went.
    Socket {
        seat: SeatId,
        open: bool,
    },
    /// The seat's viewer is another one now, or none.
    Viewer {
        seat: SeatId,
        viewer: Option<ViewerId>,
    },
    /// Its viewer has connected.
    Watching {
        seat: SeatId,
    },
    Said {
        seat: SeatId,
        said: Said,
    },
    /// It leaves for good.
    Leaves {
        seat: SeatId,
    },
    /// How things are.
    Adjustable(&'a Adjustable),
    /// What became of a change that was asked of the stream, if nothing did.
    NotAdjusted {
        seat: SeatId,
        error: AdjustError,
    },
    /// Nobody may stay who came by this link.
    Revoked {
        link: &'a str,
    },
    /// Messages to the seat were lost on their way: it needs the state anew, and what was said.
    Behind {
        seat: SeatId,
    },
    Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Tell {
        to: SeatId,
        told: Told,
    },
    /// Everybody but one.
    TellAll {
        told: Told,
        but: Option<SeatId>,
    },
    /// Ask it of the stream.
    Adjust {
        seat: SeatId,
        changes: Vec<Change>,
    },
    /// All transports of the seat end; it is no more.
    End {
        seat: SeatId,
        reason: ByeReason,
    },
    Links {
        seat: SeatId,
        wish: LinkWish,
    },
}

/// What a host wants of the links; judged by the room, done by whoever owns them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkWish {
    Make { role: Role, for_s: u64, name: String },
    List,
    Revoke { id: String },
}

/// Signed links to come in by. Somebody else owns them; the room only judges who may ask.
pub trait Links: Send + Sync {
    /// `Err`: in words.
    fn make(&self, role: Role, for_s: u64, name: &str) -> Result<Link, String>;
    fn list(&self) -> Result<Vec<Link>, String>;
    /// Those who came by it have to go: the caller sees to that.
    fn revoke(&self, id: &str) -> Result<(), String>;
    /// False: what they came by has ended.
    fn is_good(&self, _identity: &Identity) -> bool {
        true
    }
    /// Revoked since the last call, by whatever way.
    fn newly_revoked(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    pub code: ErrorCode,
    pub words: String,
    pub retry_after_s: u32,
}

/// The part of the config that the room lives by.
#[derive(Clone, Debug)]
pub struct Rules {
    pub host_leaves: HostLeaves,
    pub chat: bool,
    pub max_people: usize,
}

impl Rules {
    /// Everybody who may watch must find a seat.
    pub fn new(config: &RoomConfig, max_viewers: u32) -> Rules {
        let max_people = config.max_people.max(max_viewers) as usize;
        Rules { host_leaves: config.host_leaves, chat: config.chat, max_people }
    }
}
