//! For tests of the watchdog: lets the capture or the encode thread hang for ever, as a driver may.
//!
//! Off unless the environment names a folder in RTCAM_TEST_WEDGE when the pipeline starts: then a thread hangs once there
//! is a file of its name (`capture`, `encode`) in that folder. Must never be reachable by the config or a peer.
//! Input: the environment, once; with it set, one look at the file system per picture.

use crate::clock::Clock;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const FOLDER: &str = "RTCAM_TEST_WEDGE";

pub(super) struct Wedge(Option<PathBuf>);

impl Wedge {
    pub fn of_environment() -> Wedge {
        Wedge::below(std::env::var_os(FOLDER))
    }

    fn below(folder: Option<OsString>) -> Wedge {
        if let Some(folder) = &folder {
            tracing::warn!("{FOLDER} is set: a file in {} makes a thread hang; for tests only", folder.display());
        }
        Wedge(folder.map(PathBuf::from))
    }

    fn wants(&self, thread: &str) -> bool {
        self.0.as_ref().is_some_and(|folder| folder.join(thread).exists())
    }

    /// Returns at once, or never.
    pub fn may_hang(&self, thread: &'static str, clock: &Clock) {
        if self.wants(thread) {
            tracing::warn!("{FOLDER}: the {thread} thread hangs from now on");
            loop {
                clock.sleep(Duration::from_secs(3600));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_thread_whose_file_is_there_hangs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let wedge = Wedge::below(Some(folder.path().into()));
        assert!(!wedge.wants("capture") && !wedge.wants("encode"));
        std::fs::write(folder.path().join("encode"), "").expect("writable");
        assert!(!wedge.wants("capture") && wedge.wants("encode"));
    }

    #[test]
    fn without_the_variable_nothing_is_looked_at() {
        assert!(!Wedge::below(None).wants("."));
    }
}
