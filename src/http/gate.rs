//! Who may come in: one shared password (argon2), login cookies, Bearer and Basic for programs.
//!
//! Owns the cookie sessions, the back-off after wrong passwords and the memory of the right one. Must never log a
//! password, cookie or token, run argon2 on the runtime's thread, or make one address wait for another's mistakes.
//! Input: request headers and login forms (hostile); `auth.password_hash`.

use super::listener::network;
use crate::clock::{self, Clock};
use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::units::Micros;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use axum::http::{HeaderMap, header};
use base64ct::{Base64, Encoding};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

const COOKIE: &str = "rtcam_session";
const SESSION_LIFE: Duration = Duration::from_secs(12 * 3600);
const SESSIONS: usize = 256;
/// How long a password once found right is known without argon2.
const REMEMBER: Duration = Duration::from_secs(300);
const PASSWORD_BYTES: usize = 1024;
/// Verifications at a time, and waiting for their turn.
const AT_A_TIME: usize = 2;
const IN_LINE: usize = 8;
/// Addresses whose mistakes are remembered, and for how long.
const ADDRESSES: usize = 1024;
const FORGET_AFTER: Duration = Duration::from_secs(900);
const LONGEST_WAIT_S: u64 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Welcome,
    /// No credentials, or a cookie that is not (any longer) one of ours.
    Unknown,
    WrongPassword,
    /// Too many wrong passwords from this address.
    Wait {
        seconds: u32,
    },
    /// Too many verifications at once, from everybody together.
    Busy,
}

#[derive(Clone)]
pub struct Gate(Option<Arc<Guard>>);

struct Guard {
    hash: Secret,
    clock: Clock,
    /// Of this run; what is remembered is worthless elsewhere.
    salt: [u8; 32],
    running: Semaphore,
    waiting: Semaphore,
    sessions: Mutex<Sessions>,
    backoff: Mutex<Backoff>,
    remembered: Mutex<Option<(Token, Micros)>>,
}

type Token = [u8; 32];

impl Gate {
    /// An empty hash opens the gate to everybody (config allows that on loopback only).
    pub fn new(hash: &Secret, clock: Clock) -> Result<Gate> {
        if hash.is_empty() {
            return Ok(Gate(None));
        }
        PasswordHash::new(hash.reveal()).map_err(|e| {
            let message = "auth.password_hash is not an argon2 hash; `rtcam password` prints one";
            Error::new(ErrorKind::BadConfig, message).because(e.to_string())
        })?;
        let salt = random().ok_or_else(|| Error::new(ErrorKind::Io, "the system gives no random numbers"))?;
        Ok(Gate(Some(Arc::new(Guard {
            hash: hash.clone(),
            clock,
            salt,
            running: Semaphore::new(AT_A_TIME),
            waiting: Semaphore::new(AT_A_TIME + IN_LINE),
            sessions: Mutex::default(),
            backoff: Mutex::default(),
            remembered: Mutex::default(),
        }))))
    }

    /// Judges a request by its cookie or its Authorization header.
    pub async fn check(&self, peer: IpAddr, headers: &HeaderMap) -> Verdict {
        let Some(guard) = &self.0 else { return Verdict::Welcome };
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            return match password_of(value.as_bytes()) {
                Some(password) => guard.clone().try_password(peer, password, true).await,
                None => Verdict::Unknown,
            };
        }
        let now = guard.clock.now();
        let known = cookies(headers).any(|token| lock(&guard.sessions).contains(&token, now));
        if known { Verdict::Welcome } else { Verdict::Unknown }
    }

    /// A login form. On success the value for Set-Cookie (None: no password is set, none is needed).
    pub async fn login(&self, peer: IpAddr, password: String) -> std::result::Result<Option<String>, Verdict> {
        let Some(guard) = &self.0 else { return Ok(None) };
        match guard.clone().try_password(peer, Secret::new(password), false).await {
            Verdict::Welcome => {}
            other => return Err(other),
        }
        let token = random().ok_or(Verdict::Busy)?;
        lock(&guard.sessions).add(token, guard.clock.now());
        let life = SESSION_LIFE.as_secs();
        Ok(Some(format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life}", hex(&token))))
    }

    /// Ends the session of this request's cookie; the value for Set-Cookie that makes the browser forget it.
    pub fn logout(&self, headers: &HeaderMap) -> String {
        if let Some(guard) = &self.0 {
            cookies(headers).for_each(|token| lock(&guard.sessions).remove(&token));
        }
        format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }
}

impl Guard {
    async fn try_password(self: Arc<Guard>, peer: IpAddr, password: Secret, may_remember: bool) -> Verdict {
        let peer = network(peer);
        // one guess per address at a time; its other requests wait for the outcome, at most 3 s
        for _ in 0..60 {
            // the back-off comes before the memory: else a wrong guess would cost a flooder nothing
            let turn = lock(&self.backoff).begin(peer, self.clock.now());
            match turn {
                Turn::Wait { seconds } => return Verdict::Wait { seconds },
                Turn::Now => return self.guess(peer, password, may_remember).await,
                Turn::Later => clock::sleep(Duration::from_millis(50)).await,
            }
        }
        Verdict::Busy
    }

    async fn guess(self: Arc<Guard>, peer: IpAddr, password: Secret, may_remember: bool) -> Verdict {
        // a task of its own: a client that hangs up must not escape the count of its mistakes
        let work = tokio::spawn(async move {
            let mut turn = OneTurn { guard: self.clone(), peer, right: None };
            let verdict = self.verify(password, may_remember).await;
            turn.right = match verdict {
                Verdict::Welcome => Some(true),
                Verdict::WrongPassword => Some(false),
                _ => None,
            };
            verdict
        });
        work.await.unwrap_or(Verdict::Busy)
    }

    async fn verify(&self, password: Secret, may_remember: bool) -> Verdict {
        if password.reveal().len() > PASSWORD_BYTES {
            return Verdict::WrongPassword;
        }
        let digest = if may_remember { self.digest(&password) } else { None };
        if digest.is_some_and(|digest| self.remembers(&digest)) {
            return Verdict::Welcome;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Verdict::Busy };
        let Ok(_running) = self.running.acquire().await else { return Verdict::Busy };
        let hash = self.hash.clone();
        let verify = move || Argon2::default().verify_password(password.reveal().as_bytes(), hash.reveal()).is_ok();
        match tokio::task::spawn_blocking(verify).await {
            Ok(true) => {
                if let Some(digest) = digest {
                    *lock(&self.remembered) = Some((digest, self.clock.now() + REMEMBER));
                }
                Verdict::Welcome
            }
            Ok(false) => Verdict::WrongPassword,
            Err(_) => Verdict::Busy,
        }
    }

    fn remembers(&self, digest: &Token) -> bool {
        let now = self.clock.now();
        lock(&self.remembered).as_ref().is_some_and(|(known, until)| now < *until && same(known, digest))
    }

    /// The smallest argon2 with a salt of this run: quick, and not worth keeping for anybody.
    fn digest(&self, password: &Secret) -> Option<Token> {
        let params = Params::new(8, 1, 1, Some(32)).ok()?;
        let mut digest = Token::default();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(password.reveal().as_bytes(), &self.salt, &mut digest).ok()?;
        Some(digest)
    }
}

/// The one guess an address has running; its outcome is entered however the guess ends.
struct OneTurn {
    guard: Arc<Guard>,
    peer: IpAddr,
    right: Option<bool>,
}

impl Drop for OneTurn {
    fn drop(&mut self) {
        let failures = lock(&self.guard.backoff).end(self.peer, self.right, self.guard.clock.now());
        if failures.is_power_of_two() {
            warn!("http: wrong password from {} ({failures} in a row)", self.peer);
        } else if self.right == Some(true) {
            debug!("http: right password from {}", self.peer);
        }
    }
}

/// Cookie sessions. Few enough to compare with every one, always, in the same time.
#[derive(Default)]
struct Sessions(Vec<(Token, Micros)>);

impl Sessions {
    fn add(&mut self, token: Token, now: Micros) {
        self.0.retain(|(_, until)| now < *until);
        if self.0.len() >= SESSIONS {
            // the oldest: all live equally long
            self.0.remove(0);
        }
        self.0.push((token, now + SESSION_LIFE));
    }

    fn contains(&self, token: &Token, now: Micros) -> bool {
        self.0.iter().fold(false, |found, (known, until)| found | (same(known, token) & (now < *until)))
    }

    fn remove(&mut self, token: &Token) {
        self.0.retain(|(known, _)| !same(known, token));
    }
}

/// Wrong passwords per address: each one doubles the wait before the next try.
#[derive(Default)]
struct Backoff(HashMap<IpAddr, Mistakes>);

struct Mistakes {
    count: u32,
    wait_until: Micros,
    last: Micros,
    running: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Now,
    Later,
    Wait { seconds: u32 },
}

impl Backoff {
    fn begin(&mut self, peer: IpAddr, now: Micros) -> Turn {
        if self.0.len() >= ADDRESSES && !self.0.contains_key(&peer) {
            self.make_room(now);
        }
        let fresh = Mistakes { count: 0, wait_until: Micros(0), last: now, running: false };
        let entry = self.0.entry(peer).or_insert(fresh);
        if entry.running {
            return Turn::Later;
        }
        if now < entry.wait_until {
            let left = entry.wait_until.since(now);
            return Turn::Wait { seconds: left.as_millis().div_ceil(1000) as u32 };
        }
        if now.since(entry.last) >= FORGET_AFTER {
            entry.count = 0;
        }
        entry.running = true;
        entry.last = now;
        Turn::Now
    }

    /// Enters the outcome (None: not known); the wrong ones in a row if this was one, else 0.
    fn end(&mut self, peer: IpAddr, right: Option<bool>, now: Micros) -> u32 {
        let Some(entry) = self.0.get_mut(&peer) else { return 0 };
        entry.running = false;
        entry.last = now;
        match right {
            Some(false) => {
                entry.count += 1;
                let wait = 1u64 << (entry.count - 1).min(16);
                entry.wait_until = now + Duration::from_secs(wait.min(LONGEST_WAIT_S));
                entry.count
            }
            Some(true) => {
                self.0.remove(&peer);
                0
            }
            None => 0,
        }
    }

    fn make_room(&mut self, now: Micros) {
        self.0.retain(|_, m| m.running || now.since(m.last) < FORGET_AFTER);
        if self.0.len() >= ADDRESSES {
            let oldest = self.0.iter().filter(|(_, m)| !m.running).min_by_key(|(_, m)| m.last).map(|(peer, _)| *peer);
            oldest.map(|peer| self.0.remove(&peer));
        }
    }
}

/// `Bearer <password>`, or `Basic <base64 of name:password>` with any name.
fn password_of(value: &[u8]) -> Option<Secret> {
    let (scheme, rest) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Secret::new(rest));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(Base64::decode_vec(rest).ok()?).ok()?;
    let (_name, password) = decoded.split_once(':')?;
    Some(Secret::new(password))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Token> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    // browsers may send several (of other paths); a handful is more than any needs
    pairs.filter(|(name, _)| *name == COOKIE).filter_map(|(_, value)| unhex(value)).take(4)
}

/// Compares every byte, whatever the first ones say.
fn same(a: &Token, b: &Token) -> bool {
    let differing = a.iter().zip(b).fold(0u8, |seen, (x, y)| seen | (x ^ y));
    std::hint::black_box(differing) == 0
}

fn random() -> Option<Token> {
    let mut token = Token::default();
    getrandom::fill(&mut token).ok()?;
    Some(token)
}

/// 256 random bits as text: a name nobody guesses.
pub fn random_hex() -> Option<String> {
    random().map(|token| hex(&token))
}

fn hex(token: &Token) -> String {
    token.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Token> {
    let mut token = Token::default();
    if text.len() != 2 * token.len() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in token.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(token)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // every change is one step: nothing is half-done when a thread panics
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
