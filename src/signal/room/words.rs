//! What people in the room and rtcam say to each other: JSON texts with a `type`, over the WebSocket or the data channel
//! "sync". One enum for each direction.
//!
//! Owns names and shapes only. What a message does is in the files beside this one. Input: text from a peer, trusted in
//! nothing; its length is bounded by the transports.

use crate::config::Role;
use crate::signal::message::ErrorCode;
use crate::signal::room::whole;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Somebody's place in the room. Never used again in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeatId(pub u64);

/// Key to value, as in `state` and `patch`.
pub type Values = BTreeMap<String, Value>;

/// From a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Said {
    /// Asks for control, or no longer does.
    Request {
        #[serde(default)]
        withdraw: bool,
    },
    Grant {
        to: SeatId,
    },
    Release,
    Revoke,
    Role {
        to: SeatId,
        role: Role,
    },
    Kick {
        to: SeatId,
    },
    Room {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        closed: Option<bool>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        muted: Option<bool>,
    },
    Chat {
        text: String,
    },
    /// Changes state known as version `base`.
    Set {
        base: u64,
        values: Values,
    },
    Call {
        to: SeatId,
    },
    Accept {
        to: SeatId,
    },
    Decline {
        to: SeatId,
    },
    Hangup {
        to: SeatId,
    },
    Relay {
        to: SeatId,
        body: String,
    },
    Link {
        role: Role,
        for_s: u64,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        name: String,
    },
    Links,
    Unlink {
        id: String,
    },
    Report(Report),
    /// The table of who watches, from now on or no longer.
    Watch {
        on: bool,
    },
}

/// The value of `type` of each variant of `Said`.
pub const SAID: [&str; 19] = [
    "request", "grant", "release", "revoke", "role", "kick", "room", "chat", "set", "call", "accept", "decline",
    "hangup", "relay", "link", "links", "unlink", "report", "watch",
];

/// What a page measured itself. Everything may be missing: a page that shows nothing has no figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Pictures decoded per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Since it joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freezes: Option<f64>,
    /// Glass to eye.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// Packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<f64>,
}

impl Report {
    /// What no page can have measured is left out.
    pub fn sound(self) -> Report {
        let sound = |value: Option<f64>| value.filter(|value| value.is_finite() && (0.0..1e12).contains(value));
        Report {
            fps: sound(self.fps),
            freezes: sound(self.freezes),
            latency_ms: sound(self.latency_ms),
            round_trip_ms: sound(self.round_trip_ms),
            lost: sound(self.lost),
            width: sound(self.width),
            height: sound(self.height),
        }
    }
}

/// To a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Told {
    Peers(Peers),
    Control(Control),
    Room {
        closed: bool,
        muted: bool,
    },
    Chat(ChatLine),
    State {
        version: u64,
        values: Values,
        describe: Vec<Describe>,
    },
    /// `by`: who asked for it; none for the driver or the board itself.
    Patch {
        version: u64,
        values: Values,
        by: Option<SeatId>,
    },
    Call {
        from: SeatId,
        name: String,
    },
    Accept {
        from: SeatId,
    },
    Decline {
        from: SeatId,
    },
    Hangup {
        from: SeatId,
        /// When it was not the other's own wish.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Leaving>,
    },
    Relay {
        from: SeatId,
        body: String,
    },
    Link {
        link: Link,
    },
    Links {
        links: Vec<Link>,
    },
    Viewers {
        list: Vec<ViewerRow>,
    },
    Error {
        code: ErrorCode,
        message: String,
    },
}

impl Told {
    /// Belongs on the ordered data channel while that is open; everything else on the WebSocket.
    pub fn prefers_channel(&self) -> bool {
        matches!(self, Told::Chat(_) | Told::State { .. } | Told::Patch { .. })
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, finite numbers and plain enums always serialise")
    }
}

/// One of the three happened to somebody.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Person>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Person>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<SeatId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Leaving>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Person {
    pub id: SeatId,
    pub name: String,
    pub role: Role,
    /// Receives the picture.
    pub watching: bool,
    /// Seconds ago.
    pub joined_s: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaving {
    Left,
    /// Gone without a word, and not back in time.
    Lost,
    Kicked,
    /// The link they came by is no longer good.
    Revoked,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Control {
    pub holder: Option<SeatId>,
    /// In the order they asked.
    pub asking: Vec<SeatId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatLine {
    pub from: SeatId,
    pub name: String,
    pub text: String,
    /// Unix time; no two of the last lines have the same.
    pub at_ms: u64,
}

/// What a key of the state is, for whoever draws a control for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Describe {
    pub key: String,
    pub name: String,
    /// integer, boolean, menu, button, corner, opacity, text or preset.
    pub kind: String,
    /// What kind of layer it belongs to: logo or text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "whole::optional")]
    pub min: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "whole::optional")]
    pub max: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The values that exist, and words for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<(Value, String)>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inactive: bool,
}

/// A signed link for a viewer to come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    pub id: String,
    pub role: Role,
    pub name: String,
    /// Seconds until it is no longer good.
    pub expires_s: u64,
    /// Only when it is made: the address to hand on, from `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// One row of the table of who watches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ViewerRow {
    /// None: a viewer whose seat is gone.
    pub seat: Option<SeatId>,
    pub name: String,
    pub role: Role,
    /// None: somebody in the room without a picture.
    pub viewer: Option<u64>,
    /// connecting, connected or away (no picture).
    pub state: String,
    /// How it is reached, such as `host, udp`.
    pub path: String,
    /// Without its last part.
    pub address: String,
    pub round_trip_ms: Option<f64>,
    /// 0.0..=1.0 in the last report.
    pub loss: f64,
    pub kbps: f64,
    pub frames_sent: u64,
    pub frames_dropped: u64,
    pub bytes: u64,
    pub joined_s: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

/// What `welcome` says of the newcomer and of the room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seated {
    pub seat: SeatWords,
    /// With it the seat is had back, for 30 s after its last transport is gone.
    pub resume: String,
    /// The seat is the one of before.
    pub resumed: bool,
    /// There is a login that can be ended (a cookie).
    #[serde(default)]
    pub logged_in: bool,
    /// The viewer of before, when it still lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewer: Option<u64>,
    pub room: RoomWords,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeatWords {
    pub id: SeatId,
    pub name: String,
    pub role: Role,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoomWords {
    pub people: Vec<Person>,
    #[serde(flatten)]
    pub control: Control,
    pub closed: bool,
    pub muted: bool,
    pub chat: Vec<ChatLine>,
}
