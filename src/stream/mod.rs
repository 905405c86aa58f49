//! Floor 2: the pipeline capture -> overlay -> encode -> hub, and the fan-out to outputs.

pub mod adjust;
mod adjustments;
mod board;
mod camera_controls;
mod capture_thread;
mod card;
mod encode_thread;
mod encoder_slot;
mod fanout;
pub mod hub;
mod inbox;
mod key_gate;
pub mod pipeline;
mod rate_meter;
mod retry;
pub mod status;
mod wedge;

use crate::media::packet::AccessUnit;
use adjust::{AdjustError, Adjustable, Change};
use hub::Item;
use std::sync::Arc;
use tokio::sync::watch;

/// Wakes an output that sleeps in its own way (eventfd, condition variable). Called from the encode thread: must not block.
pub trait Wake: Send + Sync {
    fn wake(&self);
}

/// What outputs ask of the pipeline. While at least one `Subscription` lives, pictures are encoded.
pub trait Stream: Send + Sync {
    /// Joins; the first unit taken is a key picture, asked for at once.
    fn subscribe(&self, waker: Arc<dyn Wake>) -> Box<dyn Subscription>;

    /// profile_idc, constraint flags, level_idc of the SPS that viewers will get. Known from start, before any viewer.
    fn profile_level_id(&self) -> [u8; 3];

    fn status(&self) -> status::StreamStatus;

    /// What may be changed now; the receiver hears of every change, whoever made it.
    fn adjustable(&self) -> watch::Receiver<Arc<Adjustable>> {
        watch::Sender::new(Arc::default()).subscribe()
    }

    /// Takes a change over, or says at once why not. It has happened when `adjustable` shows it.
    fn adjust(&self, change: Change) -> Result<(), AdjustError> {
        let _ = change;
        Err(AdjustError::Unknown("nothing can be changed here".into()))
    }
}

/// Dropping it leaves.
pub trait Subscription: Send {
    /// The next unit, in order; after a gap (this subscriber was too slow) it is a key picture.
    fn take(&mut self) -> Option<Arc<AccessUnit>>;

    /// Asks for a key picture (PLI, FIR, a newcomer). Rate-limited inside: at most one forced IDR per 250 ms, requests
    /// in between are merged into the next one.
    fn request_key(&mut self);
}

impl Item for Arc<AccessUnit> {
    fn is_key(&self) -> bool {
        self.key
    }
    fn size(&self) -> usize {
        self.bytes.len()
    }
}
