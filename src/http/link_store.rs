//! The links of this machine: the key they are signed with, the list of them, and both in the state folder.
//!
//! The daemon and `rtcam access` share the two files; whoever changes the list holds the lock. Must never let a failing
//! disk stop anything: without files, links live as long as this run. A list that is missing or damaged makes a new key,
//! because what was revoked is not known any more. Input: the state folder.

use super::links::{self, Key, LONGEST, Ledger, Link, LinkRefusal, Moment, SHORTEST};
use super::state::{Stamp, StateFolder};
use crate::clock::Clock;
use crate::config::Role;
use crate::error::{Error, ErrorKind, Result};
use crate::signal::identity::Identity;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tracing::warn;

const KEY_FILE: &str = "link.key";
const LIST_FILE: &str = "links.json";

/// A link and the text that opens with it: the only time it is seen.
pub struct MadeLink {
    pub link: Link,
    pub token: String,
}

impl MadeLink {
    /// What follows the address of the page.
    pub fn path(&self) -> String {
        format!("/?link={}", self.token)
    }
}

pub struct Links {
    state: Option<Arc<StateFolder>>,
    /// What cannot be kept is an error, not a warning.
    must_keep: bool,
    clock: Clock,
    known: Mutex<Known>,
    /// Counts what makes somebody's link end before its time.
    ended: watch::Sender<u64>,
    warned: AtomicBool,
}

struct Known {
    key: Key,
    ledger: Ledger,
    /// Links whose key is gone, until they are told.
    voided: Vec<String>,
    stamps: [Option<Stamp>; 2],
}

impl Links {
    /// Reads or makes the two files; `state` is None where nothing can be kept.
    pub fn open(state: Option<Arc<StateFolder>>, clock: Clock) -> Result<Links> {
        let (ended, warned) = (watch::Sender::new(0), AtomicBool::new(false));
        let fresh = || Some(Known { key: random()?, ledger: Ledger::default(), voided: Vec::new(), stamps: [None; 2] });
        let known = fresh().ok_or_else(|| Error::new(ErrorKind::Io, "the system gives no random numbers"))?;
        let links = Links { state, must_keep: false, clock, known: Mutex::new(known), ended, warned };
        if let Some(state) = &links.state
            && let Err(error) = links.load_or_make(state)
        {
            links.complain("links: read or make the files in the state folder", &error);
        }
        Ok(links)
    }

    /// For `rtcam access`: what cannot be kept is an error there.
    pub fn open_at(path: &Path, clock: Clock) -> Result<Links> {
        let refuse = |error: io::Error| {
            let text = format!("links: use the state folder {}", path.display());
            let kind = if error.kind() == io::ErrorKind::PermissionDenied { ErrorKind::Denied } else { ErrorKind::Io };
            Error::new(kind, text).because(error)
        };
        let state = Arc::new(StateFolder::open(path).map_err(refuse)?);
        let links = Links::open(None, clock)?;
        links.load_or_make(&state).map_err(refuse)?;
        Ok(Links { state: Some(state), must_keep: true, ..links })
    }

    /// Who comes with this token.
    pub fn judge(&self, token: &str) -> Result<Identity, LinkRefusal> {
        let mut known = self.known();
        let Known { key, ledger, .. } = &mut *known;
        ledger.judge(key, token, self.moment())
    }

    pub fn is_good(&self, id: &str) -> bool {
        self.known().ledger.judge_id(id, self.moment()).is_ok()
    }

    /// Who comes by a link we know of, good or not.
    pub fn identity(&self, id: &str) -> Option<Identity> {
        self.known().ledger.identity(id)
    }

    pub fn left(&self, id: &str) -> Duration {
        Duration::from_secs(self.known().ledger.left_s(id, self.moment()))
    }

    pub fn list(&self) -> Vec<Link> {
        self.known().ledger.list(self.moment())
    }

    /// Changes when a link has ended before its time.
    pub fn ended(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Waits for the disk.
    pub fn make(&self, role: Role, life: Duration, name: &str) -> Result<MadeLink> {
        let made = self.make_unsaved(role, life, name)?;
        self.save()?;
        Ok(made)
    }

    /// Waits for the disk. False: there is no such link, or it was revoked before.
    pub fn revoke(&self, id: &str) -> Result<bool> {
        let done = self.revoke_unsaved(id);
        if done {
            self.save()?;
        }
        Ok(done)
    }

    /// It opens from now on; `save` must follow.
    pub fn make_unsaved(&self, role: Role, life: Duration, name: &str) -> Result<MadeLink> {
        let bad = |why: &str| Err(Error::new(ErrorKind::BadInput, format!("make a link: {why}")));
        if !(SHORTEST..=LONGEST).contains(&life) {
            return bad("it may live from a minute to 30 days");
        }
        if name.chars().count() > links::NAME_CHARACTERS || name.chars().any(char::is_control) {
            return bad("its name may have 32 characters and no control characters");
        }
        let at = self.moment();
        if !at.wall.is_plausible() {
            let why = "make a link: the clock of this machine is not set, so it would expire at a wrong time";
            return Err(Error::new(ErrorKind::Unsupported, why));
        }
        let id = self.fresh_id()?;
        let (made_s, expires_s) = (at.wall_s(), at.wall_s() + life.as_secs());
        let link = Link { id, role, name: name.trim().into(), made_s, expires_s };
        let token = {
            let mut known = self.known();
            if !known.ledger.add(link.clone(), at) {
                return Err(Error::new(
                    ErrorKind::Limit,
                    format!("make a link: there are {} already", links::MOST_LINKS),
                ));
            }
            links::sign(&known.key, &link)
        };
        Ok(MadeLink { link, token })
    }

    /// It opens nothing from now on; `save` must follow.
    pub fn revoke_unsaved(&self, id: &str) -> bool {
        let done = self.known().ledger.revoke(id);
        if done {
            self.ended.send_modify(|count| *count += 1);
        }
        done
    }

    /// The links that were revoked, have expired or are void, each told once. For one listener.
    pub fn newly_ended(&self) -> Vec<String> {
        let mut known = self.known();
        let mut ended = std::mem::take(&mut known.voided);
        ended.extend(known.ledger.newly_ended(self.moment()));
        ended
    }

    /// Takes in what another program changed; looks at the disk.
    pub fn refresh(&self) {
        let Some(state) = &self.state else { return };
        let stamps = stamps(state);
        if self.known().stamps == stamps || stamps.contains(&None) {
            return;
        }
        if let Err(error) = state.lock(&self.clock).and_then(|_lock| self.read(state)) {
            self.complain("links: read what another program changed", &error);
        }
    }

    fn load_or_make(&self, state: &StateFolder) -> io::Result<()> {
        // a folder that cannot be written may still hold what is needed
        let lock = state.lock(&self.clock);
        match (self.read(state), stamps(state)) {
            (Ok(()), _) => return Ok(()),
            (Err(_), [None, None]) => {}
            (Err(error), _) if is_damage(&error) => warn!("links: {error}; every link made so far is void"),
            (Err(error), _) => return Err(error),
        }
        lock?;
        let (key, list) = {
            let known = self.known();
            (known.key, known.ledger.to_text())
        };
        state.write(LIST_FILE, list.as_bytes())?;
        state.write(KEY_FILE, &key)?;
        self.known().stamps = stamps(state);
        Ok(())
    }

    fn read(&self, state: &StateFolder) -> io::Result<()> {
        // stamps first: what changes in between is read again
        let stamps = stamps(state);
        let key = state.read(KEY_FILE)?.ok_or_else(|| bad(KEY_FILE))?;
        let key = Key::try_from(&key[..]).map_err(|_| bad(KEY_FILE))?;
        let list = state.read(LIST_FILE)?.ok_or_else(|| bad(LIST_FILE))?;
        let list = Ledger::parse(&list).ok_or_else(|| bad(LIST_FILE))?;
        let mut known = self.known();
        let another_key = known.key != key;
        if another_key {
            // whatever was signed with the old one is void
            known.key = key;
            known.voided = std::mem::take(&mut known.ledger).ids();
        }
        let revoked_one = known.ledger.take_in(list, self.moment());
        known.stamps = stamps;
        drop(known);
        if another_key || revoked_one {
            self.ended.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// The list, with what others wrote meanwhile.
    pub fn save(&self) -> Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let saved = state.lock(&self.clock).and_then(|_lock| {
            let [key, _] = stamps(state);
            if stamps(state) != self.known().stamps {
                // what is damaged is replaced by what this run knows
                self.read(state).or_else(|error| if is_damage(&error) { Ok(()) } else { Err(error) })?;
            }
            if key.is_none() {
                let key = self.known().key;
                state.write(KEY_FILE, &key)?;
            }
            let text = {
                let mut known = self.known();
                known.ledger.drop_expired(self.moment());
                known.ledger.to_text()
            };
            state.write(LIST_FILE, text.as_bytes())?;
            self.known().stamps = stamps(state);
            Ok(())
        });
        match saved {
            Err(error) if self.must_keep => {
                Err(Error::new(ErrorKind::Io, "links: write the list of links").because(error))
            }
            Err(error) => {
                self.complain("links: write the list of links", &error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn fresh_id(&self) -> Result<String> {
        loop {
            let random = random().ok_or_else(|| Error::new(ErrorKind::Io, "the system gives no random numbers"))?;
            let id: String = random[..6].iter().map(|byte| format!("{byte:02x}")).collect();
            if !self.known().ledger.contains(&id) {
                return Ok(id);
            }
        }
    }

    fn complain(&self, what: &str, error: &dyn std::fmt::Display) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            warn!("{what}: {error}; links made or revoked now count for this run only");
        }
    }

    fn moment(&self) -> Moment {
        Moment { wall: self.clock.wall(), now: self.clock.now() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // every change is one step: nothing is half-done when a thread panics
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bad(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} is missing or damaged"))
}

fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

fn stamps(state: &StateFolder) -> [Option<Stamp>; 2] {
    [state.stamp(KEY_FILE), state.stamp(LIST_FILE)]
}

fn random() -> Option<Key> {
    let mut key = Key::default();
    getrandom::fill(&mut key).ok()?;
    Some(key)
}

#[cfg(test)]
#[path = "link_store_tests.rs"]
mod tests;
