//! The state folder: the few small files that outlive a run (the key of the links, the list of
//! links, the logins, the seats of the room, our certificate).
//!
//! Every file is for its owner only and replaced whole: a power cut leaves the old one or the new one. Must never be
//! called on the runtime's thread but at the start: flash may be slow. Input: the folder's path, what other runs and
//! `rtcam access` wrote there.

use crate::clock::Clock;
use rustix::fs::{FlockOperation, flock};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a service keeps its state.
const SYSTEM_WIDE: &str = "/var/lib/rtcam";
/// A file of ours is never nearly as long.
const MOST_BYTES: u64 = 1 << 20;
const LOCKED_WITHIN: Duration = Duration::from_secs(2);

/// The folder of this run: the one configured, else what the service manager gives, else `/var/lib/rtcam` for root and
/// for its owner, else the user's own; None when there is none of them.
pub fn place(configured: &Path) -> Option<PathBuf> {
    let owner = std::fs::metadata(SYSTEM_WIDE).ok().map(|found| found.uid());
    choose(configured, |name| std::env::var_os(name), rustix::process::geteuid().as_raw(), owner)
}

fn choose(configured: &Path, env: impl Fn(&str) -> Option<OsString>, user: u32, owner: Option<u32>) -> Option<PathBuf> {
    if !configured.as_os_str().is_empty() {
        return Some(configured.to_path_buf());
    }
    let folder = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(given) = folder("STATE_DIRECTORY") {
        return Some(given);
    }
    if user == 0 || owner == Some(user) {
        return Some(SYSTEM_WIDE.into());
    }
    let own = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    own.map(|own| own.join("rtcam"))
}

/// Tells whether a file has been replaced since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    changed_ns: i128,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    /// None: there is no such file, or none that can be looked at.
    pub fn of(path: &Path) -> Option<Stamp> {
        let found = std::fs::metadata(path).ok()?;
        let changed_ns = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        Some(Stamp { changed_ns, bytes: found.len(), inode: found.ino() })
    }
}

pub struct StateFolder {
    path: PathBuf,
}

/// Held while a file is read, changed and written; other programs wait.
pub struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // closing the file would do it too
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl StateFolder {
    /// Makes the folder where there is none.
    pub fn open(path: &Path) -> Result<StateFolder> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(StateFolder { path: path.to_path_buf() })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn stamp(&self, name: &str) -> Option<Stamp> {
        Stamp::of(&self.file(name))
    }

    /// None: there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let file = match File::open(self.file(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(Error::new(ErrorKind::InvalidData, "the file is far too long"));
        }
        Ok(Some(bytes))
    }

    /// Call with the lock held.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let fresh = self.file(&format!("{name}.new"));
        // left behind by a power cut
        let _ = std::fs::remove_file(&fresh);
        let written = self.write_whole(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, self.file(name)));
        if written.is_err() {
            let _ = std::fs::remove_file(&fresh);
        }
        written?;
        // the rename itself must be on the disk as well
        File::open(&self.path)?.sync_all()
    }

    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        self.give_to_owner(&file)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// What root writes here, the daemon's user must be able to read.
    fn give_to_owner(&self, file: &File) -> Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let folder = std::fs::metadata(&self.path)?;
        std::os::unix::fs::fchown(file, Some(folder.uid()), Some(folder.gid()))
    }

    /// Waits for whoever writes, but not for ever.
    pub fn lock(&self, clock: &Clock) -> Result<Lock> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.file("lock"))?;
        self.give_to_owner(&file)?;
        let end = clock.now() + LOCKED_WITHIN;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock(file)),
                Err(error) if error != rustix::io::Errno::WOULDBLOCK => return Err(error.into()),
                Err(_) if clock.now() >= end => {
                    return Err(Error::new(ErrorKind::TimedOut, "another program holds the lock"));
                }
                Err(_) => clock.sleep(Duration::from_millis(10)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_place_is_the_configured_one_then_the_services_then_the_users() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        let all = &[("STATE_DIRECTORY", "/var/lib/s"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        let table = [
            (choose(Path::new("/data/rtcam"), env(all), 1000, None), Some("/data/rtcam")),
            (choose(Path::new(""), env(all), 0, None), Some("/var/lib/s")),
            (choose(Path::new(""), env(&all[1..]), 0, None), Some(SYSTEM_WIDE)),
            (choose(Path::new(""), env(&all[1..]), 999, Some(999)), Some(SYSTEM_WIDE)),
            (choose(Path::new(""), env(&all[1..]), 1000, Some(999)), Some("/x/rtcam")),
            (choose(Path::new(""), env(&all[2..]), 1000, None), Some("/h/.local/state/rtcam")),
            (choose(Path::new(""), env(&[("XDG_STATE_HOME", "not/absolute")]), 1000, None), None),
            (choose(Path::new(""), env(&[]), 1000, None), None),
        ];
        for (chosen, expected) in table {
            assert_eq!(chosen, expected.map(PathBuf::from));
        }
    }

    #[test]
    fn files_are_replaced_whole_and_are_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(&folder.path().join("a/b")).unwrap();
        assert_eq!(state.read("key").unwrap(), None);
        state.write("key", b"one").unwrap();
        let first = state.stamp("key").unwrap();
        // a power cut while the next one was being written
        std::fs::write(state.file("key.new"), b"half").unwrap();
        state.write("key", b"two!").unwrap();
        assert_eq!(state.read("key").unwrap().unwrap(), b"two!");
        assert_ne!(state.stamp("key").unwrap(), first);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state.file("key")), 0o600);
        assert_eq!(mode(&folder.path().join("a/b")), 0o700);
        assert!(!state.file("key.new").exists());
    }

    #[test]
    fn a_lock_is_waited_for_and_given_up_at_last() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        let (clock, _hand) = Clock::test();
        let held = state.lock(&clock).unwrap();
        let before = clock.now();
        assert!(state.lock(&clock).is_err());
        assert!(clock.now().since(before) >= LOCKED_WITHIN);
        drop(held);
        assert!(state.lock(&clock).is_ok());
    }
}
