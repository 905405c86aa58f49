//! The session cookies of people who logged in: which there are, whose they are, and their text.
//!
//! Must never log a token, tell one by the time a look-up takes, or let one person's logins push out everybody else's.
//! Input: Cookie headers (hostile).

use crate::signal::identity::{Identity, Proof};
use crate::units::Micros;
use axum::http::{HeaderMap, header};
use std::time::Duration;

pub const NAME: &str = "rtcam_session";
const SESSIONS: usize = 256;

pub type Token = [u8; 32];

struct Session {
    token: Token,
    identity: Identity,
    until: Micros,
}

/// Few enough to compare with every one, always, in the same time.
#[derive(Default)]
pub struct Sessions(Vec<Session>);

impl Sessions {
    pub fn add(&mut self, token: Token, identity: Identity, until: Micros, now: Micros) {
        self.0.retain(|session| now < session.until);
        if self.0.len() >= SESSIONS {
            self.make_room();
        }
        self.0.push(Session { token, identity, until });
    }

    /// The oldest of whoever has the most goes.
    fn make_room(&mut self) {
        let many = |session: &Session| self.0.iter().filter(|other| is_same_person(other, session)).count();
        let oldest = self.0.iter().enumerate().rev().max_by_key(|(_, session)| many(session)).map(|(at, _)| at);
        if let Some(at) = oldest {
            self.0.remove(at);
        }
    }

    pub fn identity(&self, token: &Token, now: Micros) -> Option<&Identity> {
        let mut found = None;
        for session in &self.0 {
            if same(&session.token, token) & (now < session.until) {
                found = Some(&session.identity);
            }
        }
        found
    }

    pub fn remove(&mut self, token: &Token) {
        self.0.retain(|session| !same(&session.token, token));
    }
}

fn is_same_person(a: &Session, b: &Session) -> bool {
    let named = |proof: &Proof| *proof == Proof::User;
    a.identity.proof == b.identity.proof && (!named(&a.identity.proof) || a.identity.name == b.identity.name)
}

/// The tokens a request brings.
pub fn of(headers: &HeaderMap) -> impl Iterator<Item = Token> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    // browsers may send several (of other paths); a handful is more than any needs
    pairs.filter(|(name, _)| *name == NAME).filter_map(|(_, value)| unhex(value)).take(4)
}

/// Whether the browser sends it when a page of another site leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    Strict,
    /// With top-level GET requests: who clicks a link in a mail arrives from another site.
    Lax,
}

/// The value for Set-Cookie.
pub fn set(token: &Token, life: Duration, same_site: SameSite, over_tls: bool) -> String {
    text(&hex(token), life, same_site, over_tls)
}

/// The one that makes the browser forget it.
pub fn forget(over_tls: bool) -> String {
    text("", Duration::ZERO, SameSite::Strict, over_tls)
}

fn text(value: &str, life: Duration, same_site: SameSite, over_tls: bool) -> String {
    let secure = if over_tls { "; Secure" } else { "" };
    format!("{NAME}={value}; Path=/; HttpOnly; SameSite={same_site:?}{secure}; Max-Age={}", life.as_secs())
}

/// Compares every byte, whatever the first ones say.
pub fn same(a: &Token, b: &Token) -> bool {
    let differing = a.iter().zip(b).fold(0u8, |seen, (x, y)| seen | (x ^ y));
    std::hint::black_box(differing) == 0
}

pub fn random() -> Option<Token> {
    let mut token = Token::default();
    getrandom::fill(&mut token).ok()?;
    Some(token)
}

pub fn hex(token: &Token) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;

    fn token(n: usize) -> Token {
        let mut token = Token::default();
        token[..8].copy_from_slice(&(n as u64).to_le_bytes());
        token
    }

    fn by_link(id: &str) -> Identity {
        Identity { name: "a guest".into(), role: Role::Viewer, proof: Proof::Link(id.into()) }
    }

    fn user(name: &str) -> Identity {
        Identity { name: name.into(), role: Role::Host, proof: Proof::User }
    }

    const END: Micros = Micros(1_000_000);

    #[test]
    fn sessions_are_bounded_and_the_oldest_goes_first() {
        let mut sessions = Sessions::default();
        for n in 0..=SESSIONS {
            sessions.add(token(n), by_link("a"), END, Micros(n as u64));
        }
        assert_eq!(sessions.0.len(), SESSIONS);
        assert_eq!(sessions.identity(&token(0), Micros(1000)), None);
        assert!(sessions.identity(&token(1), Micros(1000)).is_some());
        assert!(sessions.identity(&token(SESSIONS), Micros(1000)).is_some());
    }

    #[test]
    fn whoever_logs_in_a_thousand_times_pushes_nobody_else_out() {
        let mut sessions = Sessions::default();
        sessions.add(token(5000), user("anna"), END, Micros(0));
        sessions.add(token(5001), user("ben"), END, Micros(0));
        sessions.add(token(5002), by_link("b"), END, Micros(0));
        for n in 0..1000 {
            sessions.add(token(n), by_link("a"), END, Micros(1));
        }
        for (n, who) in [(5000, user("anna")), (5001, user("ben")), (5002, by_link("b")), (999, by_link("a"))] {
            assert_eq!(sessions.identity(&token(n), Micros(2)), Some(&who));
        }
        assert_eq!(sessions.identity(&token(0), Micros(2)), None);
    }

    #[test]
    fn a_session_ends_at_its_time_and_when_it_is_removed() {
        let mut sessions = Sessions::default();
        sessions.add(token(1), user("anna"), END, Micros(0));
        assert!(sessions.identity(&token(1), Micros(999_999)).is_some());
        assert!(sessions.identity(&token(1), END).is_none());
        sessions.remove(&token(1));
        assert!(sessions.identity(&token(1), Micros(0)).is_none());
    }

    #[test]
    fn the_cookie_is_secure_over_tls_only() {
        let life = Duration::from_secs(60);
        let plain = set(&token(1), life, SameSite::Strict, false);
        assert!(plain.contains("HttpOnly; SameSite=Strict; Max-Age=60") && !plain.contains("Secure"), "{plain}");
        assert!(set(&token(1), life, SameSite::Lax, true).contains("SameSite=Lax; Secure; Max-Age=60"));
        assert!(forget(true).starts_with("rtcam_session=; ") && forget(true).ends_with("Max-Age=0"));
    }

    #[test]
    fn tokens_are_random_and_survive_their_text_form() {
        let (a, b) = (random().unwrap(), random().unwrap());
        assert_ne!(a, b);
        assert_eq!(unhex(&hex(&a)), Some(a));
        assert_eq!(unhex(&"+1".repeat(32)), None);
        assert!(same(&a, &a) && !same(&a, &b));
    }
}
