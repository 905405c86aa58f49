//! Floor 4: what a page and rtcam say to each other: the messages and the session that both WebSocket and WHEP follow.
//!
//! Pure: bytes, events and `now` in, actions out. Must never open a socket, wait or read a clock.

pub mod bucket;
pub mod ice;
pub mod identity;
pub mod message;
pub mod room;
pub mod session;
