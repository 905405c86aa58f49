//! Who may come in, and as whom: passwords, signed links, the cookies of those who came in by one of them.
//!
//! Owns the sessions of those with a cookie; they outlive a run in the state folder. Must never log a password, cookie or
//! token. Input: request headers and login forms (hostile); `[auth]`.

use super::cookies::{self, SameSite};
use super::kept::Kept;
use super::link_store::{Links, MadeLink};
use super::links::{self, Link, LinkRefusal, Moment};
use super::passwords::Passwords;
use super::sessions::{Credential, Sessions};
use super::state::StateFolder;
use crate::clock::{self, Clock};
use crate::config::{AuthConfig, Role, Secret};
use crate::error::Result;
use crate::signal::identity::{Identity, Proof};
use axum::http::{HeaderMap, header};
use base64ct::{Base64, Encoding};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SESSIONS_FILE: &str = "sessions.json";
/// Logins are written no more often than that.
const WRITTEN_EVERY: Duration = Duration::from_secs(1);
/// A wall clock that is stepped by more makes the times in that file wrong.
const STEP: Duration = Duration::from_secs(60);
/// How often somebody's stay is held against the end of their link.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why somebody does not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No credentials, or a cookie that is not (any longer) one of ours.
    Unknown,
    WrongPassword,
    /// Too many wrong passwords for this account from this address.
    Wait {
        seconds: u32,
    },
    /// Too many verifications at once, from everybody together.
    Busy,
    Link(LinkRefusal),
}

#[derive(Clone)]
pub struct Gate(Arc<Guard>);

struct Guard {
    /// What somebody who shows nothing may do; None: nothing.
    strangers: Option<Role>,
    session_life: Duration,
    over_tls: bool,
    clock: Clock,
    passwords: Arc<Passwords>,
    links: Arc<Links>,
    sessions: Mutex<Sessions>,
    kept: Arc<Kept>,
    /// What the wall clock was ahead of the monotonic one when the sessions were last written, in microseconds.
    ahead_us: AtomicU64,
}

impl Gate {
    pub fn new(config: &AuthConfig, over_tls: bool, state: Option<Arc<StateFolder>>, clock: Clock) -> Result<Gate> {
        let passwords = Passwords::new(config, clock.clone())?;
        let links = Arc::new(Links::open(state.clone(), clock.clone())?);
        let session_life = Duration::from_secs(u64::from(config.session_hours) * 3600);
        let kept = Kept::new(state, SESSIONS_FILE, "logins", WRITTEN_EVERY, clock.clone());
        let who = |credential: &Credential| match credential {
            Credential::Password { name, mark } => passwords.by_mark(name, mark),
            Credential::Link { id } => links.identity(id),
        };
        let sessions = kept.read(|bytes| Sessions::parse(bytes, session_life, who)).unwrap_or_default();
        let gate = Gate(Arc::new(Guard {
            strangers: config.role_of_strangers(),
            session_life,
            over_tls,
            clock,
            passwords,
            links,
            sessions: Mutex::new(sessions),
            kept,
            ahead_us: AtomicU64::new(0),
        }));
        gate.0.ahead_us.store(gate.ahead_us(), Ordering::Relaxed);
        Ok(gate)
    }

    /// Judges a request by its Authorization header or its cookie.
    pub async fn check(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Identity, Denial> {
        let shown = headers.get(header::AUTHORIZATION).map(|value| Shown::read(value.as_bytes()));
        match shown {
            Some(Some(Shown::Link(token))) => self.0.links.judge(token.reveal()).map_err(Denial::Link),
            Some(Some(Shown::Password { name, password })) if self.0.passwords.are_set() => {
                self.0.passwords.check(peer, &name, password, true).await
            }
            Some(_) => self.stranger().ok_or(Denial::Unknown),
            None => self.by_cookie(headers).or_else(|| self.stranger()).ok_or(Denial::Unknown),
        }
    }

    fn stranger(&self) -> Option<Identity> {
        let role = self.0.strangers?;
        Some(Identity { role, ..Identity::at_home() })
    }

    pub fn by_cookie(&self, headers: &HeaderMap) -> Option<Identity> {
        let at = self.moment();
        let mut found = cookies::of(headers).filter_map(|token| self.sessions().identity(&token, at).cloned());
        found.find(|identity| self.is_still_valid(identity))
    }

    /// A login form. On success the value for Set-Cookie (None: no password is set, none is needed).
    pub async fn login(&self, peer: IpAddr, name: &str, password: String) -> Result<Option<String>, Denial> {
        if !self.0.passwords.are_set() {
            return Ok(None);
        }
        let identity = self.0.passwords.check(peer, name, Secret::new(password), false).await?;
        self.begin_session(identity, self.0.session_life, SameSite::Strict).map(Some)
    }

    /// A link for a cookie: the value for Set-Cookie.
    pub fn exchange(&self, token: &str) -> Result<String, Denial> {
        let identity = self.0.links.judge(token).map_err(Denial::Link)?;
        let Proof::Link(id) = &identity.proof else { return Err(Denial::Unknown) };
        let life = self.0.links.left(id).min(self.0.session_life);
        self.begin_session(identity, life, SameSite::Lax)
    }

    fn begin_session(&self, identity: Identity, life: Duration, same_site: SameSite) -> Result<String, Denial> {
        let token = cookies::random().ok_or(Denial::Busy)?;
        let password = self.0.passwords.mark(&identity);
        self.sessions().add(&token, identity, password, life, self.moment());
        self.0.kept.touch();
        Ok(cookies::set(&token, life, same_site, self.0.over_tls))
    }

    /// Ends the session of this request's cookie; the value for Set-Cookie that makes the browser forget it.
    pub fn logout(&self, headers: &HeaderMap) -> String {
        if cookies::of(headers).filter(|token| self.sessions().remove(token)).count() > 0 {
            self.0.kept.touch();
        }
        cookies::forget(self.0.over_tls)
    }

    /// Whether there is anything to log in with, and whether the form must ask for a name.
    pub fn has_passwords(&self) -> bool {
        self.0.passwords.are_set()
    }

    pub fn has_names(&self) -> bool {
        self.0.passwords.have_names()
    }

    /// False once the link somebody came by has expired or was revoked.
    pub fn is_still_valid(&self, identity: &Identity) -> bool {
        match &identity.proof {
            Proof::Link(id) => self.0.links.is_good(id),
            Proof::None | Proof::Password | Proof::User => true,
        }
    }

    /// Returns once `is_still_valid` is false: at once after a revocation, within a second after the end.
    pub async fn ended(&self, identity: &Identity) {
        if !matches!(identity.proof, Proof::Link(_)) {
            std::future::pending::<()>().await;
        }
        let mut ended = self.0.links.ended();
        while self.is_still_valid(identity) {
            // time passing is the other way to end
            clock::within(LOOK_EVERY, ended.changed()).await;
        }
    }

    /// The text of the link is seen this once. It opens at once, and is written behind our back.
    pub fn make_link(&self, role: Role, life: Duration, name: &str) -> Result<MadeLink> {
        let made = self.0.links.make_unsaved(role, life, name)?;
        self.save_links();
        Ok(made)
    }

    pub fn links(&self) -> Vec<Link> {
        self.0.links.list()
    }

    /// Counts at once. False: there is no such link, or it was revoked before.
    pub fn revoke(&self, id: &str) -> bool {
        let done = self.0.links.revoke_unsaved(id);
        if done {
            self.save_links();
        }
        done
    }

    /// The ids of links that have ended since the last call, in whatever way. For one listener; another one would get
    /// the rest.
    pub fn newly_ended_links(&self) -> Vec<String> {
        self.0.links.newly_ended()
    }

    fn save_links(&self) {
        let links = self.0.links.clone();
        // what cannot be written it says itself
        tokio::task::spawn_blocking(move || drop(links.save()));
    }

    /// For whoever looks at the disk.
    pub fn links_on_disk(&self) -> Arc<Links> {
        self.0.links.clone()
    }

    /// Logins go to the state folder, for as long as it is polled.
    pub async fn keep_sessions(&self) {
        self.0.kept.follow(|| self.sessions_text()).await;
    }

    pub async fn keep_sessions_at_last(&self) {
        self.0.kept.finish(|| self.sessions_text()).await;
    }

    fn sessions_text(&self) -> String {
        self.0.ahead_us.store(self.ahead_us(), Ordering::Relaxed);
        self.sessions().to_text(self.moment())
    }

    /// Call every now and then: what was written with a clock that has been set since is written anew.
    pub fn look_at_clock(&self) {
        let stepped_us = self.ahead_us().abs_diff(self.0.ahead_us.load(Ordering::Relaxed));
        if u128::from(stepped_us) > STEP.as_micros() {
            self.0.ahead_us.store(self.ahead_us(), Ordering::Relaxed);
            self.0.kept.touch();
        }
    }

    fn ahead_us(&self) -> u64 {
        self.0.clock.wall().0.saturating_sub(self.0.clock.now().0)
    }

    fn moment(&self) -> Moment {
        Moment { wall: self.0.clock.wall(), now: self.0.clock.now() }
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        // every change is one step: nothing is half-done when a thread panics
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an Authorization header shows.
enum Shown {
    Link(Secret),
    Password { name: String, password: Secret },
}

impl Shown {
    /// `Bearer <link or shared password>`, or `Basic <base64 of name:password>`.
    fn read(value: &[u8]) -> Option<Shown> {
        let (scheme, rest) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(match rest.starts_with(links::PREFIX) {
                true => Shown::Link(Secret::new(rest)),
                false => Shown::Password { name: String::new(), password: Secret::new(rest) },
            });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(Base64::decode_vec(rest).ok()?).ok()?;
        let (name, password) = decoded.split_once(':')?;
        Some(Shown::Password { name: name.into(), password: Secret::new(password) })
    }
}

/// 256 random bits as text: a name nobody guesses.
pub fn random_hex() -> Option<String> {
    cookies::random().map(|token| cookies::hex(&token))
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
