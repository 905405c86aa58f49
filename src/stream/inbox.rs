//! What the encode thread waits for: the newest picture, a nudge, the end.
//!
//! Owns the one place between camera and encoder. A picture that is not fetched before the next one comes is dropped
//! (and counted by the caller), never queued. Must never hold its lock while a frame's memory goes home.
//! Input: the capture thread; outputs that join; `Pipeline::stop`.

use crate::media::frame::Frame;
use crate::units::FrameRate;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A captured picture and the rate its camera runs at.
pub(super) struct Arrived {
    pub frame: Frame,
    pub rate: FrameRate,
}

pub(super) enum Event {
    Picture(Arrived),
    /// Something changed (a subscriber, the camera's state), or the time given is over.
    Look,
    Stop,
}

#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    picture: Option<Arrived>,
    nudged: bool,
    stopping: bool,
}

impl Inbox {
    /// Returns whether an older picture was dropped for this one.
    pub fn put(&self, picture: Arrived) -> bool {
        let older = self.lock().picture.replace(picture);
        self.changed.notify_one();
        older.is_some()
    }

    pub fn nudge(&self) {
        self.lock().nudged = true;
        self.changed.notify_one();
    }

    pub fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    pub fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    pub fn wait(&self, timeout: Duration) -> Event {
        let nothing = |state: &mut State| state.picture.is_none() && !state.nudged && !state.stopping;
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, nothing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.stopping {
            return Event::Stop;
        }
        match state.picture.take() {
            Some(picture) => Event::Picture(picture),
            None => {
                state.nudged = false;
                Event::Look
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{BufferPool, Colour, Layout, Matrix, PictureFormat, Range};
    use crate::units::{Micros, Size};

    #[test]
    fn the_newest_picture_wins_and_the_older_one_goes_home() {
        let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
        let format = PictureFormat::packed(Layout::I420, Size { width: 16, height: 16 }, colour);
        let pool = BufferPool::new(2, format.buffer_len());
        let arrived = |sequence| Arrived {
            frame: Frame::pooled(format, Micros(0), sequence, pool.take().expect("a free buffer")),
            rate: FrameRate::per_second(30),
        };
        let inbox = Inbox::default();
        assert!(!inbox.put(arrived(1)));
        assert!(inbox.put(arrived(2)));
        inbox.nudge();
        assert!(matches!(inbox.wait(Duration::ZERO), Event::Picture(p) if p.frame.sequence == 2));
        assert!(!inbox.put(arrived(3)), "both buffers are home again");
        assert!(matches!(inbox.wait(Duration::ZERO), Event::Picture(_)));
        assert!(matches!(inbox.wait(Duration::from_secs(60)), Event::Look), "the nudge is not lost");
        inbox.stop();
        assert!(matches!(inbox.wait(Duration::from_secs(60)), Event::Stop));
    }
}
