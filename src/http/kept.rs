//! A file of the state folder that follows something in memory: the logins, the seats of the room.
//!
//! Owns when it is written: soon after a change, but never twice within a while (flash wears out), and always behind the
//! runtime's back. Must never let a failing disk stop anything: it says so once and tries again now and then. Input: the
//! text of its owner; the file that an earlier run left.

use super::state::StateFolder;
use crate::clock::{self, Clock};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{debug, warn};

/// After a write that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// The last write may hold up the end of the program for so long.
const LAST_WITHIN: Duration = Duration::from_millis(500);

pub struct Kept {
    /// None: nothing is kept.
    state: Option<Arc<StateFolder>>,
    name: &'static str,
    /// For people: what is lost when it cannot be kept.
    what: &'static str,
    every: Duration,
    clock: Clock,
    changed: Notify,
    is_changed: AtomicBool,
    texts: AtomicU64,
    written: Mutex<Written>,
    warned: AtomicBool,
}

#[derive(Default)]
struct Written {
    number: u64,
    text: String,
}

impl Kept {
    pub fn new(
        state: Option<Arc<StateFolder>>,
        name: &'static str,
        what: &'static str,
        every: Duration,
        clock: Clock,
    ) -> Arc<Kept> {
        let (is_changed, warned, texts) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
        let (changed, written) = (Notify::new(), Mutex::default());
        Arc::new(Kept { state, name, what, every, clock, changed, is_changed, texts, written, warned })
    }

    /// What an earlier run left, as `parse` understands it. Looks at the disk.
    pub fn read<T>(&self, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let state = self.state.as_ref()?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the file is damaged");
        let read = state.read(self.name).and_then(|bytes| match bytes {
            Some(bytes) => parse(&bytes).map(Some).ok_or_else(damaged),
            None => Ok(None),
        });
        let file = self.name;
        read.unwrap_or_else(|error| {
            warn!("{file} in the state folder: {error}; {} of earlier runs are forgotten", self.what);
            None
        })
    }

    /// It has to be written.
    pub fn touch(&self) {
        self.is_changed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Writes what has changed, for as long as it is polled.
    pub async fn follow(self: &Arc<Self>, text: impl Fn() -> String) {
        if self.state.is_none() {
            std::future::pending::<()>().await;
        }
        loop {
            self.changed.notified().await;
            let wait = match self.write_changed(&text).await {
                true => self.every,
                false => AGAIN_AFTER,
            };
            clock::sleep(wait).await;
        }
    }

    /// The last time.
    pub async fn finish(self: &Arc<Self>, text: impl Fn() -> String) {
        if clock::within(LAST_WITHIN, self.write_changed(&text)).await.is_none() {
            debug!("{}: the disk is too slow for the last changes", self.name);
        }
    }

    async fn write_changed(self: &Arc<Self>, text: &impl Fn() -> String) -> bool {
        if self.state.is_none() || !self.is_changed.swap(false, Ordering::AcqRel) {
            return true;
        }
        let (number, text, kept) = (self.texts.fetch_add(1, Ordering::AcqRel) + 1, text(), self.clone());
        let done = tokio::task::spawn_blocking(move || kept.write(number, text)).await;
        match done.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => true,
            Err(error) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    let (file, what) = (self.name, self.what);
                    warn!("{file} in the state folder: {error}; {what} may not outlive this run; trying again");
                }
                self.touch();
                false
            }
        }
    }

    fn write(&self, number: u64, text: String) -> io::Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let _lock = state.lock(&self.clock)?;
        // whoever panicked while holding it left one of the two texts behind
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        // a slow disk may bring an older one here behind a newer one
        if number > written.number && text != written.text {
            state.write(self.name, text.as_bytes())?;
            *written = Written { number, text };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn kept(folder: &std::path::Path) -> Arc<Kept> {
        let state = Arc::new(StateFolder::open(folder).unwrap());
        Kept::new(Some(state), "x.json", "things", Duration::from_millis(50), Clock::system())
    }

    async fn until(holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                clock::sleep(Duration::from_millis(2)).await;
            }
        };
        clock::within(Duration::from_secs(20), waiting).await.expect("it took far too long");
    }

    #[tokio::test]
    async fn many_changes_are_few_writes_and_the_last_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, made) = (kept(folder.path()), Arc::new(AtomicUsize::new(0)));
        let value = Arc::new(AtomicUsize::new(0));
        let (text, texts) = (value.clone(), made.clone());
        let follower = kept.clone();
        let following = tokio::spawn(async move {
            let text = move || {
                texts.fetch_add(1, Ordering::AcqRel);
                text.load(Ordering::Acquire).to_string()
            };
            follower.follow(text).await;
        });
        for number in 1..=1000 {
            value.store(number, Ordering::Release);
            kept.touch();
            if number % 100 == 0 {
                clock::sleep(Duration::from_millis(1)).await;
            }
        }
        let file = folder.path().join("x.json");
        until(|| std::fs::read_to_string(&file).is_ok_and(|text| text == "1000")).await;
        let writes = made.load(Ordering::Acquire);
        assert!(writes < 100, "{writes} writes for 1,000 changes");
        following.abort();
        value.store(1001, Ordering::Release);
        kept.touch();
        kept.finish(|| "the end".into()).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "the end");
    }

    #[tokio::test]
    async fn a_disk_that_fails_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path());
        // nothing can be renamed onto it
        std::fs::create_dir_all(folder.path().join("x.json/in the way")).unwrap();
        kept.touch();
        assert!(!kept.write_changed(&|| "text".into()).await);
        std::fs::remove_dir_all(folder.path().join("x.json")).unwrap();
        assert!(kept.write_changed(&|| "text".into()).await, "the change was not forgotten");
        assert_eq!(std::fs::read_to_string(folder.path().join("x.json")).unwrap(), "text");
    }

    #[test]
    fn what_cannot_be_understood_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path());
        let read = |kept: &Kept| kept.read(|bytes| std::str::from_utf8(bytes).ok()?.parse::<u32>().ok());
        assert_eq!(read(&kept), None);
        for (text, expected) in [("17", Some(17)), ("half a numb", None)] {
            std::fs::write(folder.path().join("x.json"), text).unwrap();
            assert_eq!(read(&kept), expected);
        }
        std::fs::write(folder.path().join("x.json"), "1".repeat(2 << 20)).unwrap();
        assert_eq!(read(&kept), None, "far too long");
    }

    #[test]
    fn an_older_text_never_replaces_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path());
        kept.write(2, "newer".into()).unwrap();
        kept.write(1, "older".into()).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("x.json")).unwrap(), "newer");
    }
}
